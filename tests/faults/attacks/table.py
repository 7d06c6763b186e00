"""Attacks by kind, and the table of how they were met."""

import random
import shutil
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

__all__ = ["Attack", "Row", "as_cells", "as_lines", "chosen", "tried"]


@dataclass(frozen=True)
class Attack:
    """One thing that goes wrong; ``attempt`` tries it in an empty folder.

    It returns what was badly handled, or "": a traceback, silence, a wrong exit code, a hang, lost
    work, another state, or that code was run.
    """

    kind: str
    name: str
    attempt: Callable[[Path], str]


@dataclass
class Row:
    """How the attacks of one kind were met."""

    kind: str
    tried: int = 0
    seconds: float = 0.0
    badly: list[str] = field(default_factory=list)

    @property
    def handled(self) -> int:
        return self.tried - len(self.badly)


def chosen(attacks: Iterable[Attack], most: int, seed: int) -> list[Attack]:
    """Return so many attacks of each kind, drawn by a seed."""
    by_kind: dict[str, list[Attack]] = {}
    for attack in attacks:
        by_kind.setdefault(attack.kind, []).append(attack)
    rng = random.Random(seed)
    return [one for kind in by_kind.values() for one in rng.sample(kind, min(most, len(kind)))]


def tried(attacks: Sequence[Attack], folder: Path, tell: Callable[[str], object]) -> list[Row]:
    """Try attacks one after another, each in a folder of its own below one; return the table."""
    rows: dict[str, Row] = {}
    for number, attack in enumerate(attacks):
        place = folder / f"attack-{number}"
        place.mkdir(parents=True)
        began = time.monotonic()
        bad = attack.attempt(place)
        row = rows.setdefault(attack.kind, Row(attack.kind))
        row.tried += 1
        row.seconds += time.monotonic() - began
        if bad:
            row.badly.append(f"{attack.name}: {bad}")
            tell(f"{attack.kind}, {attack.name}: {bad}")
        shutil.rmtree(place, ignore_errors=True)
    return list(rows.values())


def as_cells(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """Return the table with its headings, and its sums below."""
    total = Row("all")
    for row in rows:
        total.tried += row.tried
        total.badly += row.badly
    cells = [(r.kind, str(r.tried), str(r.handled), str(len(r.badly))) for r in [*rows, total]]
    return [("attack", "tried", "handled", "badly handled"), *cells]


def as_lines(rows: Sequence[Row]) -> list[str]:
    """Return the table in aligned columns."""
    cells = as_cells(rows)
    width = max(len(row[0]) for row in cells)
    return [f"{row[0]:<{width}}" + "".join(f"{cell:>15}" for cell in row[1:]) for row in cells]
