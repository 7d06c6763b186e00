"""Hamiltonian Monte Carlo for all data at once, against closed forms, quadrature and Pyro."""

import math
from dataclasses import dataclass

import numpy as np
import pyro
import pytest
import torch
import xarray as xr
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import RequestError
from vaezoo.exact.quadrature import quadrature
from vaezoo.inference.hmc import HMCResult, convergence, hmc, largest_r_hat
from vaezoo.inference.target import Target
from vaezoo.models.lgssm import LGSSM
from vaezoo.models.vae import VAEBernoulli
from vaezoo.pairs.particles import probing
from vaezoo.runtime.arviz import import_arviz
from vaezoo.testing.pairs import GammaPoisson, LinearPair, NoLatents, StatesPair


class FromThePrior(LinearPair):
    """Three latents whose posteriors are correlated, 10 elements; as poor a guide as can be."""

    def __init__(self) -> None:
        random = np.random.RandomState(0)
        super().__init__(torch.from_numpy(random.randn(10, 3)), torch.from_numpy(random.randn(10)))

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(3), 1.0).to_event(1))


class OneBatchDimension(FromThePrior):
    """A model whose layers want exactly one batch dimension, so that rows are repeated."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(3), 1.0).to_event(1))
            assert z.dim() == 2
            loc = torch.addmm(self.linear.bias, z, self.linear.weight.T)
            pyro.sample("x", dist.Normal(loc, self.linear.sigma).to_event(1), obs=x)


class TwoLayers(nn.Module):
    """z_2 ~ N(0, 1), z_1 ~ N(z_2, 1) of two elements, x ~ N(z_1, 1): all Gaussian."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            b = pyro.sample("b", dist.Normal(x.new_zeros(()), 1.0))
            a = pyro.sample("a", dist.Normal(b.unsqueeze(-1).expand(*b.shape, 2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(a, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("a", dist.Normal(x, 1.0).to_event(1))
            pyro.sample("b", dist.Normal(x.mean(-1), 1.0))


class Banana(nn.Module):
    """Two latents, and a posterior that is bent: x ~ N((z_1, z_2 + z_1^2), 0.5^2)."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            loc = torch.stack([z[..., 0], z[..., 1] + z[..., 0] ** 2], -1)
            pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(0.8 * x, 0.4).to_event(1))


@dataclass(frozen=True)
class Run:
    """Chains of 100 data, and the truth."""

    x: Tensor
    result: HMCResult
    mean: Tensor
    covariance: Tensor


@pytest.fixture(scope="module")
def run() -> Run:
    draw = torch.Generator().manual_seed(0)
    z = torch.randn(100, 3, dtype=torch.float64, generator=draw)
    noise = torch.randn(100, 10, dtype=torch.float64, generator=draw)
    pair = FromThePrior()
    linear = pair.linear
    x = z @ linear.weight.T + linear.bias + linear.sigma * noise
    result = hmc(pair, (x,), num_samples=400, num_warmup=200)
    return Run(x, result, *linear.posterior(x))


def errors_of_mean(draws: Tensor, mean: Tensor, sd: Tensor) -> Tensor:
    """Return errors ``(B, L)`` of the mean of chains ``(C, S, B, L)``, in standard errors."""
    labelled = xr.Dataset({"u": (("chain", "draw", "datum", "latent"), draws.numpy())})
    ess = torch.from_numpy(import_arviz().ess(labelled, method="mean")["u"].values.copy())
    return (draws.mean((0, 1)) - mean) / sd * ess.sqrt()


# Exact posteriors


def test_means_are_right_within_their_errors(run: Run) -> None:
    """300 standardised errors have mean 0 +- 0.06 and sd 1 +- 0.04. Failure rate 2 %."""
    errors = errors_of_mean(run.result.latents["z"], run.mean, run.covariance.diagonal().sqrt())
    assert abs(float(errors.mean())) < 0.18
    assert 0.9 < float(errors.std()) < 1.1


def test_covariances_are_right(run: Run) -> None:
    """Averaged over 100 data, each with 1,000 effective draws: an error of 0.005 of the sd."""
    z = run.result.latents["z"].flatten(0, 1)
    centred = z - z.mean(0)
    covariance = torch.einsum("sbl,sbm->lm", centred, centred) / (len(z) * z.shape[1])
    scale = run.covariance.diagonal().sqrt()
    difference = (covariance - run.covariance) / torch.outer(scale, scale)
    assert float(difference.abs().max()) < 0.03


def test_chains_agree_and_mix(run: Run) -> None:
    measures = convergence(run.result)
    assert float(measures.r_hat.max()) < 1.05
    assert float(measures.ess_bulk.median()) > 800
    assert float(measures.ess_tail.min()) > 300
    assert torch.equal(measures.r_hat, largest_r_hat(run.result))


def test_step_sizes_reach_the_acceptance(run: Run) -> None:
    assert run.result.acceptance.shape == run.result.step_size.shape == (100,)
    assert 0.7 < float(run.result.acceptance.mean()) < 0.95
    assert run.result.divergences.tolist() == [0] * 100


def test_log_joint_is_that_of_the_draws(run: Run) -> None:
    linear, z = FromThePrior().linear, run.result.latents["z"]
    prior = dist.Normal(torch.zeros(3), 1.0).to_event(1).log_prob(z)
    loc = z @ linear.weight.T + linear.bias
    likelihood = dist.Normal(loc, linear.sigma).to_event(1).log_prob(run.x)
    torch.testing.assert_close(run.result.log_joint, prior + likelihood)


def test_constrained_latents_stay_in_their_support() -> None:
    """Gamma(2 + x, 2): mean and variance within 5 standard errors. Failure rate below 1e-4."""
    x = torch.tensor([0.0, 1.0, 4.0, 9.0, 20.0], dtype=torch.float64)
    result = hmc(GammaPoisson(), (x,), num_samples=500, num_warmup=200)
    rate = result.latents["rate"]
    assert bool((rate > 0).all())
    mean = (2 + x) / 2
    second = mean**2 + mean / 2
    for power, expected in ((1, mean), (2, second)):
        values = (rate**power).unsqueeze(-1)
        sd = values.std((0, 1))
        assert float(errors_of_mean(values, expected.unsqueeze(-1), sd).abs().max()) < 5
    log_joint = dist.Gamma(2.0, 1.0).log_prob(rate) + dist.Poisson(rate).log_prob(x)
    torch.testing.assert_close(result.log_joint, log_joint)


def test_several_sites_in_any_order() -> None:
    """b given x is N(sum x / 4, 1/2): 20 errors of mean 0 and sd 1. Failure rate 1e-5."""
    x = torch.randn(20, 2, dtype=torch.float64)
    result = hmc(TwoLayers(), (x,), num_samples=500, num_warmup=200)
    assert result.latents["a"].shape == (4, 500, 20, 2)
    b = result.latents["b"].unsqueeze(-1)
    errors = errors_of_mean(b, x.sum(-1, keepdim=True) / 4, torch.tensor(math.sqrt(0.5)))
    assert float(errors.abs().max()) < 5


def test_bent_posterior_agrees_with_quadrature() -> None:
    """40 standardised errors, within 5. Failure rate 2e-5."""
    x = torch.randn(20, 2, dtype=torch.float64) + 1
    exact = quadrature(Banana(), (x,))
    assert float(exact.error.max()) < 1e-6
    result = hmc(Banana(), (x,), num_samples=500, num_warmup=200)
    errors = errors_of_mean(result.latents["z"], exact.mean, exact.sd)
    assert float(errors.abs().max()) < 5


@pytest.mark.slow
def test_agrees_with_nuts_of_pyro() -> None:
    """Means of two data and five latents, within 5 standard errors of both. Failure rate 1e-5."""
    torch.manual_seed(0)
    pair = VAEBernoulli(x_shape=(20,), z_dim=5, hidden=(16,)).eval()
    for parameter in pair.decoder.net.parameters():
        parameter.data.mul_(3)
    x = torch.randint(0, 2, (2, 20)).float()
    ours = hmc(pair, (x,), num_samples=1000)
    kernel = pyro.infer.NUTS(pair.model)
    chains = pyro.infer.MCMC(kernel, num_samples=1500, warmup_steps=300, disable_progbar=True)
    chains.run(x)
    theirs = chains.get_samples()["z"].double().unsqueeze(0)
    z = ours.latents["z"].double()
    sd, zero = z.std((0, 1)), torch.zeros(2, 5)
    ess = [((d.mean((0, 1)) / sd) / errors_of_mean(d, zero, sd)) ** 2 for d in (z, theirs)]
    error = sd * (ess[0] + ess[1]).sqrt()
    assert float(((z.mean((0, 1)) - theirs.mean((0, 1))) / error).abs().max()) < 5
    torch.testing.assert_close(z.std((0, 1)), theirs.std((0, 1)), atol=0.15, rtol=0)


# What the request says


def test_same_seed_same_draws_and_nothing_else_changes() -> None:
    pair, x = Banana().train(), torch.randn(3, 2)
    state = torch.get_rng_state()
    results = [hmc(pair, (x,), num_samples=5, num_warmup=6, seed=seed) for seed in (1, 1, 2)]
    first, second, third = (result.latents["z"] for result in results)
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    assert torch.equal(torch.get_rng_state(), state)
    assert pair.training


def test_repeated_rows_are_the_same_densities() -> None:
    x = torch.randn(4, 10, dtype=torch.float64)
    u = torch.randn(5, 4, 3, dtype=torch.float64)
    found = []
    for pair in (FromThePrior(), OneBatchDimension()):
        with probing(pair, x.device):
            target = Target(pair, (x,), "HMC")
            found.append((target.in_plate, target.log_joint(u), target.log_guide(u)))
    assert [in_plate for in_plate, _, _ in found] == [True, False]
    torch.testing.assert_close(found[0][1:], found[1][1:])


def test_diagonal_metric_and_single_chain() -> None:
    x = torch.randn(3, 10, dtype=torch.float64)
    result = hmc(FromThePrior(), (x,), num_chains=1, num_samples=600, dense=False, start="guide")
    mean, covariance = FromThePrior().posterior(x)
    assert result.latents["z"].shape == (1, 600, 3, 3)
    errors = (result.latents["z"].mean((0, 1)) - mean) / covariance.diagonal().sqrt()
    assert float(errors.abs().max()) < 0.4


def test_no_warmup_keeps_the_metric_of_the_guide() -> None:
    result = hmc(Banana(), (torch.randn(3, 2),), num_samples=3, num_warmup=0)
    assert result.step_size.tolist() == pytest.approx([2**-0.25] * 3)


def test_sequences_are_sent_to_the_particle_filter() -> None:
    pair, length = LGSSM(x_shape=(2,), z_dim=2), torch.full((3,), 4)
    with pytest.raises(RequestError, match="particle_filter"):
        hmc(pair, (torch.zeros(3, 4, 2), length))


class Shared(nn.Module):
    def model(self, x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(x.new_tensor(0.0), 1.0))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)

    def guide(self, x: Tensor) -> None:
        pyro.sample("z", dist.Normal(x.new_tensor(0.0), 1.0))


class OneSided(nn.Module):
    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("other", dist.Normal(x, 1.0))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(x), 1.0))
            pyro.sample("x", dist.Normal(z, 1.0), obs=x)


@pytest.mark.parametrize(
    ("pair", "message"),
    [
        (StatesPair(), "site 'k' is discrete; use importance weights"),
        (NoLatents(), "its log p.x. is exact"),
        (Shared(), "site 'z' has others; put it inside the data plate"),
        (OneSided(), "the guide has no site 'z', a latent of the model"),
    ],
    ids=["discrete", "no latents", "shared", "one side"],
)
def test_other_pairs_are_refused(pair: nn.Module, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        hmc(pair, (torch.zeros(3, 1),))


@pytest.mark.parametrize(
    "wrong",
    [{"num_chains": 0}, {"num_warmup": -1}, {"target_acceptance": 1.0}, {"start": "middle"}],
    ids=str,
)
def test_what_is_out_of_range_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(RequestError):
        hmc(Banana(), (torch.zeros(3, 2),), **wrong)  # type: ignore[arg-type]
