"""Von Mises-Fisher: density, KL, draws and their gradients against numerical integration."""

import math
from collections.abc import Callable

import pytest
import scipy.integrate
import scipy.special
import torch
from torch import Tensor
from torch.distributions import kl_divergence

from vaezoo.distributions.sphere import SphereUniform, VonMisesFisher, log_area

KAPPAS = torch.tensor([0.05, 1.0, 7.0, 60.0, 900.0], dtype=torch.float64)
DIMS = [2, 3, 4, 5, 8, 11]


def about_the_first_axis(dim: int, kappa: Tensor) -> VonMisesFisher:
    return VonMisesFisher(torch.eye(dim, dtype=torch.float64)[0], kappa)


def mean_of_cosine(dim: int, kappa: float, power: int = 1) -> float:
    """E[cos^power a] by quadrature over the angle."""

    def density(angle: float) -> float:
        return math.exp(kappa * (math.cos(angle) - 1)) * math.sin(angle) ** (dim - 2)

    peak = math.atan(math.sqrt(dim / kappa))

    def integral(function: Callable[[float], float]) -> float:
        value, _ = scipy.integrate.quad(function, 0, math.pi, points=[peak], limit=200, epsabs=0)
        return float(value)

    return integral(lambda a: math.cos(a) ** power * density(a)) / integral(density)


@pytest.mark.parametrize("dim", DIMS)
def test_density_is_that_of_scipy(dim: int) -> None:
    q = about_the_first_axis(dim, KAPPAS)
    z = SphereUniform(dim, like=KAPPAS).sample((6, 1))
    log_bessel = torch.as_tensor(scipy.special.ive(dim / 2 - 1, KAPPAS.numpy())).log() + KAPPAS
    log_c = (dim / 2 - 1) * KAPPAS.log() - dim / 2 * math.log(2 * math.pi) - log_bessel
    torch.testing.assert_close(q.log_prob(z), log_c + KAPPAS * z[..., 0], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("dim", DIMS)
def test_kl_from_the_uniform_is_that_of_quadrature(dim: int) -> None:
    q, p = about_the_first_axis(dim, KAPPAS), SphereUniform(dim)
    top = torch.eye(dim, dtype=torch.float64)[0]
    means = torch.tensor([mean_of_cosine(dim, float(k)) for k in KAPPAS], dtype=torch.float64)
    at_top = q.log_prob(top)  # tested above
    expected = at_top - KAPPAS * (1 - means) + log_area(dim)
    torch.testing.assert_close(kl_divergence(q, p), expected, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("dim", DIMS)
def test_gradient_of_the_normaliser_is_minus_the_mean_cosine(dim: int) -> None:
    kappa = KAPPAS.clone().requires_grad_()
    q = about_the_first_axis(dim, kappa)
    across = torch.eye(dim, dtype=torch.float64)[1]
    (slope,) = torch.autograd.grad(q.log_prob(across).sum(), kappa)
    expected = [mean_of_cosine(dim, float(k)) for k in KAPPAS]
    torch.testing.assert_close(-slope, torch.tensor(expected).double(), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dim", [2, 3, 5, 11])
def test_draws_have_the_moments_of_quadrature(dim: int) -> None:
    """Failure rate below 1e-6 for each of 30 comparisons: 6 standard errors of 20,000 draws."""
    z = about_the_first_axis(dim, KAPPAS).sample((20_000,))
    torch.testing.assert_close(z.norm(dim=-1), torch.ones_like(z[..., 0]))
    for power in (1, 2):
        moments = z[..., 0] ** power
        expected = [mean_of_cosine(dim, float(k), power) for k in KAPPAS]
        error = 6 * moments.std(0) / math.sqrt(len(z)) + 1e-6
        assert bool(((moments.mean(0) - torch.tensor(expected)).abs() < error).all())


@pytest.mark.parametrize("dim", [2, 3, 5, 11])
def test_path_derivatives_average_to_those_of_the_moments(dim: int) -> None:
    """d E[w^2] / d kappa by draws and by differences; failure rate below 1e-6: 6 errors."""
    wide = KAPPAS.repeat(20_000, 1).requires_grad_()
    moments = about_the_first_axis(dim, wide).rsample()[..., 0] ** 2
    (slopes,) = torch.autograd.grad(moments.sum(), wide)
    for slope, k in zip(slopes.T, KAPPAS.tolist(), strict=True):
        step = 1e-3 * k
        high, low = (mean_of_cosine(dim, k + side * step, 2) for side in (1, -1))
        expected = (high - low) / (2 * step)
        error = 6 * float(slope.std()) / math.sqrt(len(slope)) + 1e-4 * abs(expected)
        assert abs(float(slope.mean()) - expected) < error


def test_the_slope_on_the_sphere_of_three_dimensions_is_that_of_its_inverse() -> None:
    """There F can be inverted: w = 1 + log(u + (1 - u) exp(-2 kappa)) / kappa (d = 3)."""
    from vaezoo.distributions.sphere import _slope_of_cosine

    u = torch.linspace(0.01, 0.99, 25, dtype=torch.float64).unsqueeze(-1)
    kappa = KAPPAS.expand(25, 5).clone().requires_grad_()
    w = 1 + torch.log(u + (1 - u) * torch.exp(-2 * kappa)) / kappa
    (expected,) = torch.autograd.grad(w.sum(), kappa)
    slope = _slope_of_cosine(w.detach(), kappa.detach(), 3)
    torch.testing.assert_close(slope, expected, rtol=1e-6, atol=1e-9)
