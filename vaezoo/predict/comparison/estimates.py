"""Differences of paired data over seeds, with an interval."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaezoo.data.dataset import Array

__all__ = ["Estimate", "interval_of_mean", "paired_difference"]

COVERAGE = 0.95


@dataclass(frozen=True)
class Estimate:
    """A mean, its standard error, and the interval that holds it in 95 of 100 cases.

    The interval is that of Student's t. There is neither error nor interval of a single value.
    """

    value: float
    standard_error: float | None
    interval: tuple[float, float] | None

    @property
    def is_zero_within(self) -> bool:
        """Whether 0 lies in the interval, or there is none."""
        return self.interval is None or self.interval[0] <= 0.0 <= self.interval[1]


def interval_of_mean(values: Sequence[float]) -> Estimate:
    """Return the mean of values of several seeds.

    Examples
    --------
    >>> estimate = interval_of_mean([1.0, 2.0, 3.0])
    >>> round(estimate.value, 2), [round(end, 2) for end in estimate.interval]
    (2.0, [-0.48, 4.48])
    """
    array = np.asarray(values, dtype=np.float64)
    if len(array) == 1:
        return Estimate(float(array[0]), None, None)
    return _with_interval(float(array.mean()), [(array.var(ddof=1) / len(array), len(array) - 1)])


def paired_difference(
    first: Array, second: Array, units: Array, *, num_comparisons: int = 1
) -> Estimate:
    """Return the mean difference of paired data, and how sure it is of other data and seeds.

    The variance is that of the mean over data of the differences (each the mean over seeds), plus
    that of the mean over the seeds of either side, if it has several: as if data and seeds were
    drawn apart. Degrees of freedom are those of Welch and Satterthwaite. With one seed each, how
    much another seed would change is not in it.

    Parameters
    ----------
    first, second
        Values of the same data, ``(seeds, N)``; numbers of seeds may differ.
    units
        What each datum counts ``(N,)``: 1, or the frames of a sequence.
    num_comparisons
        How many intervals are looked at together: each is as wide as Bonferroni asks.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> a = rng.normal(size=(1, 400))
    >>> paired_difference(a + 0.5, a, np.ones(400)).value
    0.5
    """
    total = units.sum()
    residual, number = first.mean(0) - second.mean(0), len(units)
    value = residual.sum() / total
    parts = []
    if number > 1:
        spread = (residual - value * units).std(ddof=1) * np.sqrt(number) / total
        parts.append((spread**2, number - 1))
    for side in (first, second):
        if len(side) > 1:
            means = side.sum(1) / total
            parts.append((means.var(ddof=1) / len(side), len(side) - 1))
    return _with_interval(float(value), parts, num_comparisons)


def _with_interval(
    value: float, parts: Sequence[tuple[float, int]], num_comparisons: int = 1
) -> Estimate:
    """Return an estimate whose variance is a sum of parts, each with its degrees of freedom."""
    from scipy.stats import t

    variance = sum(part for part, _ in parts)
    if not parts or not variance:
        return Estimate(value, 0.0 if parts else None, (value, value) if parts else None)
    freedom = variance**2 / sum(part**2 / number for part, number in parts)
    error = float(np.sqrt(variance))
    half = error * float(t.ppf(1 - (1 - COVERAGE) / (2 * num_comparisons), freedom))
    return Estimate(value, error, (value - half, value + half))
