"""A result in words: tables for the terminal and for pages."""

import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from vaezoo.predict.comparison.estimates import Estimate
from vaezoo.study.design import Study
from vaezoo.study.result import STATES, Result, Row

__all__ = [
    "claim_rows",
    "measure_tables",
    "paragraphs",
    "said_of",
    "sentences",
    "setting_rows",
    "with_error",
]

SMALLEST = 1e-5  # an error below this is that of arithmetic


def paragraphs(text: str) -> Iterator[tuple[str, str]]:
    """Return the paragraphs of a study's text below its question, each with its heading or none.

    Examples
    --------
    >>> list(paragraphs("Why?\\n\\nAsked: why\\nnot.\\n\\nLimits\\n    One net,\\n    small."))
    [('', 'Asked: why not.'), ('Limits', 'One net, small.')]
    """
    _, _, body = text.strip().partition("\n")
    for block in re.split(r"\n\s*\n", body.strip()):
        first, _, rest = block.partition("\n")
        has_heading = rest.startswith("    ")
        yield first if has_heading else "", " ".join((rest if has_heading else block).split())


def sentences(text: str) -> list[str]:
    """Return the sentences of an answer.

    Examples
    --------
    >>> sentences("An autoencoder is best: MSE (0.5). A VAE is enough.")
    ['An autoencoder is best: MSE (0.5).', 'A VAE is enough.']
    """
    return re.split(r"(?<=\.) ", text)


def measure_tables(result: Result) -> Iterator[tuple[str, list[tuple[str, ...]]]]:
    """Return for each data set a table: a line for each variant, a column for each measure."""
    for data in dict.fromkeys(row.data for row in result.rows):
        own = [row for row in result.rows if row.data == data]
        measures = list(dict.fromkeys(row.measure for row in own))
        head = ("", *(_heading(name, own) for name in measures))
        body = [
            (variant, *(_cell(result.row(data, variant, name)) for name in measures))
            for variant in dict.fromkeys(row.variant for row in own)
        ]
        yield data, [head, *body]


def _heading(measure: str, rows: list[Row]) -> str:
    unit = next(row.unit for row in rows if row.measure == measure)
    return f"{measure} ({unit})" if unit else measure


def _cell(row: Row | None) -> str:
    if row is None:
        return ""
    differs = row.difference is not None and not row.difference.is_zero_within
    return f"{with_error(row.value, row.error)}{' *' if differs else ''}"


def with_error(value: float, error: float | None) -> str:
    """Return a value with its error, both to two digits of the error."""
    if not error or error < SMALLEST * max(1.0, abs(value)):
        return _short(value)
    digits = _digits(error)
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def _digits(error: float) -> int:
    return max(0, min(5, 1 - math.floor(math.log10(error))))


def _short(value: float) -> str:
    size = abs(value)
    if size < SMALLEST:
        return "0"
    if size >= 1000:
        return f"{value:,.0f}"
    return f"{value:.2f}" if size >= 1 else f"{value:.3f}"


def claim_rows(result: Result) -> list[tuple[str, ...]]:
    """Return a line for each claim on each data set: rule, difference, what became of it."""
    return [
        ("claim", "data", "difference", "verdict"),
        *((o.claim, o.data, said_of(o.difference), STATES[o.state]) for o in result.outcomes),
    ]


def said_of(estimate: Estimate) -> str:
    """Return an estimate with its interval."""
    if estimate.interval is None:
        return f"{_short(estimate.value)} (one seed)"
    low, high = estimate.interval
    width = high - low
    digits = _digits(width / 4) if width > SMALLEST else 3
    value, *ends = (f"{number:.{digits}f}" for number in (estimate.value, low, high))
    return f"{value} [{ends[0]}, {ends[1]}]"


def setting_rows(study: Study, scale: str) -> list[tuple[str, ...]]:
    """Return a line for each variant at a scale: its model, settings, and those of its training."""
    cells = {cell.variant.name: cell for cell in study.cells(scale)}
    rows = (
        (name, cell.variant.model, _settings(cell.variant.config), _settings(cell.training))
        for name, cell in cells.items()
    )
    return [("variant", "model", "settings", "training"), *rows]


def _settings(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in values.items())
