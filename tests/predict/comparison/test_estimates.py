"""Intervals: against formulas, and how often they hold what is true."""

import numpy as np
import pytest
from scipy import stats

from vaezoo.predict.comparison.estimates import interval_of_mean, paired_difference


def test_the_mean_of_seeds_has_the_interval_of_student() -> None:
    values = [1.0, 4.0, 2.5, 3.0]
    estimate = interval_of_mean(values)
    expected = stats.t.interval(0.95, 3, np.mean(values), stats.sem(values))
    assert estimate.interval == pytest.approx(expected)


def test_one_run_has_no_interval() -> None:
    assert interval_of_mean([2.0]).interval is None


def test_with_one_seed_each_it_is_the_paired_test() -> None:
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 1, 50))
    estimate = paired_difference(first, second, np.ones(50))
    paired = stats.ttest_rel(first[0], second[0]).confidence_interval()
    assert estimate.interval == pytest.approx((paired.low, paired.high))


def test_many_comparisons_widen_it_as_bonferroni_asks() -> None:
    first, second = np.random.default_rng(0).normal(size=(2, 1, 50))
    estimate = paired_difference(first, second, np.ones(50), num_comparisons=5)
    paired = stats.ttest_rel(first[0], second[0]).confidence_interval(0.99)
    assert estimate.interval == pytest.approx((paired.low, paired.high))


def test_frames_count_each() -> None:
    first, second = np.array([[3.0, 9.0]]), np.array([[1.0, 1.0]])
    assert paired_difference(first, second, np.array([1.0, 4.0])).value == pytest.approx(2.0)


def test_the_same_values_differ_by_nothing() -> None:
    values = np.random.default_rng(0).normal(size=(1, 20))
    estimate = paired_difference(values, values, np.ones(20))
    assert (estimate.value, estimate.interval) == (0.0, (0.0, 0.0))
    assert estimate.is_zero_within


@pytest.mark.parametrize(("seeds", "spread"), [((1, 1), 0.0), ((4, 6), 0.5), ((3, 3), 0.05)])
def test_intervals_hold_the_truth_in_95_of_100_cases(seeds: tuple[int, int], spread: float) -> None:
    """Of 600 cases between 92 and 98.5 % hold it; a right one fails with probability 1e-3."""
    rng, held = np.random.default_rng(1), 0
    for _ in range(600):
        data = rng.normal(size=100)
        sides = [
            data + 0.3 * rng.normal(size=100) + spread * rng.normal(size=(number, 1))
            for number in seeds
        ]
        estimate = paired_difference(sides[0] + 0.2, sides[1], np.ones(100))
        low, high = estimate.interval or (0.0, 0.0)
        held += low <= 0.2 <= high
    assert 0.92 <= held / 600 <= 0.985
