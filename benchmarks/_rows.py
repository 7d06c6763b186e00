"""What was measured, as rows of one schema: scores that scripts keep, and the tables of pages.

A page of ``docs/results`` is what a person reads; the file of the same name beside it has a row for
each number in it, so that all results can be read, sorted and compared as one table.
"""

import csv
import re
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path

from vaezoo.registry import entries
from vaezoo.runtime.locks import take
from vaezoo.versions import say_machine

__all__ = [
    "RESULTS",
    "Score",
    "environment_parts",
    "read_scores",
    "replace_scores",
    "rows_of_page",
    "write_rows",
    "write_scores",
]

RESULTS = Path(__file__).parents[1] / "docs" / "results"

_NUMBER = r"[-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?"
_CELL = re.compile(rf"({_NUMBER})(%?)(?: ± ({_NUMBER})%?)?(?: \(.*\))?")
_ENVIRONMENT = (
    r"vaezoo ([^,]+), .*?((?:Linux|macOS|Darwin|Windows)[^(]*\([^)]*\)).*?(\d{4}-\d\d-\d\d)"
)
_MADE = re.compile(rf"Made by `([^`]+)`: {_ENVIRONMENT}")
_NOT_MEASURED = ("published", "target", "reference", "first call, s", "of each seed")
_SIZES = ("seed", "seeds", "size", "rows", "columns", "data")
_DATA = {
    "static MNIST": "binarized-mnist",
    "MNIST": "mnist",
    "JSB": "jsb",
    "Chorales": "jsb",
    "Pen digits": "pendigits",
    "Frey": "frey",
}


def environment_parts(made: str) -> tuple[str, str, str]:
    """Return version, machine and date of the sentence that says where a figure comes from."""
    match = re.match(_ENVIRONMENT, made)
    if match is None:
        raise ValueError(f"no version, machine and date in: {made}")
    return match[1], match[2], match[3]


def _script() -> str:
    return f"benchmarks/{Path(sys.argv[0]).name}"


@dataclass(frozen=True)
class Score:
    """A number that was measured, and what it is of; ``error`` is its standard error."""

    model: str
    data: str
    settings: str
    seed: int | None
    name: str
    value: float
    error: float | None = None
    machine: str = field(default_factory=say_machine)
    version: str = field(default_factory=lambda: version("vaezoo"))
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))
    script: str = field(default_factory=_script)

    def __str__(self) -> str:
        if self.name in ("active units", "steps"):
            return f"{self.value:,.0f}"
        error = "" if self.error is None else f" ± {self.error:.2f}"
        return f"{self.value:.2f}{error}"


def read_scores(path: Path) -> list[Score]:
    """Return the rows of a file of scores; none where it is not there."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    script = f"benchmarks/{path.stem}.py"  # of files that were written before they said it
    names = [f.name for f in fields(Score)]
    return [
        Score(
            **{
                **{n: row.get(n) or (script if n == "script" else "") for n in names},
                **_numbers(row),
            }
        )
        for row in rows
    ]


def _numbers(row: dict[str, str]) -> dict[str, object]:
    error = float(row["error"]) if row["error"] else None
    seed = int(row["seed"]) if row["seed"] else None
    return {"seed": seed, "value": float(row["value"]), "error": error}


def write_scores(path: Path, scores: Iterable[Score]) -> None:
    """Write scores as a file that pandas, and the pages of the models, read."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Score)], lineterminator="\n")
        writer.writeheader()
        for score in scores:
            row = asdict(score)
            writer.writerow(row | {n: _short(row[n]) for n in ("value", "error")})


def replace_scores(path: Path, model: str, ours: Iterable[Score]) -> list[Score]:
    """Put scores of a model into a file, for those before; other processes may do the same.

    Returns
    -------
    list of Score
        All that are in the file now, sorted by model.
    """
    lock = take(path.parent)
    try:
        others = (score for score in read_scores(path) if score.model != model)
        scores = sorted([*others, *ours], key=lambda score: score.model)
        write_scores(path, scores)
    finally:
        lock.release()
    return scores


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def write_rows(page: Path) -> list[Score]:
    """Write the numbers of a page's tables beside it, as ``.csv``; no file where there are none."""
    scores = list(rows_of_page(page.read_text(encoding="utf-8")))
    if scores:
        write_scores(page.with_suffix(".csv"), scores)
    return scores


def rows_of_page(text: str) -> Iterator[Score]:
    """Yield a score for each number in the tables of a page, which say below who made them."""
    lines = text.splitlines()
    title, section, place = lines[0].removeprefix("# "), "", 0
    model = _model_of(title, next((line for line in lines[1:] if line and line[0] not in "#|"), ""))
    while place < len(lines):
        if heading := re.match(r"(?:#{2,} |\*\*)(.+?)(?:\*\*)?(?:; .*)?$", lines[place]):
            section = heading[1]
        if not lines[place].startswith("| "):
            place += 1
            continue
        end = next((i for i in range(place, len(lines)) if lines[i][:1] != "|"), len(lines))
        made = next((match for match in map(_MADE.match, lines[end:]) if match), None)
        if made:
            source = _Source(model, _data_of(f"{title} {section}"), section, made)
            yield from _of_table([_cells(row) for row in lines[place:end]], source)
        place = end


@dataclass(frozen=True)
class _Source:
    """What a page says of all rows of a table."""

    model: str
    data: str
    section: str
    made: re.Match[str]


def _model_of(title: str, text: str) -> str:
    """Return the model that a page is of: in its title, or what its text begins with."""
    names = {entry.name for entry in entries()}
    words = [*title.split(), *re.findall(r"\A`([^`]+)` on ", text)]
    return next((word for word in words if word in names), "")


def _data_of(text: str) -> str:
    return next((data for words, data in _DATA.items() if words in text), "")


def _cells(line: str) -> list[str]:
    return [cell.replace("`", "").strip(" *") for cell in line.strip()[1:-1].split(" | ")]


def _of_table(table: Sequence[Sequence[str]], source: _Source) -> Iterator[Score]:
    head, _, *body = table
    columns = [
        column
        for column, name in enumerate(head)
        if column and name not in (*_NOT_MEASURED, *_SIZES)
        if _are_numbers([row[column] for row in body])
    ]
    is_list = [head[column] for column in columns] in (["vaezoo"], ["value"])  # a score each row
    for row in body:
        said = dict(zip(head, row, strict=True))
        data = said.get("table", said.get("data", ""))
        about = [
            cell if column == 0 and not _CELL.fullmatch(cell) else f"{head[column]} {cell}"
            for column, cell in enumerate(row)
            if cell and column not in columns and not (is_list and column == 0)
            if head[column] not in (*_NOT_MEASURED, "model", "table", "seed")
            if head[column] != "data" or "%" in cell
        ]
        for column in columns:
            if match := _CELL.fullmatch(row[column]):
                yield _score(
                    match,
                    source,
                    model=said.get("model", source.model),
                    data=source.data if not data or _CELL.fullmatch(data) else data,
                    settings="; ".join(filter(None, (source.section, *about))),
                    seed=said.get("seed", ""),
                    name=row[0] if is_list else head[column],
                )


def _score(
    cell: re.Match[str],
    source: _Source,
    *,
    model: str,
    data: str,
    settings: str,
    seed: str,
    name: str,
) -> Score:
    """Return the score of a cell; a share is a number from 0 to 1."""
    value, percent, error = cell.groups()
    unit = 100 if percent else 1
    script, of_version, of_machine, date = source.made.groups()
    return Score(
        *(model, data, settings, int(seed) if seed.isdigit() else None, name),
        _number(value) / unit,
        _number(error) / unit if error else None,
        machine=of_machine,
        version=of_version,
        date=date,
        script=script.partition(" ")[0],
    )


def _are_numbers(cells: Sequence[str]) -> bool:
    there = [cell for cell in cells if cell not in ("", "-")]
    return 2 * sum(bool(_CELL.fullmatch(cell)) for cell in there) > len(there)


def _number(text: str) -> float:
    return float(text.replace(",", ""))
