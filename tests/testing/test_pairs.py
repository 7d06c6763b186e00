"""The pairs with exact answers: the answers are exact, and the pairs keep the rules."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from vaezoo.exact.quadrature import quadrature
from vaezoo.inference.importance import importance_weights, log_evidence, log_evidence_error
from vaezoo.testing import check_pair
from vaezoo.testing.pairs import (
    CORRELATED,
    EXACT,
    FoldedPair,
    GammaPoisson,
    LabelledPair,
    LinearPair,
    NoLatents,
    StatesPair,
)
from vaezoo.testing.sequence_pairs import KalmanPair, LinearRecurrence, damped_rotation

BATCHES: dict[str, Callable[[], tuple[Tensor, ...]]] = {
    "linear": lambda: (torch.randn(6, 4).double(),),
    "linear, correlated": lambda: (torch.randn(6, 4).double(),),
    "discrete": lambda: (torch.tensor([[-1.0], [0.3], [2.0], [5.0]]).double(),),
    "gamma-Poisson": lambda: (torch.tensor([0.0, 1.0, 2.0, 3.0]).double(),),
    "labelled": lambda: (torch.tensor([0.0, 9.0, 21.0]).double(), torch.arange(3)),
}


@pytest.fixture(params=EXACT)
def case(request: pytest.FixtureRequest) -> tuple[Any, tuple[Tensor, ...]]:
    return EXACT[request.param](), BATCHES[request.param]()


def test_evidence_is_what_importance_weights_estimate(
    case: tuple[Any, tuple[Tensor, ...]],
) -> None:
    """5 standard errors; equal weights have none. Failure rate below 1e-4."""
    pair, args = case
    weights = importance_weights(pair, args, 20_000).log_weights
    error = (log_evidence(weights) - pair.log_evidence(*args)).abs()
    assert bool((error < 5 * log_evidence_error(weights) + 1e-8).all())


def test_pairs_keep_the_rules(case: tuple[Any, tuple[Tensor, ...]]) -> None:
    pair, args = case
    check_pair(pair, args).raise_if_failed()


@pytest.mark.parametrize(
    ("pair", "args"),
    [
        (LinearPair(), BATCHES["linear"]()),
        (StatesPair(), BATCHES["discrete"]()),
        (LabelledPair(), BATCHES["labelled"]()),
    ],
    ids=["linear", "discrete", "labelled"],
)
def test_weights_of_exact_guides_are_equal(pair: Any, args: tuple[Tensor, ...]) -> None:
    weights = importance_weights(pair, args, 50).log_weights
    torch.testing.assert_close(weights, pair.log_evidence(*args).expand_as(weights))


def test_best_diagonal_guide_is_lower_by_the_mean_field_gap() -> None:
    """4,000 weights of a standard deviation of 0.6. Failure rate below 1e-6."""
    pair, args = LinearPair(CORRELATED), BATCHES["linear"]()
    elbo = importance_weights(pair, args, 4000).log_weights.mean(0)
    gap = pair.log_evidence(*args) - elbo
    torch.testing.assert_close(
        gap, torch.full_like(gap, pair.linear.mean_field_gap()), atol=0.06, rtol=0
    )


def test_posterior_of_counts_is_that_of_quadrature() -> None:
    (x,) = BATCHES["gamma-Poisson"]()
    exact = quadrature(GammaPoisson(), (x,), width=14)  # log(rate) has a long tail
    torch.testing.assert_close(exact.log_evidence, GammaPoisson().log_evidence(x))
    # over log(rate), whose mean is digamma(shape) - log(2)
    posterior = GammaPoisson().posterior(x)
    expected = torch.digamma(posterior.concentration) - posterior.rate.log()
    torch.testing.assert_close(exact.mean[:, 0], expected, atol=1e-6, rtol=0)


def test_guide_without_a_side_is_lower_by_a_factor_of_two() -> None:
    """Of the Laplace approximation of one mode; 40,000 draws."""
    x = torch.tensor([[2.0, 0.0], [3.0, 1.0]]).double()
    exact = quadrature(FoldedPair(), (x,)).log_evidence
    for sides, factor in (("both", 1.0), ("right", 0.5)):
        weights = importance_weights(FoldedPair(sides), (x,), 40_000).log_weights
        error = log_evidence(weights) - exact - torch.tensor(factor).log()
        assert float(error.abs().max()) < 0.05


def test_nothing_to_infer_has_the_density_of_the_data() -> None:
    x = torch.randn(5, 2, 3)
    expected = -0.5 * (x.square() + torch.tensor(2 * torch.pi).log()).sum((1, 2))
    torch.testing.assert_close(NoLatents().log_evidence(x), expected)


def sequences(width: int) -> tuple[Tensor, Tensor]:
    return torch.randn(4, 5, width).double(), torch.tensor([5, 1, 3, 2])


def test_guide_of_a_kalman_model_is_its_posterior() -> None:
    model, args = damped_rotation()[0], sequences(3)
    weights = importance_weights(KalmanPair(model), args, 9).log_weights
    torch.testing.assert_close(weights, model.log_evidence(*args).expand_as(weights))


def test_evidence_of_a_linear_recurrence_is_what_importance_weights_estimate() -> None:
    """5 standard errors. Failure rate below 1e-5."""
    pair, args = LinearRecurrence(), sequences(1)
    weights = importance_weights(pair, args, 20_000).log_weights
    error = (log_evidence(weights) - pair.log_evidence(*args)).abs()
    assert bool((error < 5 * log_evidence_error(weights)).all())


@pytest.mark.parametrize(
    ("pair", "width"),
    [(KalmanPair(damped_rotation()[0]), 3), (LinearRecurrence(), 1)],
    ids=["Kalman", "recurrence"],
)
def test_sequence_pairs_keep_the_rules(pair: Any, width: int) -> None:
    check_pair(pair.double(), sequences(width)).raise_if_failed()
