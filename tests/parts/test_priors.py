"""Priors against their formulas, and what a VampPrior shares with its pair."""

import copy
import math
from typing import Any

import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import RequestError, parts
from vaezoo.config import build_model, resolve
from vaezoo.models.vae import VAE, VAEGaussian
from vaezoo.objectives import ELBO
from vaezoo.pairs.divergences import kl_in_closed_form
from vaezoo.pairs.sites import trace_pair
from vaezoo.parts import PRIORS

FEW = {"mog": {"num_components": 3}, "vamp": {"num_components": 3}}
PROPER = [name for name in PRIORS.choices if name != "flat"]


def pair(prior: Any, **settings: Any) -> nn.Module:
    torch.manual_seed(0)
    settings = {"z_dim": 2, "hidden": [8], "prior": prior, **settings}
    return build_model(VAEGaussian, settings, (5,))


@pytest.mark.parametrize("name", PROPER)
def test_a_prior_integrates_to_one(name: str) -> None:
    """Over a grid of two latents; tails of a Student's t hold 2e-4 beyond it."""
    prior = pair({"name": name, **FEW.get(name, {})}).prior
    with torch.no_grad():
        line = torch.linspace(-30, 30, 1201)
        grid = torch.cartesian_prod(line, line)
        mass = prior().log_prob(grid).exp().sum() * (line[1] - line[0]) ** 2
    assert float(mass) == pytest.approx(1.0, abs=2e-3)


@pytest.mark.parametrize("name", [name for name in PROPER if name != "flow"])
def test_draws_have_the_moments_of_the_prior(name: str) -> None:
    """Failure rate below 1e-6: six standard errors of 20,000 draws."""
    fn = pair(name).prior()
    with torch.no_grad():
        z = fn.expand((20_000,))()
        error = 6 * (fn.variance / len(z)).sqrt()
    assert bool(((z.mean(0) - fn.mean).abs() < error).all())


@pytest.mark.parametrize("bins", [0, 4])
def test_draws_of_a_flow_are_those_of_its_density(bins: int) -> None:
    """A draw is made by the inverse of the map that its density goes through."""
    fn = pair({"name": "flow", "bins": bins}).double().prior().expand((6,))
    z = fn.rsample()
    torch.testing.assert_close(fn.log_prob(z), fn.log_prob(z.clone()))


def test_a_mixture_by_hand() -> None:
    prior = pair({"name": "mog", "num_components": 3}).prior
    z, variance = torch.randn(4, 1, 2), prior.log_var.exp() + prior.floor**2
    density = (
        torch.exp(-0.5 * (z - prior.loc).square() / variance) / (2 * math.pi * variance).sqrt()
    )
    weighted = (prior.logits.softmax(0) * density.prod(-1)).sum(-1)
    torch.testing.assert_close(prior().log_prob(z[:, 0]), weighted.log())


def test_a_vamp_prior_is_the_mean_of_the_posterior_at_its_inputs() -> None:
    vae = pair({"name": "vamp", "num_components": 3})
    z = torch.randn(4, 2)
    each = torch.stack([vae.encoder(u[None]).log_prob(z) for u in vae.prior.pseudo_inputs])
    torch.testing.assert_close(vae.prior().log_prob(z), each.logsumexp(0) - math.log(3))


def test_the_encoder_of_a_vamp_prior_is_that_of_the_pair() -> None:
    vae = pair("vamp")
    assert [name for name in vae.state_dict() if name.startswith("prior")] == ["prior.inputs"]
    assert len(list(vae.parameters())) == len(list(pair("standard").parameters())) + 1


def test_a_copy_of_a_vamp_prior_asks_the_copy_of_the_encoder() -> None:
    vae = pair("vamp")
    other = copy.deepcopy(vae).double()
    with torch.no_grad():
        for weight in other.encoder.parameters():
            weight.zero_()
    torch.testing.assert_close(other.prior().mean, torch.zeros(2).double())
    assert float(vae.prior().mean.detach().abs().sum()) > 0


@pytest.mark.parametrize(
    ("likelihood", "low", "high"),
    [("bernoulli", 0.0, 1.0), ("gaussian", -math.inf, math.inf)],
)
def test_pseudo_inputs_stay_in_the_range_of_the_data(
    likelihood: str, low: float, high: float
) -> None:
    vae = pair("vamp", likelihood=likelihood)
    with torch.no_grad():
        vae.prior.inputs.mul_(100)
        u = vae.prior.pseudo_inputs.detach()
    assert u.shape == (500, 5)
    assert low <= float(u.min()) < float(u.max()) <= high


def test_a_vamp_prior_without_a_pair_is_refused() -> None:
    with pytest.raises(RequestError, match=r"build it last, `prior\(z_dim, self\.encoder"):
        parts.VampPrior(2)


def test_a_prior_of_ones_own_may_take_the_number_of_latents_alone() -> None:
    class Wide(nn.Module):
        def __init__(self, z_dim: int) -> None:
            super().__init__()
            self.z_dim = z_dim

        def forward(self, *ignored: Tensor) -> dist.TorchDistribution:
            return dist.Normal(torch.zeros(self.z_dim), 3.0).to_event(1)

    part = parts.Part("prior", "wide", Wide)
    vae = VAE(x_shape=(5,), z_dim=2, prior=part)
    assert vae.prior().variance.tolist() == [9.0, 9.0]


@pytest.mark.parametrize("name", ["standard", "gaussian", "laplace"])
def test_closed_forms_are_what_draws_say(name: str) -> None:
    """Failure rate below 1e-6: six standard errors of 20,000 draws."""
    q = dist.Normal(torch.tensor([0.5, -1.0]), torch.tensor([0.3, 1.4])).to_event(1)
    p = pair(name).prior()
    with torch.no_grad():
        z = q.expand((20_000,))()
        terms = q.log_prob(z) - p.log_prob(z)
        exact = kl_in_closed_form(q, p)
    assert abs(float(terms.mean() - exact)) < 6 * float(terms.std()) / len(z) ** 0.5


@pytest.mark.parametrize("name", PROPER)
def test_gradients_reach_every_parameter(name: str) -> None:
    vae = pair(name)
    ELBO().loss(vae, (torch.randn(7, 5),)).backward()
    for parameter, weight in vae.named_parameters():
        assert weight.grad is not None, parameter
        assert bool(weight.grad.isfinite().all()), parameter
        assert bool(weight.grad.any()), parameter


def test_a_standard_prior_has_no_parameters_and_draws_nothing() -> None:
    assert list(pair("standard").prior.parameters()) == []


@pytest.mark.parametrize("posterior", ["diagonal", "full-rank"])
def test_a_flat_prior_of_a_vae_is_refused(posterior: str) -> None:
    with pytest.raises(RequestError, match="infinite mass"):
        resolve(VAE, {"prior": "flat", "posterior": posterior})


def test_a_vamp_prior_of_noise_is_refused() -> None:
    with pytest.raises(RequestError, match=r"is N\(0, I\) for any u"):
        resolve(VAE, {"prior": "vamp", "posterior": "noise-only"})


@pytest.mark.parametrize("posterior", ["iaf", "flow"])
def test_a_vamp_prior_of_flows_is_refused(posterior: str) -> None:
    with pytest.raises(RequestError, match="inverted latent by latent"):
        resolve(VAE, {"prior": "vamp", "posterior": posterior})


def test_latents_of_any_prior_are_sites_as_before() -> None:
    trace = trace_pair(pair("vamp"), (torch.randn(3, 5),))
    assert list(trace.latents) == ["z"]
    assert trace.model.nodes["z"]["fn"].batch_shape == (3,)
