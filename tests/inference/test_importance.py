"""Importance weights, their Pareto smoothing and resampling, against exact answers and ArviZ."""

import math

import numpy as np
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor

from vaezoo import RequestError
from vaezoo.inference.importance import (
    effective_share,
    importance_weights,
    largest_good_k,
    log_evidence,
    log_evidence_error,
    pareto_smooth,
    resample,
)
from vaezoo.models.lgssm import LGSSM
from vaezoo.models.rnn import RNN
from vaezoo.runtime.arviz import import_arviz
from vaezoo.testing.pairs import LinearPair, PointGuide, StatesPair

TRUTH = LinearPair().linear


@pytest.fixture
def x() -> Tensor:
    return torch.randn(6, 4, dtype=torch.float64)


# Pareto smoothing


@pytest.mark.parametrize("num_samples", [30, 1000])
@pytest.mark.parametrize("spread", [0.1, 1.0, 5.0, 300.0])
def test_smoothing_is_that_of_arviz(num_samples: int, spread: float) -> None:
    """0.23 takes log weights; 1.x takes log-likelihoods, and has a slightly different tail."""
    az = import_arviz()
    old = az.__version__.startswith("0.")
    log_weights = spread * torch.randn(num_samples, 20, dtype=torch.float64) - 1000
    given = log_weights.T.numpy().copy()
    with np.errstate(over="ignore"):
        theirs, k_hat = az.psislw(given if old else -given)
    ours = pareto_smooth(log_weights)
    np.testing.assert_allclose(ours.k_hat, k_hat, atol=1e-9 if old else 0.06)
    if old:
        np.testing.assert_allclose(ours.log_weights.log_softmax(0).T, theirs, atol=1e-9)


@pytest.mark.parametrize("k", [0.2, 0.5, 0.9])
def test_k_hat_is_the_shape_of_pareto_weights(k: float) -> None:
    """w = U^-k has the shape k; the mean of 200 has an error of 0.003. Failure rate below 1e-6.

    The tolerance is for the prior of the shape, which draws k to 0.5 by 10 of 380 draws.
    """
    log_weights = -k * torch.rand(4000, 200, dtype=torch.float64).log()
    assert float(pareto_smooth(log_weights).k_hat.mean()) == pytest.approx(k, abs=0.03)


def test_equal_weights_have_no_tail() -> None:
    rounding = 1e-6 * torch.randn(1000, 2)
    for log_weights in (torch.zeros(1000, 2), rounding, torch.randint(0, 3, (1000, 2)).float()):
        assert pareto_smooth(log_weights).k_hat.tolist() == [0.0, 0.0]
    assert effective_share(torch.zeros(1000, 2)).tolist() == pytest.approx([1.0, 1.0])


def test_few_draws_say_nothing_of_the_tail() -> None:
    for number in (1, 4, 20):
        assert pareto_smooth(torch.randn(number, 2)).k_hat.tolist() == [math.inf, math.inf]


def test_smoothing_keeps_order_and_body() -> None:
    log_weights = 3 * torch.randn(400, 5, dtype=torch.float64)
    smoothed = pareto_smooth(log_weights).log_weights
    assert torch.equal(smoothed.argsort(0), log_weights.argsort(0))
    body = log_weights.sort(0).values[: 400 - 60]
    torch.testing.assert_close(smoothed.sort(0).values[: 400 - 60], body)


def test_good_k_grows_with_the_number_of_draws() -> None:
    assert largest_good_k(100) == pytest.approx(0.5)
    assert largest_good_k(100_000) == 0.7


# Estimates


def test_estimates_are_their_formulas() -> None:
    weights = torch.tensor([1.0, 2.0, 5.0], dtype=torch.float64)
    log_weights = weights.log().unsqueeze(1) - 2000
    share = float(effective_share(log_weights))
    assert share == pytest.approx(64 / 30 / 3)
    assert float(log_evidence(log_weights)) == pytest.approx(math.log(8 / 3) - 2000)
    relative = float(weights.std(correction=0) / weights.mean())
    assert float(log_evidence_error(log_weights)) == pytest.approx(relative / math.sqrt(3))


def test_weights_of_an_exact_guide_are_the_evidence(x: Tensor) -> None:
    weighted = importance_weights(LinearPair(), (x,), 50)
    expected = TRUTH.log_prob(x).expand(50, 6)
    torch.testing.assert_close(weighted.log_weights, expected, atol=1e-9, rtol=0)
    assert pareto_smooth(weighted.log_weights).k_hat.tolist() == [0.0] * 6


def test_weights_belong_to_their_draws(x: Tensor) -> None:
    """log p(x) + log p(z | x) - log q(z | x), for draws that come in several pieces."""
    weighted = importance_weights(LinearPair(scale=2.0), (x,), 50, max_rows=100)
    mean, covariance = TRUTH.posterior(x)
    sd, z = covariance.diagonal().sqrt(), weighted.latents["z"]
    p, q = (dist.Normal(mean, s * sd).to_event(1).log_prob(z) for s in (1.0, 2.0))
    torch.testing.assert_close(weighted.log_weights, TRUTH.log_prob(x) + p - q)


def test_wide_guide_is_corrected(x: Tensor) -> None:
    """log p(x), mean and sd by weights; tolerances of 5 standard errors. Failure rate 2e-5."""
    weighted = importance_weights(LinearPair(scale=2.0), (x,), 20_000)
    error = log_evidence_error(weighted.log_weights)
    difference = log_evidence(weighted.log_weights) - TRUTH.log_prob(x)
    assert bool((difference.abs() < 5 * error).all())
    smoothed = pareto_smooth(weighted.log_weights)
    assert bool((smoothed.k_hat < 0.3).all())
    z = resample(weighted.latents, smoothed.log_weights, 4000)["z"]
    mean, covariance = TRUTH.posterior(x)
    sd = covariance.diagonal().sqrt()
    assert z.shape == (4000, 6, 2)
    torch.testing.assert_close((z.mean(0) - mean) / sd, torch.zeros_like(mean), atol=0.08, rtol=0)
    torch.testing.assert_close(z.std(0) / sd, torch.ones_like(mean), atol=0.08, rtol=0)


def test_same_seed_same_draws(x: Tensor) -> None:
    first, second, third = (
        importance_weights(LinearPair(scale=2.0), (x,), 9, seed=s) for s in (1, 1, 2)
    )
    assert torch.equal(first.log_weights, second.log_weights)
    assert not torch.equal(first.log_weights, third.log_weights)


def test_resampling_is_in_proportion() -> None:
    """A draw with the share w comes R w times, rounded up or down."""
    log_weights = torch.randn(20, 3, dtype=torch.float64)
    chosen = resample({"index": torch.arange(20).unsqueeze(1).expand(20, 3)}, log_weights, 500)
    expected = 500 * log_weights.softmax(0)
    for datum in range(3):
        count = torch.bincount(chosen["index"][:, datum], minlength=20)
        assert bool(((count - expected[:, datum]).abs() < 1).all())


def test_discrete_latents_have_weights() -> None:
    """p(x) = 0.7 N(x; 0, 1) + 0.3 N(x; 2, 1); 5 standard errors. Failure rate 2e-6."""
    x = torch.tensor([-0.5, 1.5, 2.5], dtype=torch.float64)
    pair = StatesPair((0.7, 0.3), strength=0.0)
    weights = importance_weights(pair, (x.unsqueeze(1),), 20_000).log_weights
    likelihood = dist.Normal(torch.tensor([[0.0], [2.0]]), 1.0).log_prob(x)
    exact = (likelihood + torch.tensor([[0.7], [0.3]]).log()).logsumexp(0)
    difference = (log_evidence(weights) - exact) / log_evidence_error(weights)
    assert bool((difference.abs() < 5).all())


def test_sequences_have_weights_of_whole_paths() -> None:
    x, length = torch.randn(4, 3, 2), torch.tensor([3, 1, 2, 3])
    weighted = importance_weights(LGSSM(x_shape=(2,), z_dim=2), (x, length), 20)
    assert weighted.log_weights.shape == (20, 4)
    assert weighted.latents["z"].shape == (20, 4, 3, 2)


# Refusals


def test_pair_without_latents_is_refused() -> None:
    pair = RNN(x_shape=(2,))
    with pytest.raises(RequestError, match="has none, so that its log p"):
        importance_weights(pair, (torch.randn(3, 4, 2), torch.full((3,), 4)), 5)


def test_autoencoder_is_refused(x: Tensor) -> None:
    with pytest.raises(RequestError, match=r"gives site 'z' one value.*vaezoo\.encode"):
        importance_weights(PointGuide(), (x,), 5)


def test_no_draws_are_refused(x: Tensor) -> None:
    with pytest.raises(RequestError, match="take 1 draw or more"):
        importance_weights(LinearPair(), (x,), 0)
