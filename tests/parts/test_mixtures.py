"""Mixture likelihoods against their formulas, quadrature and the distributions of torch."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from vaezoo.config import build_model
from vaezoo.data import Data
from vaezoo.data.contract import choose_transform
from vaezoo.errors import RequestError
from vaezoo.models.rnn import RNN
from vaezoo.models.vae import VAEGaussian
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.parts.likelihoods.mixtures import (
    LARGEST_CORRELATION,
    GaussianMixture,
    Handwriting,
    PenOffset,
)
from vaezoo.parts.networks import Decoder


class Features(nn.Identity):
    """A decoder that hands on its three inputs."""

    def __init__(self, *x_shape: int) -> None:
        super().__init__()
        self.x_shape = x_shape

    def head(self, num_outputs: int | None = None, *, per_element: int | None = None) -> nn.Module:
        torch.manual_seed(0)
        return nn.Linear(3, num_outputs or 4).double()


@pytest.fixture
def h() -> Tensor:
    return torch.randn(5, 3, dtype=torch.float64)


def pen_offset(num: int = 2) -> PenOffset:
    """One row of some components, correlated."""
    torch.manual_seed(0)
    return PenOffset(
        logits=torch.randn(1, num).double(),
        loc=torch.randn(1, num, 2).double(),
        scale=torch.rand(1, num, 2).double() + 0.3,
        correlation=torch.linspace(-0.9, 0.7, num).double()[None],
        lift=torch.tensor([0.4]).double(),
    )


# Gaussian mixtures


def test_gaussian_mixture_by_hand(h: Tensor) -> None:
    likelihood = GaussianMixture(Features(4), num_components=3, floor=0.1)
    x = torch.randn(5, 4).double()
    outputs = likelihood.layer(h).reshape(5, 3, 9)
    weights, loc, log_var = outputs[..., 0].softmax(-1), outputs[..., 1:5], outputs[..., 5:]
    variance = log_var.exp() + 0.1**2
    squares = (x[:, None] - loc).square() / variance
    density = (torch.exp(-0.5 * squares) / (2 * math.pi * variance).sqrt()).prod(-1)
    torch.testing.assert_close(likelihood(h).log_prob(x), (weights * density).sum(-1).log())
    torch.testing.assert_close(likelihood(h).mean, (weights[..., None] * loc).sum(1))


def test_one_component_is_a_gaussian(h: Tensor) -> None:
    fn = GaussianMixture(Features(4), num_components=1)(h)
    x, component = torch.randn(5, 4).double(), fn.component_distribution
    torch.testing.assert_close(fn.log_prob(x), component.log_prob(x[:, None])[:, 0])


def test_gaussian_mixture_integrates_to_one(h: Tensor) -> None:
    fn = GaussianMixture(Features(1), num_components=5)(h)
    x = torch.linspace(-30, 30, 20_001).double()
    density = fn.log_prob(x[:, None, None]).exp()
    integral = torch.trapezoid(density, x, dim=0)
    torch.testing.assert_close(integral, torch.ones(5).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("x_shape", [(4,), (2, 3)])
def test_shapes_of_the_gaussian_mixture(h: Tensor, x_shape: tuple[int, ...]) -> None:
    fn = GaussianMixture(Features(*x_shape))(h)
    assert (fn.batch_shape, fn.event_shape) == ((5,), x_shape)
    assert fn.sample().shape == fn.mean.shape == (5, *x_shape)


@pytest.mark.parametrize("net", ["mlp", "conv"])
def test_decoder_makes_one_layer_for_all_components(net: str) -> None:
    likelihood = GaussianMixture(Decoder(2, [6], (8, 8), net=net), num_components=3)
    layers = [module for module in likelihood.layer.modules() if isinstance(module, nn.Linear)]
    assert [layer.out_features for layer in layers] == [3 * (2 * 64 + 1)]
    assert likelihood(torch.randn(7, 2)).mean.shape == (7, 8, 8)


# Handwriting


def test_one_correlated_gaussian_is_that_of_torch() -> None:
    fn, x = pen_offset(1), torch.randn(9, 1, 3).double()
    x[..., 2] = (x[..., 2] > 0).double()
    s, t = fn.scale[0, 0]
    rho = fn.correlation[0, 0]
    covariance = torch.stack([torch.stack([s**2, rho * s * t]), torch.stack([rho * s * t, t**2])])
    gaussian = MultivariateNormal(fn.loc[0, 0], covariance).log_prob(x[..., :2])
    e = fn.lift.sigmoid()
    lift = torch.where(x[..., 2] == 1, e, 1 - e).log()
    torch.testing.assert_close(fn.log_prob(x), gaussian + lift)


def test_handwriting_by_hand(h: Tensor) -> None:
    """Graves 2013, eqs. 18-25; outputs are ordered as (lift, weights, means, sigmas, rho)."""
    likelihood = Handwriting(Features(3), num_components=2, floor=0.0)
    x = torch.tensor([[0.3, -0.8, 1.0], [0.1, 0.2, 0.0], [0, 0, 0], [1, 1, 1], [2, 0, 0]]).double()
    y = likelihood.layer(h)
    e, weights = y[:, 0].sigmoid(), y[:, 1:3].softmax(-1)
    total = torch.zeros(5).double()
    for k in range(2):
        mu_x, mu_y, log_var_x, log_var_y, rho = y[:, [3 + k, 5 + k, 7 + k, 9 + k, 11 + k]].T
        s, t = (log_var_x / 2).exp(), (log_var_y / 2).exp()
        r = LARGEST_CORRELATION * torch.tanh(rho)
        u, v = (x[:, 0] - mu_x) / s, (x[:, 1] - mu_y) / t
        exponent = -(u**2 + v**2 - 2 * r * u * v) / (2 * (1 - r**2))
        total += weights[:, k] * exponent.exp() / (2 * math.pi * s * t * (1 - r**2).sqrt())
    by_hand = (total * torch.where(x[:, 2] == 1, e, 1 - e)).log()
    torch.testing.assert_close(likelihood(h).log_prob(x), by_hand)


def test_pen_offsets_integrate_to_one() -> None:
    grid = torch.linspace(-12, 12, 801).double()
    dx, dy = torch.meshgrid(grid, grid, indexing="ij")
    total = 0.0
    for pen in (0.0, 1.0):
        frames = torch.stack([dx, dy, torch.full_like(dx, pen)], -1).reshape(-1, 1, 3)
        density = pen_offset(3).log_prob(frames).exp().reshape(dx.shape)
        total += float(torch.trapezoid(torch.trapezoid(density, grid), grid))
    assert total == pytest.approx(1.0, abs=1e-9)


def test_moments_of_pen_offsets_are_those_of_their_draws() -> None:
    """Failure rate below 1e-6: five means of 200,000 draws within 6 standard errors."""
    fn = pen_offset(3)
    draws = fn.sample((200_000,))[:, 0]
    second = fn.loc.unsqueeze(-1) * fn.loc.unsqueeze(-2)
    product = fn.correlation * fn.scale.prod(-1) + second[..., 0, 1]
    weights = fn.log_weights.exp()
    means = [*fn.mean[0], (weights * product).sum()]
    values = [*draws.unbind(-1), draws[:, 0] * draws[:, 1]]
    for value, mean in zip(values, means, strict=True):
        assert abs(float(value.mean() - mean)) < 6 * float(value.std()) / math.sqrt(len(draws))
    assert set(draws[:, 2].tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("sample_shape", [(), (6,), (2, 3)])
def test_shapes_of_pen_offsets(h: Tensor, sample_shape: tuple[int, ...]) -> None:
    fn = Handwriting(Features(3))(h)
    frames = fn.sample(sample_shape)
    assert frames.shape == (*sample_shape, 5, 3)
    assert fn.log_prob(frames).shape == (*sample_shape, 5)


def test_pen_offsets_expand(h: Tensor) -> None:
    fn = Handwriting(Features(3))(h)
    wide = fn.expand((4, 5))
    x = fn.sample((4,))
    torch.testing.assert_close(wide.log_prob(x), fn.log_prob(x))
    assert wide.sample().shape == wide.mean.shape == (4, 5, 3)


def test_support_is_two_reals_and_a_bit() -> None:
    frames = torch.tensor([[0.3, -7.0, 1.0], [0.3, -7.0, 0.0], [0.3, 1.0, 0.5]])
    assert PenOffset.support.check(frames).tolist() == [True, True, False]


def test_correlation_leaves_the_density_bounded() -> None:
    likelihood = Handwriting(Features(3), num_components=2, floor=0.1)
    with torch.no_grad():
        likelihood.layer.weight.zero_()
        likelihood.layer.bias.fill_(-1000.0)
        fn = likelihood(torch.zeros(1, 3).double())
    rest = 1 - LARGEST_CORRELATION**2
    largest = -math.log(2 * math.pi * 0.1**2) - 0.5 * math.log(rest)
    at_mode = torch.cat([fn.loc[:, 0], torch.zeros(1, 1).double()], -1)
    assert float(fn.log_prob(at_mode)) == pytest.approx(largest, abs=1e-9)


# Both


@pytest.mark.parametrize("factor", [0.0, 1.0, 30.0])
@pytest.mark.parametrize("cls", [GaussianMixture, Handwriting])
def test_gradients_are_finite(cls: type, factor: float, h: Tensor) -> None:
    likelihood, h = cls(Features(3)), (factor * h).requires_grad_()
    x = torch.tensor([[1e3, -1e3, 1.0]] * 5).double()
    likelihood(h).log_prob(x).sum().backward()
    grads = [h.grad, *(parameter.grad for parameter in likelihood.parameters())]
    assert all(bool(torch.isfinite(grad).all()) for grad in grads)


@pytest.mark.parametrize(
    ("likelihood", "x_shape"), [("gaussian-mixture", (2, 3)), ("handwriting", (3,))]
)
def test_named_by_a_flag(likelihood: str, x_shape: tuple[int, ...]) -> None:
    pair = build_model(
        VAEGaussian, {"likelihood": {"name": likelihood, "num_components": 4}}, x_shape
    )
    elbo = elbo_terms(pair, (torch.ones(7, *x_shape),)).elbo
    assert bool(torch.isfinite(elbo).all())


@pytest.mark.parametrize("likelihood", ["gaussian-mixture", "handwriting"])
def test_real_data_fit(likelihood: str) -> None:
    frames = np.array([[[0.5, -3.0, 1.0], [2.0, 0.0, 0.0]]] * 3, dtype=np.float32)
    arrays = {"x": frames, "length": np.array([2, 1, 2])}
    data = Data("pen", arrays, {"train": np.arange(3)})
    pair = build_model(RNN, {"likelihood": likelihood}, (3,))
    assert choose_transform(pair, data).binarize == "none"


def test_handwriting_of_other_frames_is_refused() -> None:
    with pytest.raises(RequestError, match=r"\(dx, dy, pen\).*gaussian-mixture"):
        build_model(RNN, {"likelihood": "handwriting"}, (4,))
