"""Measures of studies, where their value is known."""

import math

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo.models.vae import VAEGaussian
from vaezoo.objectives.base import make_objective
from vaezoo.runs import Run
from vaezoo.studies._pairs import AtMean, ScoreFunction
from vaezoo.studies.mnar import AT_RANDOM, NOT_AT_RANDOM, exact, table
from vaezoo.study import Scale, Trained, Variant
from vaezoo.study.design import Cell
from vaezoo.study.measures.codes import coverage, reconstruction
from vaezoo.study.measures.density import memorising
from vaezoo.study.measures.gradients import gradient_of, spread

SIZES = {"z_dim": 2, "hidden": [4], "likelihood": {"name": "gaussian", "sigma": "fixed:1"}}


def as_trained(run: Run, limit: int = 500) -> Trained:
    return Trained(run, Cell("toy", Variant("own", "vae-gaussian"), {}), Scale(1, 0.1, limit=limit))


@pytest.fixture(scope="module")
def noise() -> Run:
    """A run on noise of deviation 1, which the model has, too: its z means nothing."""
    x = np.random.default_rng(0).normal(size=(5000, 3)).astype(np.float32)
    training = {"steps": 20, "patience": 0}
    settings = {"standardize": False}
    return vaezoo.fit("vae-gaussian", x, config=SIZES, training=training, data_settings=settings)


def test_coverage_of_true_noise_is_right(noise: Run) -> None:
    """Of 500 x 3 entries 0.9 are covered; each share has a deviation of 0.013."""
    with torch.no_grad():
        for parameter in noise.pair.decoder.parameters():
            parameter.zero_()
    assert coverage(draws=200)(as_trained(noise))["coverage error"] < 0.05


def test_error_of_a_reconstruction_that_is_zero(noise: Run) -> None:
    with torch.no_grad():
        for parameter in noise.pair.decoder.parameters():
            parameter.zero_()
    data = noise.find_data()
    x = data.x[data.rows("test")]
    error = reconstruction()(as_trained(noise))["MSE"]
    assert error == pytest.approx((x**2).mean(1)[:500], rel=1e-4)


def test_sigma_of_the_last_epoch_is_that_of_the_residual(noise: Run) -> None:
    """A residual r of a sigma of 1 has 1/2 log 2 pi + r^2 / 2 nats, that of its own sigma less."""
    nats = -noise.metrics[-1]["train"]["recon"] / 3
    implied = memorising()(as_trained(noise))["sigma"]
    assert math.log(implied) + (1 + math.log(2 * math.pi)) / 2 == pytest.approx(nats)


def test_loss_at_the_mean_is_the_elbo_without_noise() -> None:
    torch.manual_seed(0)
    pair, x = VAEGaussian(x_shape=(3,), z_dim=2, hidden=(4,)), torch.randn(5, 3)
    q = pair.encoder(x)
    log_p = pair.decoder(q.mean).log_prob(x)
    kl = torch.distributions.kl_divergence(q, pair.prior())
    assert AtMean().loss(pair, (x,)).item() == pytest.approx((kl - log_p).mean().item(), rel=1e-5)


def test_a_score_function_has_no_path() -> None:
    from pyro import poutine

    pair = ScoreFunction(x_shape=(3,), z_dim=2, hidden=(4,))
    site = poutine.trace(pair.guide).get_trace(torch.zeros(5, 3)).nodes["z"]
    assert not site["fn"].has_rsample
    assert not site["value"].requires_grad


@pytest.mark.parametrize("sigma", [1.0, 0.1])
def test_noise_of_one_size_has_its_kl(sigma: float) -> None:
    config = {**SIZES, "posterior": {"name": "mean-only", "sigma": sigma}}
    pair = vaezoo.build_model("vae-gaussian", config, (3,))
    q = pair.encoder(torch.zeros(1, 3))
    kl = torch.distributions.kl_divergence(q, pair.prior())
    expected = (q.mean**2 + sigma**2 - 1).sum() / 2 - 2 * math.log(sigma)
    assert kl.item() == pytest.approx(expected.item(), rel=1e-5)


def test_the_score_has_the_mean_of_the_path_and_more_spread() -> None:
    """200 gradients of each; means differ by more than 5 errors in less than 1 of 10^4 runs."""
    torch.manual_seed(0)
    path = VAEGaussian(x_shape=(2,), z_dim=1, hidden=(2,))
    score = ScoreFunction(x_shape=(2,), z_dim=1, hidden=(2,))
    score.load_state_dict(path.state_dict())
    every, objective, x = [], make_objective("elbo"), torch.randn(4, 2)
    for pair in (path, score):
        of = [gradient_of(pair, objective, (x,), pair.encoder.parameters()) for _ in range(200)]
        every.append(torch.stack(of))
    means, errors = [g.mean(0) for g in every], [g.std(0) / 200**0.5 for g in every]
    assert ((means[0] - means[1]).abs() <= 5 * (errors[0] ** 2 + errors[1] ** 2).sqrt()).all()
    assert spread(list(every[1])) > spread(list(every[0]))


@pytest.mark.parametrize("kind", [AT_RANDOM, NOT_AT_RANDOM])
def test_what_is_exact_of_holes_is_without_bias(kind: str) -> None:
    """Of 600 holes; off by more than 4 errors in less than 1 of 10^4 tables."""
    x, missing = table(kind)
    off = exact(kind, x[missing, 1:]) - x[missing, 0]
    assert abs(off.mean()) < 4 * off.std() / len(off) ** 0.5
