"""Measures of studies, where the truth is known."""

import numpy as np
import pytest

from vaezoo.study.measures.samples import coverage, energy_distance
from vaezoo.study.measures.tasks import first_near_best


def test_energy_distance_of_normals_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2000, 1)), 3 + rng.normal(size=(2000, 1))
    from scipy.stats import norm

    root = np.sqrt(2)  # X - Y is N(3, 2), X - X' is N(0, 2)
    apart = root * np.sqrt(2 / np.pi) * np.exp(-9 / 4) + 3 * (1 - 2 * norm.cdf(-3 / root))
    exact = 2 * apart - 2 * root * np.sqrt(2 / np.pi)
    assert energy_distance(x, y) == pytest.approx(exact, abs=0.2)  # 4 standard errors


def test_draws_of_the_data_cover_them_and_a_constant_does_not() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(300, 2))
    assert coverage(rng.normal(size=(300, 2)), data) > 0.9
    assert coverage(np.zeros((300, 2)), data) < 0.1


def test_epochs_count_until_near_the_best_and_not_the_end() -> None:
    assert first_near_best(np.array([-100.0, -50.0, -4.0, -3.0, 0.0])) == 3
