"""How far settings move a model: which of two is harder to tune."""

import math
from collections.abc import Sequence

from vaezoo.predict.comparison.estimates import Estimate
from vaezoo.study.result import Result
from vaezoo.study.winners import ERRORS, Task
from vaezoo.study.words import said_of

__all__ = ["Spread", "spread_of", "spreads"]

Spread = tuple[Estimate, str]


def spreads(
    result: Result, tasks: Sequence[Task], models: Sequence[str], pairs: Sequence[tuple[str, str]]
) -> str:
    """Say which model of each pair is harder to tune, and the spreads of all.

    Parameters
    ----------
    result, tasks
        Of what, at what.
    models
        What the names of variants begin with, up to a comma; their setting follows it.
    pairs
        Models that are set against each other. One is harder to tune if its spread is larger by
        more than three standard errors of both.
    """
    verdicts: dict[str, list[str]] = {}
    sizes = []
    for data in dict.fromkeys(row.data for row in result.rows):
        for task in tasks:
            own = {m: size for m in models if (size := spread_of(result, task, data, m))}
            where = f"{task.measure} ({data})"
            for first, second in pairs:
                if first in own and second in own:
                    verdict = _harder(first, own[first][0], second, own[second][0])
                    verdicts.setdefault(verdict, []).append(where)
            said = (f"{m} {said_of(size)}, worst with {what}" for m, (size, what) in own.items())
            sizes += [f"Spread of {where}: {'; '.join(said)}."] if own else []
    return " ".join([*(f"{v}: {', '.join(where)}." for v, where in verdicts.items()), *sizes])


def spread_of(result: Result, task: Task, data: str, model: str) -> Spread | None:
    """Return the largest minus the smallest mean over the settings of a model, and the worst one.

    None where it cannot do the task. The interval has three standard errors on either side, as the
    ends are the best of several.
    """
    rows = [row for row in result.rows if row.data == data and row.measure == task.measure]
    rows = [row for row in rows if row.variant.partition(",")[0] == model]
    if not rows:
        return None
    low, high = min(rows, key=lambda row: row.value), max(rows, key=lambda row: row.value)
    value = high.value - low.value
    worst = (low if task.better == "larger" else high).variant.partition(", ")[2]
    if low.error is None or high.error is None:  # of one seed nothing is sure
        return Estimate(value, None, None), worst or "usual settings"
    error = math.hypot(low.error, high.error)
    ends = (value - ERRORS * error, value + ERRORS * error)
    return Estimate(value, error, ends), worst or "usual settings"


def _harder(first: str, own: Estimate, second: str, other: Estimate) -> str:
    """Say which of two has the larger spread, by the rule."""
    gain, errors = own.value - other.value, (own.standard_error, other.standard_error)
    if None in errors or abs(gain) <= ERRORS * math.hypot(*(error or 0.0 for error in errors)):
        return f"{first} and {second} are as hard to tune as each other"
    return f"{first if gain > 0 else second} is harder to tune than {second if gain > 0 else first}"
