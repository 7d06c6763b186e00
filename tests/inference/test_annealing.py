"""Annealing against closed forms and quadrature: evidence, mode weights, and both bounds."""

import math
from dataclasses import dataclass

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import RequestError
from vaezoo.exact.quadrature import Quadrature, quadrature
from vaezoo.inference.annealing import Annealed, Annealing, annealed_evidence, bidirectional_bounds
from vaezoo.inference.importance import log_evidence, resample
from vaezoo.models.lgssm import LGSSM
from vaezoo.models.vae import VAEBernoulli
from vaezoo.testing.pairs import (
    GammaPoisson,
    LabelledPair,
    LinearPair,
    NoLatents,
    PointGuide,
    StatesPair,
)

WEIGHT = torch.tensor(
    [[1.0, 0.6, 0.0], [0.5, 1.0, 0.3], [0.2, 0.7, -0.8], [-0.4, 0.3, 1.2]], dtype=torch.float64
)
OF_NO_USE = LinearPair(WEIGHT, sigma=0.3, scale=0.01, shift=20.0)
LINEAR = OF_NO_USE.linear
QUICK = Annealing(num_particles=8, num_temperatures=5)


class Tilted(nn.Module):
    """x_1 ~ N(z_1^2 + 0.8 z_1, 0.3^2): two modes, and a guide that knows the heavier one."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            first = z[..., 0] ** 2 + 0.8 * z[..., 0]
            loc = torch.stack([first, z[..., 1]], -1)
            pyro.sample("x", dist.Normal(loc, 0.3).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        right = (0.16 + x[:, 0]).sqrt() - 0.4
        loc = torch.stack([right, x[:, 1] / 1.09], -1)
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, 0.3).to_event(1))


class NeverLooks(LabelledPair):
    """A likelihood without latents."""

    def model(self, x: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("x", dist.Normal(torch.zeros_like(x), 1.0), obs=x)


class SeesTheDatum(LabelledPair):
    """A likelihood whose mean is taken from the datum."""

    def model(self, x: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("x", dist.Normal(z + 0.9 * x, 0.5), obs=x)


class OtherName(LabelledPair):
    """An observed site that has the name of no argument."""

    def model(self, x: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("seen", dist.Normal(z, 0.5), obs=x)


def linear_x(number: int) -> Tensor:
    """Draw data of the linear-Gaussian model."""
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(number, 3, dtype=torch.float64, generator=draw)
    return z @ WEIGHT.T + 0.3 * torch.randn(number, 4, dtype=torch.float64, generator=draw)


@dataclass(frozen=True)
class Modes:
    """Data whose posteriors have two modes, the truth, and what annealing says."""

    x: Tensor
    exact: Quadrature
    found: Annealed


@pytest.fixture(scope="module")
def modes() -> Modes:
    draw = torch.Generator().manual_seed(1)
    first = 0.8 + 2 * torch.rand(40, dtype=torch.float64, generator=draw)
    x = torch.stack([first, torch.randn(40, dtype=torch.float64, generator=draw)], -1)
    return Modes(x, quadrature(Tilted(), (x,)), annealed_evidence(Tilted(), (x,)))


@pytest.fixture(scope="module")
def linear() -> Annealed:
    return annealed_evidence(OF_NO_USE, (linear_x(100),))


# Evidence


def test_evidence_is_exact_within_its_noise(linear: Annealed) -> None:
    """Errors of sd 0.2: a mean within 5 standard errors, none beyond 6 sds. Failure rate 1e-5."""
    error = linear.log_evidence - LINEAR.log_prob(linear_x(100))
    assert abs(float(error.mean())) < 0.1
    assert float(error.abs().max()) < 1.2
    assert float(error.std()) < 0.35


def test_mean_weight_is_unbiased_for_few_temperatures() -> None:
    """E exp(error) = 1, though errors have an sd of 0.5 or so. Failure rate below 1e-3."""
    x = linear_x(500)
    annealed = annealed_evidence(OF_NO_USE, (x,), Annealing(16, 15))
    ratio = (annealed.log_evidence - LINEAR.log_prob(x)).exp()
    standard_error = float(ratio.std()) / math.sqrt(len(x))
    assert float(ratio.log().std()) > 0.3
    assert standard_error < 0.1
    assert abs(float(ratio.mean()) - 1) < 3.5 * standard_error


def test_evidence_is_that_of_the_weights(linear: Annealed) -> None:
    assert torch.equal(linear.log_evidence, log_evidence(linear.log_weights))


def test_constrained_latents_have_their_evidence() -> None:
    """Errors of sd 0.1, averaged over 40 data of each of 5 kinds. Failure rate below 1e-5."""
    x = torch.tensor([0.0, 1.0, 4.0, 9.0, 20.0], dtype=torch.float64)
    annealed = annealed_evidence(GammaPoisson(), (x.repeat(40),))
    exact = (x + 1).log() - (x + 2) * math.log(2)
    error = annealed.log_evidence.unflatten(0, (40, 5)).mean(0) - exact
    assert float(error.abs().max()) < 0.1
    assert bool((annealed.latents["rate"] > 0).all())


def test_likelihood_without_latents_is_its_own_evidence() -> None:
    x = torch.randn(3, dtype=torch.float64)
    annealed = annealed_evidence(NeverLooks(), (x, x), QUICK)
    torch.testing.assert_close(annealed.log_evidence, dist.Normal(0.0, 1.0).log_prob(x))


def test_guide_is_a_start_too() -> None:
    """The exact guide has equal weights all the way."""
    x, pair = torch.randn(5, 4, dtype=torch.float64), LinearPair()
    how = Annealing(num_particles=8, num_temperatures=5, start="guide")
    estimate = annealed_evidence(pair, (x,), how).log_evidence
    torch.testing.assert_close(estimate, pair.log_evidence(x), atol=1e-6, rtol=0)


# Draws


def test_weighted_particles_have_the_moments_of_the_posterior(linear: Annealed) -> None:
    """300 standardised errors of means, of sd 1 to 1.3, and 300 variances. Failure rate 1e-3."""
    mean, covariance = LINEAR.posterior(linear_x(100))
    sd = covariance.diagonal().sqrt()
    share = linear.log_weights.softmax(0).unsqueeze(-1)
    z = linear.latents["z"]
    error = ((share * z).sum(0) - mean) / sd * math.sqrt(len(z))
    assert abs(float(error.mean())) < 0.3
    assert 0.8 < float(error.std()) < 1.6
    spread = (share * (z - mean).square()).sum(0).mean(0) / sd.square()
    torch.testing.assert_close(spread, torch.ones_like(spread), atol=0.15, rtol=0)


def test_modes_have_their_weights(modes: Modes) -> None:
    """Errors of sd 0.08 for each datum, and of 0.013 on average. Failure rate below 1e-4."""
    right = (modes.exact.points[:, 0] > -0.4).double() @ modes.exact.log_posterior.exp()
    assert 0.65 < float(right.min()) < float(right.max()) < 0.85
    resampled = resample(modes.found.latents, modes.found.log_weights, 64)["z"]
    error = (resampled[..., 0] > -0.4).double().mean(0) - right
    assert abs(float(error.mean())) < 0.06
    assert float(error.abs().max()) < 0.45


def test_evidence_of_several_modes(modes: Modes) -> None:
    """Errors of sd 0.15. Failure rate below 1e-5."""
    error = modes.found.log_evidence - modes.exact.log_evidence
    assert abs(float(error.mean())) < 0.12
    assert float(error.abs().max()) < 0.9


def test_start_at_a_guide_is_blind_to_the_mode_that_it_misses(modes: Modes) -> None:
    """Too low by -log of the share of the mode, 0.3 nats. Failure rate below 1e-5."""
    annealed = annealed_evidence(Tilted(), (modes.x,), Annealing(start="guide"))
    assert float((annealed.log_evidence - modes.exact.log_evidence).mean()) < -0.15


# Bounds


def test_bounds_enclose_and_the_gap_shrinks() -> None:
    """Mean errors on the right side of 0, up to 4 standard errors. Failure rate below 1e-4."""
    gaps = []
    for number in (20, 160):
        how = Annealing(32, number)
        bounds = bidirectional_bounds(OF_NO_USE, (torch.zeros(200, 4).double(),), how)
        exact = LINEAR.log_prob(bounds.args[0])
        below, above = exact - bounds.lower, bounds.upper - exact
        for side in (below, above):
            assert float(side.mean()) > -4 * float(side.std()) / math.sqrt(200)
        assert bounds.mean_gap == pytest.approx(float(bounds.gap.mean()))
        gaps.append(bounds.mean_gap)
    assert gaps[0] > 0.2
    assert abs(gaps[1]) < 0.3 * gaps[0]


def test_reverse_weights_are_unbiased() -> None:
    """E exp(-upper) = 1 / p(x), for few temperatures. Failure rate below 1e-3."""
    blank = torch.zeros(500, 4, dtype=torch.float64)
    bounds = bidirectional_bounds(OF_NO_USE, (blank,), Annealing(16, 30))
    ratio = (LINEAR.log_prob(bounds.args[0]) - bounds.upper).exp()
    standard_error = float(ratio.std()) / math.sqrt(500)
    assert standard_error < 0.1
    assert abs(float(ratio.mean()) - 1) < 3.5 * standard_error


def test_data_are_those_of_the_model_and_labels_stay() -> None:
    """x - 10 c has variance 1.25, and x - z - 10 c has 0.25; 2,000 data. Failure rate 1e-6."""
    c = torch.arange(2000) % 3
    how = Annealing(2, 2)
    bounds = bidirectional_bounds(LabelledPair(), (torch.full((2000,), 99.0), c), how)
    x, kept = bounds.args
    assert torch.equal(kept, c)
    residual = x - 10 * c
    assert float(residual.var()) == pytest.approx(1.25, abs=0.2)
    assert float((residual - bounds.latents["z"]).var()) == pytest.approx(0.25, abs=0.04)


def test_binary_data_stay_binary() -> None:
    pair = VAEBernoulli(x_shape=(3, 4), z_dim=2, hidden=(8,))
    bounds = bidirectional_bounds(pair, (torch.zeros(6, 3, 4),), QUICK)
    assert bounds.args[0].shape == (6, 3, 4)
    assert set(bounds.args[0].unique().tolist()) == {0.0, 1.0}
    assert bounds.latents["z"].shape == (6, 2)
    assert bounds.lower.shape == bounds.upper.shape == bounds.gap.shape == (6,)


def test_data_that_look_at_themselves_are_refused() -> None:
    with pytest.raises(RequestError, match="density of site 'x' depends on the datum itself"):
        bidirectional_bounds(SeesTheDatum(), (torch.zeros(5), torch.ones(5)), QUICK)


def test_observed_site_may_have_another_name() -> None:
    bounds = bidirectional_bounds(OtherName(), (torch.zeros(5), torch.ones(5)), QUICK)
    assert bool((bounds.args[0] != 0).all())


# What the request says


def test_batch_of_one_and_order_of_data() -> None:
    """Errors of sd 0.2, by itself, first or last. Failure rate below 1e-5."""
    x = linear_x(10)
    exact = LINEAR.log_prob(x)
    alone = annealed_evidence(OF_NO_USE, (x[:1],)).log_evidence
    turned = annealed_evidence(OF_NO_USE, (x.flip(0),)).log_evidence.flip(0)
    torch.testing.assert_close(alone, exact[:1], atol=1.0, rtol=0)
    torch.testing.assert_close(turned, exact, atol=1.0, rtol=0)


def test_parts_of_a_batch_are_joined() -> None:
    pair, x = Tilted(), torch.rand(5, 2)
    how = Annealing(num_particles=4096, num_temperatures=2)
    whole = annealed_evidence(pair, (x,), how)
    part = annealed_evidence(pair, (x[:2],), how)
    assert torch.equal(whole.log_evidence[:2], part.log_evidence)
    assert torch.equal(whole.latents["z"][:, :2], part.latents["z"])
    assert whole.log_weights.shape == (4096, 5)
    assert whole.unconstrained.shape == (4096, 5, 2)
    assert whole.acceptance.shape == (5,)


def test_same_seed_same_result_and_nothing_else_changes() -> None:
    pair, x = Tilted().train(), torch.rand(3, 2)
    state = torch.get_rng_state()
    found = [annealed_evidence(pair, (x,), QUICK, seed=seed) for seed in (1, 1, 2)]
    bidirectional_bounds(pair, (x,), QUICK)
    assert torch.equal(found[0].log_evidence, found[1].log_evidence)
    assert not torch.equal(found[0].log_evidence, found[2].log_evidence)
    assert torch.equal(torch.get_rng_state(), state)
    assert pair.training


def test_temperatures_go_from_prior_to_posterior() -> None:
    betas = torch.tensor(Annealing(num_temperatures=10).betas)
    assert len(betas) == 11
    assert betas[[0, -1]].tolist() == [0, 1]
    torch.testing.assert_close(betas, 1 - betas.flip(0))
    assert bool((betas.diff() > 0).all())
    assert Annealing(num_temperatures=1).betas == [0.0, 1.0]


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (StatesPair(), "needs real latents, and site 'k' is discrete"),
        (NoLatents(), "needs latents, and NoLatents has none"),
        (PointGuide(WEIGHT[:1]), "gives site 'z' one value"),
    ],
    ids=["discrete", "no latents", "autoencoder"],
)
def test_other_pairs_are_refused(pair: nn.Module, message: str) -> None:
    with pytest.raises(RequestError, match=f"annealing .*{message}"):
        annealed_evidence(pair, (torch.zeros(3, 1),))
    with pytest.raises(RequestError, match=f"bidirectional Monte Carlo .*{message}"):
        bidirectional_bounds(pair, (torch.zeros(3, 1),))


def test_sequences_are_sent_to_the_particle_filter() -> None:
    pair, length = LGSSM(x_shape=(2,), z_dim=2), torch.full((3,), 4)
    with pytest.raises(RequestError, match="particle_filter"):
        annealed_evidence(pair, (torch.zeros(3, 4, 2), length))


@pytest.mark.parametrize(
    "wrong",
    [{"num_particles": 1}, {"num_temperatures": 0}, {"target_acceptance": 1.0}, {"start": "x"}],
    ids=str,
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(RequestError):
        Annealing(**wrong)  # type: ignore[arg-type]
