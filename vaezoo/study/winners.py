"""Which family of models wins a task, and where a simpler one is enough."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from vaezoo.study.result import Result, Row

__all__ = ["ERRORS", "Task", "Winner", "winner_of", "winners"]

ERRORS = 3.0  # standard errors of a difference; more than two, as the best of several is taken


@dataclass(frozen=True)
class Task:
    """A measure, and which way it is better."""

    measure: str
    better: Literal["larger", "smaller"] = "larger"

    def best(self, rows: Sequence[Row]) -> Row:
        """Return the best of some rows."""
        return (max if self.better == "larger" else min)(rows, key=lambda row: row.value)

    def is_beyond_noise(self, row: Row, other: Row) -> bool:
        """Whether the first of two is better by more than three standard errors."""
        gain = (row.value - other.value) * (1 if self.better == "larger" else -1)
        if row.error is None or other.error is None:  # of one seed nothing is sure
            return False
        return gain > ERRORS * math.hypot(row.error, other.error)


@dataclass(frozen=True)
class Winner:
    """The simplest family that does a task as well as any, within the noise.

    Attributes
    ----------
    task, data, family
        At what, on which data, who.
    best
        The best of each family, the simplest first.
    is_enough
        Whether it wins by being simpler only: another is as good within three standard errors.
    """

    task: Task
    data: str
    family: str
    best: Mapping[str, Row]
    is_enough: bool


def winner_of(
    result: Result, task: Task, data: str, families: Mapping[str, Sequence[str]]
) -> Winner | None:
    """Return who wins a task; None where fewer than two families can do it.

    Parameters
    ----------
    result, task, data
        Of what, at what, on which data.
    families
        Variants by what they are called together, the simplest family first.
    """
    every = {
        family: [row for name in names if (row := result.row(data, name, task.measure))]
        for family, names in families.items()
    }
    best = {family: task.best(rows) for family, rows in every.items() if rows}
    if len(best) < 2:
        return None
    top = task.best(list(best.values()))
    family = next(name for name, row in best.items() if not task.is_beyond_noise(top, row))
    others = [row for name, row in best.items() if name != family]
    is_enough = not all(task.is_beyond_noise(best[family], row) for row in others)
    return Winner(task, data, family, best, is_enough)


def winners(result: Result, tasks: Sequence[Task], families: Mapping[str, Sequence[str]]) -> str:
    """Say for each family in which tasks it wins, or is enough as nothing else is better."""
    every = [
        winner
        for task in tasks
        for data in dict.fromkeys(row.data for row in result.rows)
        if (winner := winner_of(result, task, data, families))
    ]
    sentences = []
    for family in families:
        for is_enough, verb in ((False, "is best"), (True, "is enough (none is better)")):
            won = [w for w in every if w.family == family and w.is_enough == is_enough]
            if won:
                number = f"in {len(won)} of {len(every)}"
                sentences.append(f"{family[0].upper()}{family[1:]} {verb} {number}: {_said(won)}.")
    return " ".join(sentences)


def _said(won: Sequence[Winner]) -> str:
    """Return the measures, each with its data sets, as ``MIG (shapes), probe (digits, shapes)``."""
    measures = dict.fromkeys(winner.task.measure for winner in won)
    sets = {m: ", ".join(w.data for w in won if w.task.measure == m) for m in measures}
    return ", ".join(f"{measure} ({data})" for measure, data in sets.items())
