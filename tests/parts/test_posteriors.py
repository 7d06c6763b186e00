"""Posteriors against their formulas: densities, closed forms of the KL, gradients, refusals."""

import math
import subprocess
import sys
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaezoo import RequestError
from vaezoo.config import build_model, resolve
from vaezoo.distributions.mixture_of_normals import DiagonalMixture
from vaezoo.exact.linear_gaussian import LinearGaussian
from vaezoo.models.dmm import DMM
from vaezoo.models.vae import VAE, VAEGaussian
from vaezoo.objectives import ELBO
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.pairs.anatomy import anatomy
from vaezoo.pairs.divergences import kl_in_closed_form
from vaezoo.parts import POSTERIORS, StandardNormal
from vaezoo.parts.networks import Encoder

PROPER = [name for name in POSTERIORS.choices if name != "delta"]
CLOSED = ["diagonal", "mean-only", "noise-only", "full-rank", "low-rank"]
WITH_MEAN = [name for name in PROPER if name not in ("iaf", "flow")]


def posterior(name: str, num_latents: int = 3, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return POSTERIORS.find(name)(Encoder((4,), [8]), num_latents, **options)


@pytest.fixture
def x() -> Tensor:
    return torch.randn(5, 4, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", PROPER)
def test_shapes_with_and_without_particles(name: str, x: Tensor) -> None:
    fn = posterior(name)(x)
    z = fn.expand((7, 5)).rsample()
    assert (fn.batch_shape, fn.event_shape, z.shape) == ((5,), (3,), (7, 5, 3))
    assert fn.log_prob(z).shape == (7, 5)


@pytest.mark.parametrize("name", PROPER)
def test_a_posterior_integrates_to_one(name: str, x: Tensor) -> None:
    """Over a grid of two latents; tails of a Student's t hold 1e-3 beyond it."""
    fn = posterior(name, 2)(x[:1])
    line = torch.linspace(-25, 25, 501)
    with torch.no_grad():
        grid = torch.cartesian_prod(line, line)[:, None]
        mass = fn.log_prob(grid).exp().sum() * (line[1] - line[0]) ** 2
    assert float(mass) == pytest.approx(1.0, abs=5e-3)


@pytest.mark.parametrize("name", WITH_MEAN)
def test_draws_have_the_moments_of_the_posterior(name: str, x: Tensor) -> None:
    """Failure rate below 1e-5: six standard errors of 20,000 draws."""
    fn = posterior(name)(x)
    with torch.no_grad():
        z = fn.expand((20_000, 5))()
        error = 6 * (fn.variance / len(z)).sqrt()
        assert bool(((z.mean(0) - fn.mean).abs() < error).all())
        torch.testing.assert_close(z.var(0), fn.variance, rtol=0.2, atol=0)


@pytest.mark.parametrize("name", CLOSED)
def test_closed_forms_are_what_draws_say(name: str, x: Tensor) -> None:
    """Failure rate below 1e-5: six standard errors of 20,000 draws."""
    fn, prior = posterior(name)(x), StandardNormal(3)()
    with torch.no_grad():
        z = fn.expand((20_000, 5))()
        terms = fn.log_prob(z) - prior.log_prob(z)
        exact = kl_in_closed_form(fn, prior)
        error = 6 * terms.std(0) / len(z) ** 0.5
    assert bool(((terms.mean(0) - exact).abs() <= error + 1e-6).all())


@pytest.mark.parametrize("name", [name for name in PROPER if name not in CLOSED])
def test_others_have_no_closed_form(name: str, x: Tensor) -> None:
    with pytest.raises(NotImplementedError):
        kl_in_closed_form(posterior(name)(x), StandardNormal(3)())


@pytest.mark.parametrize("prior", ["standard", "mog"])
@pytest.mark.parametrize("name", PROPER)
def test_gradients_reach_every_parameter(name: str, prior: str, x: Tensor) -> None:
    torch.manual_seed(0)
    settings = {"z_dim": 3, "hidden": [8], "posterior": name, "prior": prior}
    pair = build_model(VAEGaussian, settings, (4,))
    ELBO().loss(pair, (x,)).backward()
    for parameter, weight in pair.named_parameters():
        assert weight.grad is not None, parameter
        assert bool(weight.grad.isfinite().all()), parameter


def test_tanh_is_a_ceiling_of_half_a_nat_for_each_latent() -> None:
    far = 1e4 * torch.randn(1000, 4)
    kl = kl_in_closed_form(posterior("mean-only", mean="tanh")(far), StandardNormal(3)())
    assert 0.9 < float(kl.detach().max()) <= 0.5 * 3


def test_noise_says_nothing_of_x(x: Tensor) -> None:
    pair = build_model(VAEGaussian, {"z_dim": 3, "hidden": [8], "posterior": "noise-only"}, (4,))
    terms = elbo_terms(pair, (x,))
    assert terms.kl_total.abs().max() == 0.0
    assert not any(name.startswith("encoder") for name, _ in pair.named_parameters())


def test_full_rank_fills_the_triangle_row_by_row(x: Tensor) -> None:
    module = posterior("full-rank")
    tril, below = module(x).scale_tril, module.below(module.net(x))
    rows = torch.stack([tril[:, 1, 0], tril[:, 2, 0], tril[:, 2, 1]], -1)
    torch.testing.assert_close(rows, below)
    assert bool((tril.diagonal(dim1=-2, dim2=-1) > 0).all())


def test_a_mixture_of_one_component_is_a_diagonal_normal(x: Tensor) -> None:
    fn = posterior("mixture", num_components=1)(x)
    z = torch.randn(5, 3)
    normal = torch.distributions.Normal(fn.locs[:, 0], fn.coord_scale[:, 0])
    torch.testing.assert_close(fn.log_prob(z), normal.log_prob(z).sum(-1))


def test_gradients_of_a_mixture_are_those_of_its_moments() -> None:
    """d E[z^2] of all parameters, within 6 standard errors of 200,000 draws (1e-6)."""
    loc = torch.tensor([[1.0, 0.0], [-1.0, 0.5]], requires_grad=True)
    log_scale = torch.tensor([[-0.5, 0.0], [0.2, -0.3]], requires_grad=True)
    logits = torch.tensor([0.3, -0.4], requires_grad=True)
    inputs = (loc, log_scale, logits)
    mixture = lambda: DiagonalMixture(loc[None], log_scale.exp()[None], logits[None])  # noqa: E731
    fn = mixture()
    exact = torch.autograd.grad((fn.variance + fn.mean.square()).sum(), inputs)
    pieces = []
    for _ in range(40):
        z = mixture().expand((5000, 1)).rsample()
        gradients = torch.autograd.grad(z.square().sum(-1).mean(), inputs)
        pieces.append(torch.cat([g.flatten() for g in gradients]))
    draws = torch.stack(pieces)
    error = 6 * draws.std(0) / len(draws) ** 0.5
    assert bool(((draws.mean(0) - torch.cat([g.flatten() for g in exact])).abs() < error).all())


def test_one_latent_has_no_mixture() -> None:
    with pytest.raises(RequestError, match="two latents or more"):
        posterior("mixture", 1)


@pytest.mark.parametrize("prior", ["standard", "mog", "vamp"])
def test_a_point_is_no_posterior_of_a_vae(prior: str) -> None:
    with pytest.raises(RequestError, match=r"infinite .* add `prior='flat'` for an autoencoder"):
        resolve(VAE, {"posterior": "delta", "prior": prior})


def test_a_point_is_no_posterior_of_a_sequence() -> None:
    with pytest.raises(RequestError, match=r"infinite .* this pair has its own prior"):
        resolve(DMM, {"posterior": "delta"})


def test_a_point_with_a_flat_prior_is_an_autoencoder(x: Tensor) -> None:
    settings = {"z_dim": 3, "hidden": [8], "posterior": "delta", "prior": "flat"}
    terms = elbo_terms(build_model(VAEGaussian, settings, (4,)), (x,))
    torch.testing.assert_close(terms.elbo, terms.recon)


class Exact(nn.Module):
    """A linear decoder whose columns are not orthogonal, with its posterior as a full-rank one."""

    def __init__(self) -> None:
        super().__init__()
        weight = torch.tensor([[1.0, 0.8], [0.0, 0.6], [0.5, 0.5]], dtype=torch.float64)
        self.linear = LinearGaussian(weight, torch.zeros(3, dtype=torch.float64), 0.5)


def best(name: str) -> nn.Module:
    """Return a posterior of the linear model whose parameters are the best of its family."""
    linear = Exact().linear
    module = POSTERIORS.find(name)(Encoder((3,)), 2, floor=0.0).double()
    mean, covariance = linear.posterior(torch.eye(3, dtype=torch.float64))
    tril = torch.linalg.cholesky(covariance)
    sigma = tril.diagonal() if name == "full-rank" else linear.precision.diagonal() ** -0.5
    with torch.no_grad():
        for weight in module.parameters():
            weight.zero_()
        module.head.loc.weight.copy_(mean.T)
        module.head.log_var.bias.copy_(2 * sigma.log())
        if name == "full-rank":
            module.below.bias.copy_(tril[1, 0])
    return module


def elbo_of(module: nn.Module, x: Tensor) -> Tensor:
    """Return the ELBO of the linear model in closed form, ``(B,)``."""
    linear, fn = Exact().linear, module(x)
    covariance = getattr(fn, "covariance_matrix", torch.diag_embed(fn.variance))
    residual = (x - fn.mean @ linear.weight.T).square().sum(-1)
    spread = (linear.weight @ covariance @ linear.weight.T).diagonal(dim1=-2, dim2=-1).sum(-1)
    recon = -0.5 * (residual + spread) / linear.sigma**2
    recon = recon - 1.5 * math.log(2 * math.pi * linear.sigma**2)
    return recon - kl_in_closed_form(fn, StandardNormal(2).double()())


@pytest.mark.parametrize("name", ["diagonal", "full-rank"])
def test_full_rank_closes_the_gap_of_a_mean_field(name: str) -> None:
    linear, x = Exact().linear, torch.randn(6, 3, dtype=torch.float64)
    gap = (linear.log_prob(x) - elbo_of(best(name), x)).detach()
    exact = linear.mean_field_gap() if name == "diagonal" else 0.0
    torch.testing.assert_close(gap, torch.full_like(gap, exact), rtol=0, atol=1e-9)
    assert linear.mean_field_gap() > 0.05


@pytest.mark.parametrize("name", ["iaf", "flow"])
def test_the_density_of_a_flow_is_the_change_of_variables(name: str, x: Tensor) -> None:
    """|dz/deps| by autograd."""
    fn = posterior(name).double()(x[:1].double())
    eps = fn.base.rsample()
    jacobian = torch.autograd.functional.jacobian(fn.transform, eps)[0, :, 0]
    z = fn.transform(eps)
    exact = fn.base.log_prob(eps) - torch.linalg.slogdet(jacobian).logabsdet
    torch.testing.assert_close(fn.log_prob(z), exact)


@pytest.mark.parametrize("name", ["iaf", "flow"])
def test_a_flow_remembers_its_own_draw_alone(name: str, x: Tensor) -> None:
    fn = posterior(name).double()(x.double())
    first = fn.rsample()
    remembered = fn.log_prob(first)
    fn.rsample()
    torch.testing.assert_close(fn.log_prob(first), remembered)


def test_flows_without_zuko_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zuko", None)
    with pytest.raises(RequestError, match=r"pip install 'vaezoo\[flows\]'"):
        posterior("iaf")


def test_zuko_leaves_the_validation_of_distributions_as_it_is() -> None:
    code = (
        "from torch.distributions import Distribution as D; from vaezoo import parts; "
        "D.set_default_validate_args(True); parts.FlowPrior(2); assert D._validate_args"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("name", PROPER)
def test_training_and_description_take_the_closed_form_that_there_is(name: str, x: Tensor) -> None:
    pair = build_model(VAEGaussian, {"z_dim": 3, "hidden": [8], "posterior": name}, (4,))
    objective = ELBO(num_particles=2)
    objective.prepare(pair, (x,))
    assert bool(objective._closed_form) == (name in CLOSED)
    (site,) = (site for site in anatomy(pair, (x,)).sites if site.name == "z")
    assert site.kl == ("closed form" if name in CLOSED else "from the draw")
