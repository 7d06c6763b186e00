"""Tables that say where their numbers come from."""

import csv
import os
import platform
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field, fields
from importlib.metadata import version
from pathlib import Path

import torch

RESULTS = Path(__file__).parents[1] / "docs" / "results"


def _machine() -> str:
    return f"{platform.system()}, {os.cpu_count()} cores ({platform.machine()})"


@dataclass(frozen=True)
class Score:
    """A number that was measured, and what it is of; ``error`` is its standard error."""

    model: str
    data: str
    settings: str
    seed: int
    name: str
    value: float
    error: float | None = None
    machine: str = field(default_factory=_machine)
    version: str = field(default_factory=lambda: version("vaezoo"))
    date: str = field(default_factory=lambda: time.strftime("%Y-%m-%d"))

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
    return [Score(**{**row, **_numbers(row)}) for row in rows]


def _numbers(row: dict[str, str]) -> dict[str, object]:
    error = float(row["error"]) if row["error"] else None
    return {"seed": int(row["seed"]), "value": float(row["value"]), "error": error}


def write_scores(path: Path, scores: Iterable[Score]) -> None:
    """Write scores as a file that pandas, and the pages of the models, read."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, [f.name for f in fields(Score)], lineterminator="\n")
        writer.writeheader()
        for score in scores:
            row = asdict(score)
            writer.writerow(row | {n: _short(row[n]) for n in ("value", "error")})


def _short(value: float | None) -> str:
    return "" if value is None else f"{value:.6g}"


def markdown(rows: Sequence[Sequence[object]]) -> str:
    """Return a table; the first row holds its headings."""
    head, *body = [[str(cell) for cell in row] for row in rows]
    lines = [head, ["---"] * len(head), *body]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def environment(began: float) -> str:
    """Return versions, machine and duration as one sentence."""
    minutes = (time.monotonic() - began) / 60
    head, _, date = environment_of_now().rpartition("; ")
    return f"{head}; {minutes:.0f} minutes; {date}"


def environment_of_now() -> str:
    """Return versions, machine and date as one sentence."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("vaezoo", "torch", "pyro-ppl"))
    machine = _machine()
    if torch.cuda.is_available():
        machine += f", {torch.cuda.get_device_name()}"
    return (
        f"{packages}, Python {platform.python_version()}, {machine}, "
        f"{torch.get_num_threads()} threads; {time.strftime('%Y-%m-%d')}."
    )


def write(name: str, title: str, text: str, rows: Sequence[Sequence[object]], began: float) -> None:
    """Print a result and write it as a page of the documentation."""
    script = f"benchmarks/{Path(sys.argv[0]).name}"
    page = f"# {title}\n\n{text}\n\n{markdown(rows)}\n\nMade by `{script}`: {environment(began)}\n"
    RESULTS.mkdir(parents=True, exist_ok=True)
    (RESULTS / f"{name}.md").write_text(page, encoding="utf-8")
    print(page)
