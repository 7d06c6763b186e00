"""All results as one table: the rows of every file of docs/results, whichever script wrote them."""

import csv
from html import escape
from pathlib import Path

__all__ = ["table_of_all"]

_COLUMNS = ("model", "data", "settings", "seed", "name", "value", "error", "date", "script")
_HEADS = {"name": "score", "error": "standard error"}
_BOX = "max-height: 75vh; overflow: auto; font-size: 0.8em"
_HEAD = "position: sticky; top: 0; background: var(--color-background-secondary, #eee)"


def table_of_all(folder: Path) -> str:
    """Return the rows of all files of a folder as a table that scrolls by itself, in MyST."""
    rows = [row for path in sorted(folder.glob("*.csv")) for row in _rows_of(path)]
    rows = sorted(rows, key=lambda row: not row["model"])  # of models first; steps and faults then
    head = "".join(f'<th style="{_HEAD}">{_HEADS.get(name, name)}</th>' for name in _COLUMNS)
    body = "\n".join(_line(row) for row in rows)
    table = f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"
    scripts = len({row["script"] for row in rows})
    return (
        f"{len(rows):,} numbers of {scripts} scripts.\n\n"
        f'```{{raw}} html\n<div tabindex="0" style="{_BOX}">\n{table}\n</div>\n```\n'
    )


def _rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    script = {"script": f"benchmarks/{path.stem}.py"}  # of a file that does not say it
    return [{**script, **row} for row in rows if "value" in row and "name" in row]


def _line(row: dict[str, str]) -> str:
    cells = "".join(f"<td>{escape(row.get(name) or '')}</td>" for name in _COLUMNS)
    where = escape(f"vaezoo {row.get('version')}, {row.get('machine')}", quote=True)
    return f'<tr title="{where}">{cells}</tr>'
