"""Nested R-hat of draws that are known."""

import numpy as np
import pytest

from vaezoo.predict.comparison.agreement import nested_r_hat


def test_it_is_what_means_add_to_the_variance() -> None:
    """Draws -1 and 1 about means 0 and 2: W is 2, B is 2."""
    draws = np.array([[[-1.0], [1.0]], [[1.0], [3.0]]])
    assert nested_r_hat(draws)[0] == pytest.approx(np.sqrt(2))


def test_it_tends_to_one_where_all_draw_from_one_distribution() -> None:
    """B is then the variance of a mean: W / S. A failure in 10,000 elements is impossible."""
    draws = np.random.default_rng(0).normal(size=(4, 100, 10_000))
    assert np.square(nested_r_hat(draws)).mean() == pytest.approx(1.01, abs=1e-3)


def test_what_does_not_vary_has_none() -> None:
    assert np.isnan(nested_r_hat(np.ones((2, 3, 1)))).all()


def test_draws_that_lie_apart_and_do_not_vary_are_infinitely_so() -> None:
    assert np.isinf(nested_r_hat(np.array([[[0.0], [0.0]], [[1.0], [1.0]]]))).all()
