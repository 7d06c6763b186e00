"""Gaussian heads and the forms of sigma, against their formulas."""

import math

import numpy as np
import pytest
import torch
from pyro import distributions as dist
from torch import nn

from vaezoo import RequestError
from vaezoo.config import resolve
from vaezoo.models.vae import VAEGaussian
from vaezoo.parts.likelihoods import Bernoulli, Gaussian, share_at_floor
from vaezoo.parts.networks import GaussianHead, sigma_of


def linear_head() -> nn.Module:
    return nn.Linear(3, 4)


class Features(nn.Identity):
    """A decoder that hands on its three inputs."""

    x_shape = (4,)

    def head(self, num_outputs: int | None = None, *, per_element: int | None = None) -> nn.Module:
        return linear_head()


def gaussian(sigma: str, floor: float = 0.01) -> Gaussian:
    torch.manual_seed(0)
    return Gaussian(Features(), sigma=sigma, floor=floor)


@pytest.fixture
def h() -> torch.Tensor:
    return torch.randn(5, 3)


def test_gaussian_head_is_appendix_c2() -> None:
    """mu = W4 h + b4, log sigma^2 = W5 h + b5."""
    head, h = GaussianHead(linear_head), torch.randn(5, 3)
    mu, sigma = head(h)
    torch.testing.assert_close(mu, h @ head.loc.weight.T + head.loc.bias)
    torch.testing.assert_close(sigma**2, (h @ head.log_var.weight.T + head.log_var.bias).exp())


def test_heads_do_not_share_parameters() -> None:
    head = GaussianHead(linear_head)
    assert head.loc.weight.data_ptr() != head.log_var.weight.data_ptr()


def test_log_variance_is_twice_the_log_of_the_deviation() -> None:
    log_var = torch.linspace(-3, 3, 7)
    torch.testing.assert_close(2 * sigma_of(log_var, 0.0).log(), log_var)


def test_sigma_never_falls_below_its_floor() -> None:
    sigma = sigma_of(torch.linspace(-80, 3, 50), 0.05)
    assert bool((sigma >= 0.05).all())
    torch.testing.assert_close(sigma[-1], torch.tensor(math.sqrt(math.exp(3) + 0.05**2)))


def test_gradient_of_sigma_at_the_floor_is_the_closed_form() -> None:
    """d sigma / d log sigma^2 = exp(log sigma^2) / (2 sigma), which is never zero."""
    log_var = torch.tensor([-8.0, -4.0, 0.0], requires_grad=True)
    sigma = sigma_of(log_var, 0.1)
    (gradient,) = torch.autograd.grad(sigma.sum(), log_var)
    torch.testing.assert_close(gradient, log_var.detach().exp() / (2 * sigma.detach()))
    assert bool((gradient > 0).all())


def test_log_density_keeps_its_constant(h: torch.Tensor) -> None:
    fn = gaussian("fixed:1")(h)
    assert float(fn.log_prob(fn.mean)[0].detach()) == pytest.approx(
        -4 * 0.5 * math.log(2 * math.pi)
    )


def test_fixed_sigma_is_squared_error(h: torch.Tensor) -> None:
    """-log p = |x - mu|^2 / (2 v^2) + D log(v sqrt(2 pi))."""
    fn, x = gaussian("fixed:0.3")(h), torch.randn(5, 4)
    constant = 4 * math.log(0.3 * math.sqrt(2 * math.pi))
    expected = -((x - fn.mean) ** 2).sum(-1) / (2 * 0.3**2) - constant
    torch.testing.assert_close(fn.log_prob(x), expected)


@pytest.mark.parametrize(
    ("form", "shape"), [("fixed:1", None), ("shared", (1,)), ("per-dim", (4,)), ("analytic", None)]
)
def test_parameters_of_each_form(form: str, shape: tuple[int, ...] | None) -> None:
    named = dict(gaussian(form).named_parameters())
    assert (tuple(named["theta"].shape) if "theta" in named else None) == shape


def test_per_pixel_sigma_depends_on_the_latent(h: torch.Tensor) -> None:
    scale = gaussian("per-pixel")(h).base_dist.scale
    assert bool((scale.std(0) > 0).all())


@pytest.mark.parametrize("form", ["shared", "per-dim", "fixed:1"])
def test_other_sigmas_do_not_depend_on_the_latent(form: str, h: torch.Tensor) -> None:
    scale = gaussian(form)(h).base_dist.scale.expand(5, 4)
    assert bool((scale.std(0) == 0).all())


def test_analytic_sigma_is_the_root_mean_square_residual(h: torch.Tensor) -> None:
    likelihood, x = gaussian("analytic"), torch.randn(5, 4)
    fn = likelihood.train()(h)
    rms = ((x - fn.mean) ** 2).mean().sqrt()
    expected = dist.Normal(fn.mean, rms).to_event(1).log_prob(x)
    torch.testing.assert_close(fn.log_prob(x), expected)


def test_no_sigma_has_a_higher_likelihood_than_the_analytic_one(h: torch.Tensor) -> None:
    likelihood, x = gaussian("analytic"), torch.randn(5, 4)
    fn = likelihood.train()(h)
    best = fn.log_prob(x).sum()
    for sigma in np.geomspace(0.1, 5, 40):
        assert dist.Normal(fn.mean, float(sigma)).log_prob(x).sum() <= best + 1e-4


def test_gradient_through_the_analytic_sigma_is_exact(h: torch.Tensor) -> None:
    """As if sigma were differentiated: its derivative at the optimum is zero."""
    likelihood, x = gaussian("analytic"), torch.randn(5, 4)
    weight = likelihood.loc.weight
    (gradient,) = torch.autograd.grad(likelihood.train()(h).log_prob(x).sum(), weight)
    mu = likelihood.loc(h)
    sigma = ((x - mu) ** 2).mean().sqrt()
    (expected,) = torch.autograd.grad(dist.Normal(mu, sigma).log_prob(x).sum(), weight)
    torch.testing.assert_close(gradient, expected, rtol=1e-4, atol=1e-5)


def test_analytic_sigma_is_frozen_outside_training(h: torch.Tensor) -> None:
    likelihood = gaussian("analytic")
    for _ in range(50):
        likelihood.train()(h).log_prob(3 + torch.randn(5, 4))
    before = likelihood.variance.clone()
    fn = likelihood.eval()(h)
    fn.log_prob(100 * torch.randn(5, 4))
    assert torch.equal(likelihood.variance, before)
    torch.testing.assert_close(fn.base_dist.scale[0, 0], before.sqrt()[0])


def test_share_at_floor_counts_outputs_below_it(h: torch.Tensor) -> None:
    likelihood = gaussian("per-dim", floor=0.1)
    with torch.no_grad():
        likelihood.theta.copy_(torch.tensor([-9.0, -9.0, 0.0, 0.0]) / likelihood.GAIN)
    assert share_at_floor(likelihood, likelihood(h)) == pytest.approx(0.5)


def test_share_at_floor_of_a_fixed_sigma_is_zero(h: torch.Tensor) -> None:
    likelihood = gaussian("fixed:0.001", floor=0.1)
    assert share_at_floor(likelihood, likelihood(h)) == 0.0


def test_sigmoid_mean_lies_between_zero_and_one(h: torch.Tensor) -> None:
    fn = Gaussian(Features(), mean="sigmoid")(100 * h)
    assert bool(((fn.mean >= 0) & (fn.mean <= 1)).all())


def test_bernoulli_works_on_logits(h: torch.Tensor) -> None:
    """Finite where a probability would round to one."""
    likelihood = Bernoulli(Features())
    log_prob = likelihood(1e4 * h).log_prob(torch.zeros(5, 4))
    assert bool(torch.isfinite(log_prob).all())


@pytest.mark.parametrize("sigma", ["fixed", "fixed:", "fixed:0", "fixed:-1", "fixed:nan", "global"])
def test_wrong_forms_are_refused(sigma: str) -> None:
    with pytest.raises(RequestError, match=r"expected fixed:VALUE .* or analytic"):
        resolve(VAEGaussian, {"likelihood": {"sigma": sigma}})
