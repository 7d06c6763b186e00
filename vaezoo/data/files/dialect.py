"""How a table in text was written: what separates its fields, and its decimal mark."""

import csv
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vaezoo.errors import RequestError, shown

__all__ = ["Dialect", "dialect_of"]

# A comma comes last: in what a semicolon separates, it is a decimal mark.
_SEPARATORS = (";", "\t", "|", ",")
_FIRST = (";", "\t", "|")
BLANKS = r"\s+"
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?|[?]|NA|-?nan", re.ASCII | re.I)
_SAMPLE = 2**20  # bytes
_POINT = re.compile(r"\s*[+-]?\d*\.\d+([eE][+-]?\d+)?\s*", re.ASCII)
_COMMA = re.compile(r"\s*[+-]?\d*,\d+([eE][+-]?\d+)?\s*", re.ASCII)


class Dialect(NamedTuple):
    """What separates the fields of a table, and its decimal mark."""

    separator: str = ","
    decimal: str = "."


def dialect_of(path: Path) -> Dialect:
    """Recognise how a table was written, from its first lines.

    A separator is one that gives all lines the same number of fields: a semicolon, a tab, a bar,
    blanks between nothing but numbers, or a comma, the first of them that does. Spreadsheets of
    many countries write ``1,5;2,5``.

    Raises
    ------
    RequestError
        When a line has more fields than the first, or decimals have commas and points.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.csv"
    >>> _ = path.write_text("height;weight\\n1,5;60,2\\n1,7;70\\n")
    >>> dialect_of(path)
    Dialect(separator=';', decimal=',')
    """
    lines = _first_lines(path)
    tables = {mark: list(_rows(lines, mark)) for mark in _SEPARATORS}
    words = [(number, line.split()) for number, line in enumerate(lines, 1) if line.strip()]
    if not any(_is_even(tables[mark]) for mark in _FIRST) and _are_numbers(words):
        return Dialect(BLANKS, _decimal(path, words))
    separator = next((mark for mark in _SEPARATORS if _is_even(tables[mark])), None)
    if separator is None:
        separator = max(_SEPARATORS, key=lambda mark: _width(tables[mark]))
        separator = separator if _width(tables[separator]) > 1 else ","
    rows = tables[separator]
    for number, row in rows:
        if len(row) > _width(rows):
            raise RequestError(
                f"cannot read '{path}': line {number} has {len(row)} fields and the first has "
                f"{_width(rows)}; name every column, and quote text that holds the separator"
            )
    return Dialect(separator, "." if separator == "," else _decimal(path, rows))


_Rows = list[tuple[int, list[str]]]


def _first_lines(path: Path) -> list[str]:
    with path.open("rb") as stream:
        sample = stream.read(_SAMPLE)
    text = sample.decode("utf-8-sig", "replace")
    lines = text.splitlines(keepends=True)
    return lines[:-1] if len(sample) == _SAMPLE and len(lines) > 1 else lines


def _rows(lines: list[str], separator: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the fields of each line with its number, as far as they can be read."""
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=True)
    try:
        for row in reader:
            if row:
                yield reader.line_num, row
    except csv.Error:  # a field above the limit of the module: no table of this separator
        return


def _width(rows: _Rows) -> int:
    return len(rows[0][1]) if rows else 0


def _is_even(rows: _Rows) -> bool:
    return _width(rows) > 1 and all(len(row) == _width(rows) for _, row in rows)


def _are_numbers(rows: _Rows) -> bool:
    """Whether all lines but a first one of names have as many numbers, two or more."""
    numbers = rows if _all_numbers(rows[:1]) else rows[1:]
    return bool(numbers) and _is_even(rows) and _all_numbers(numbers)


def _all_numbers(rows: _Rows) -> bool:
    return all(_NUMBER.fullmatch(field) for _, row in rows for field in row)


def _decimal(path: Path, rows: _Rows) -> str:
    fields = [field for _, row in rows for field in row]
    commas = next((field for field in fields if _COMMA.fullmatch(field)), None)
    points = next((field for field in fields if _POINT.fullmatch(field)), None)
    if commas and points:
        raise RequestError(
            f"cannot read '{path}': decimals with a comma ({shown(commas.strip())}) and with a "
            f"point ({shown(points.strip())}); write all of them with one"
        )
    return "," if commas else "."
