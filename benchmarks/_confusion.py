"""What verdicts on posteriors came to, against the truth: a row of the table of confusion."""

from collections.abc import Sequence

from torch import Tensor

__all__ = ["COLUMNS", "WRONG_NATS", "counts", "row"]

WRONG_NATS = 0.2  # of log p(x)
COLUMNS = [
    "data",
    "trusted",
    "repaired",
    "not",
    "log p wrong",
    "caught",
    "wrongly trusted",
    "wrongly repaired",
    "fine",
    "of these not trusted",
    "s / 100",
]


def counts(
    verdict: Tensor,
    off: Tensor,
    wrong_if_trusted: Tensor,
    wrong_if_repaired: Tensor,
    fine: Tensor,
    seconds: float,
) -> list[float]:
    """Return the numbers of ``COLUMNS``, seconds in all last.

    Parameters
    ----------
    verdict
        Place in ``VERDICTS`` of each of B posteriors, ``(B,)``.
    off
        How far log p(x) by the guide is off, in nats.
    wrong_if_trusted, wrong_if_repaired
        Whether what these words promise is wrong.
    fine
        Whether nothing is wrong with the guide.
    seconds
        What the check took.
    """
    trusted, repaired, refused = (verdict == place for place in range(3))
    missed = off.abs() > WRONG_NATS
    of_each = [
        trusted,
        repaired,
        refused,
        missed,
        missed & ~trusted,
        trusted & wrong_if_trusted,
        repaired & wrong_if_repaired,
        fine,
        fine & ~trusted,
    ]
    return [len(verdict), *(float(where.sum()) for where in of_each), seconds]


def row(name: str, sums: Sequence[float]) -> list[object]:
    """Return a row of the table, from sums of :func:`counts`."""
    *numbers, seconds = sums
    return [name, *map(int, numbers), f"{100 * seconds / max(1, numbers[0]):.1f}"]
