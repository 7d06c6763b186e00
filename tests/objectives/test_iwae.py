"""Importance weighted objectives against closed forms, quadrature and enumeration."""

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro.distributions import transforms
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from vaezoo.errors import RequestError
from vaezoo.exact.linear_gaussian import LinearGaussian, fit_ppca
from vaezoo.models.vae_linear import VAELinear
from vaezoo.objectives import ELBO, IWAE, Context, DReG, Objective
from vaezoo.objectives.bounds.stl import STL
from vaezoo.pairs.accounting import log_weights

THETA = ("decoder.weight", "decoder.bias", "log_sigma")
PHI = ("encoder.weight", "encoder.bias", "log_s")


@pytest.fixture
def x() -> Tensor:
    return torch.randn(30, 3, dtype=torch.float64) @ torch.randn(3, 6, dtype=torch.float64)


@pytest.fixture
def pair(x: Tensor) -> VAELinear:
    torch.manual_seed(1)
    return VAELinear(x_shape=(6,), z_dim=2).double()


@pytest.fixture
def solution(x: Tensor) -> LinearGaussian:
    return fit_ppca(x, 2)[0]


@pytest.fixture
def exact(solution: LinearGaussian, exact_pair: Callable[[LinearGaussian], VAELinear]) -> VAELinear:
    """The pair whose guide is the posterior of its model."""
    return exact_pair(solution)


def gradients(
    objective: Objective, pair: nn.Module, x: Tensor, beta: float = 1.0
) -> dict[str, Tensor]:
    objective.prepare(pair, (x,))
    torch.manual_seed(3)
    names, parameters = zip(*pair.named_parameters(), strict=True)
    loss = objective.loss(pair, (x,), Context(beta))
    return dict(zip(names, torch.autograd.grad(loss, parameters), strict=True))


# Linear-Gaussian pairs


@pytest.mark.parametrize("number", [1, 2, 7])
@pytest.mark.parametrize("cls", [IWAE, DReG])
def test_bound_of_the_exact_guide_is_the_log_likelihood(
    exact: VAELinear, solution: LinearGaussian, x: Tensor, cls: type, number: int
) -> None:
    """Its weights have no variance."""
    loss = cls(num_particles=number).loss(exact, (x,)).item()
    assert -loss == pytest.approx(float(solution.log_prob(x).mean()), abs=1e-9)


@pytest.mark.parametrize("number", [1, 7])
@pytest.mark.parametrize("cls", [DReG, STL])
def test_gradient_vanishes_for_the_exact_guide(
    exact: VAELinear, x: Tensor, cls: type, number: int
) -> None:
    doubly = gradients(cls(num_particles=number), exact, x)
    plain = gradients(IWAE(num_particles=number), exact, x)
    for name in PHI:
        assert float(doubly[name].abs().max()) < 1e-10, name
        assert float(plain[name].abs().max()) > 1e-3, name


def bound_by_hand(pair: VAELinear, x: Tensor, number: int, beta: float) -> Tensor:
    """log 1/K sum_k w_k from the densities of Gaussians, written out."""
    mu, s = x @ pair.encoder.weight.T + pair.encoder.bias, pair.log_s.exp()
    z = mu + s * torch.randn(number, len(x), 2, dtype=x.dtype)
    log_w = log_weight_by_hand(pair, x, z, mu, s, beta)
    return torch.logsumexp(log_w, 0) - math.log(number)


def log_weight_by_hand(
    pair: VAELinear, x: Tensor, z: Tensor, mu: Tensor, s: Tensor, beta: float
) -> Tensor:
    def log_normal(value: Tensor, loc: Tensor | float, scale: Tensor | float) -> Tensor:
        scale = torch.as_tensor(scale, dtype=x.dtype)
        standard = (value - loc) / scale
        return (-0.5 * standard**2 - scale.log() - 0.5 * math.log(2 * math.pi)).sum(-1)

    loc = z @ pair.decoder.weight.T + pair.decoder.bias
    ratio = log_normal(z, 0.0, 1.0) - log_normal(z, mu, s)
    return log_normal(x, loc, pair.log_sigma.exp()) + beta * ratio


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("number", [1, 4])
def test_bound_and_its_gradient_are_those_written_by_hand(
    pair: VAELinear, x: Tensor, number: int, beta: float
) -> None:
    objective = IWAE(num_particles=number)
    grads = gradients(objective, pair, x, beta)
    torch.manual_seed(3)
    loss = objective.loss(pair, (x,), Context(beta))
    torch.manual_seed(3)
    by_hand = -bound_by_hand(pair, x, number, beta).mean()
    torch.testing.assert_close(loss, by_hand, rtol=1e-12, atol=0)
    expected = torch.autograd.grad(by_hand, list(pair.parameters()), materialize_grads=True)
    torch.testing.assert_close(list(grads.values()), list(expected), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("number", [1, 4])
def test_value_and_model_gradient_of_dreg_are_those_of_iwae(
    pair: VAELinear, x: Tensor, number: int
) -> None:
    plain, doubly = IWAE(num_particles=number), DReG(num_particles=number)
    expected, grads = gradients(plain, pair, x), gradients(doubly, pair, x)
    for name in THETA:
        torch.testing.assert_close(grads[name], expected[name], rtol=1e-12, atol=1e-12)
    losses = []
    for objective in (plain, doubly):
        torch.manual_seed(3)
        losses.append(objective.loss(pair, (x,), Context(0.7)).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-13)


def test_guide_gradient_of_dreg_is_the_formula(pair: VAELinear, x: Tensor) -> None:
    """sum_k v_k^2 (d log w_k / d z_k) (d z_k / d phi), for mu and s."""
    grads = gradients(DReG(num_particles=4), pair, x)
    torch.manual_seed(3)
    noise = torch.randn(4, len(x), 2, dtype=x.dtype)
    with torch.no_grad():
        mu, s = x @ pair.encoder.weight.T + pair.encoder.bias, pair.log_s.exp()
    z = (mu + s * noise).requires_grad_()
    log_w = log_weight_by_hand(pair, x, z, mu, s, 1.0)
    (slope,) = torch.autograd.grad(log_w.sum(), z)
    force = -(log_w.softmax(0) ** 2)[..., None].detach() * slope / len(x)
    torch.testing.assert_close(grads["encoder.bias"], force.sum((0, 1)))
    torch.testing.assert_close(grads["encoder.weight"], torch.einsum("kbl,bd->ld", force, x))
    torch.testing.assert_close(grads["log_s"], (force * s * noise).sum((0, 1)))


def test_bounds_are_averages_of_the_weights_that_evaluation_sees(
    pair: VAELinear, x: Tensor
) -> None:
    """Failure rate below 1e-6: means of 400 evaluations agree within 6 standard errors."""
    weights = log_weights(pair, (x,), 8000).reshape(5, 1600, 30)
    expected = (weights.logsumexp(0) - math.log(5)).mean(1)
    losses = torch.stack([IWAE(num_particles=5).loss(pair, (x,)).detach() for _ in range(400)])
    error = (expected.var() / 1600 + losses.var() / 400).sqrt()
    assert abs(float(expected.mean() + losses.mean())) < 6 * float(error)


# The expected gradient, by quadrature


class Scalar(nn.Module):
    """One latent and one observed number; the parameters of the guide are given for each row."""

    def model(self, x: Tensor, loc: Tensor, log_s: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(()), 1.0))
            pyro.sample("x", dist.Normal(z, 0.8), obs=x)

    def guide(self, x: Tensor, loc: Tensor, log_s: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(loc, log_s.exp()))


def rows(number: int, *values: float) -> tuple[Tensor, ...]:
    """The same values in every row; gradients by them are gradients of each row."""
    return tuple(
        torch.full((number,), value, dtype=torch.float64, requires_grad=True) for value in values
    )


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 2.0])
def test_expected_gradients_of_dreg_and_iwae_are_equal(
    beta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gauss-Hermite quadrature over the noise of two draws, one row for each pair of nodes."""
    nodes, weights = map(torch.from_numpy, np.polynomial.hermite_e.hermegauss(120))
    noise = torch.cartesian_prod(nodes, nodes).T
    weight = torch.outer(weights, weights).flatten() / (2 * math.pi)
    pair, args = Scalar(), rows(len(weight), 1.7, 0.4, -0.2)
    expected = []
    for objective in (IWAE(num_particles=2), DReG(num_particles=2)):
        objective.prepare(pair, args)
        with monkeypatch.context() as patch:
            patch.setattr(
                "torch.distributions.normal._standard_normal", lambda *size, **kind: noise
            )
            loss = objective.loss(pair, args, Context(beta))
        by_row = torch.stack(torch.autograd.grad(loss, args[1:])) * len(weight)
        expected.append((by_row * weight).sum(1))
    assert float(expected[0].abs().max()) > 0.1
    torch.testing.assert_close(expected[0], expected[1], rtol=1e-6, atol=0)


# Discrete latents, by enumeration


class Coin(nn.Module):
    """A binary latent; the parameters of model and guide are given for each row."""

    def model(self, x: Tensor, shift: Tensor, logit: Tensor) -> None:
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", dist.Bernoulli(x.new_tensor(0.3)))
            pyro.sample("x", dist.Normal(shift * c, 1.0), obs=x)

    def guide(self, x: Tensor, shift: Tensor, logit: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("c", dist.Bernoulli(logits=logit))


def enumerated(args: tuple[Tensor, ...], c: Tensor, beta: float) -> tuple[Tensor, Tensor]:
    """log q and log w of each combination of draws, ``c (K, combinations)``."""
    x, shift, logit = args
    log_q = dist.Bernoulli(logits=logit).log_prob(c)
    log_p = dist.Bernoulli(x.new_tensor(0.3)).log_prob(c)
    return log_q, dist.Normal(shift * c, 1.0).log_prob(x) + beta * (log_p - log_q)


@pytest.mark.parametrize("beta", [0.5, 1.0])
@pytest.mark.parametrize("number", [2, 3])
@pytest.mark.parametrize("cls", [IWAE, ELBO])
def test_gradient_for_discrete_latents_is_unbiased(
    cls: type, number: int, beta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One row for each combination of draws, weighted by its probability."""
    c = torch.tensor(list(itertools.product([0.0, 1.0], repeat=number)), dtype=torch.float64).T
    pair, args = Coin(), rows(2**number, 0.9, 1.3, 0.6)
    objective = cls(num_particles=number)
    objective.prepare(pair, args)
    with monkeypatch.context() as patch:
        patch.setattr(dist.Bernoulli, "sample", lambda self, shape=(): c)
        loss = objective.loss(pair, args, Context(beta))
    log_q, log_w = enumerated(args, c, beta)
    probability = log_q.sum(0).exp()
    bound = log_w.mean(0) if cls is ELBO else log_w.logsumexp(0) - math.log(number)
    by_row = torch.stack(torch.autograd.grad(loss, args[1:])) * 2**number
    gradient = (by_row * probability.detach()).sum(1)
    exact = torch.stack(torch.autograd.grad(-(probability * bound).sum(), args[1:])).sum(1)
    torch.testing.assert_close(gradient, exact)


@pytest.mark.parametrize("beta", [0.5, 1.0])
@pytest.mark.parametrize("cls", [IWAE, ELBO])
def test_other_data_as_a_baseline_leave_the_gradient_unbiased(
    cls: type, beta: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All joint draws of two data with one draw each, weighted by their probability."""
    pair, args = Coin(), rows(2, 0.9, 1.3, 0.6)
    both = torch.tensor([[0.0, 1.0]] * 2, dtype=torch.float64).T
    log_q, log_w = enumerated(args, both, beta)
    exact = torch.stack(torch.autograd.grad(-(log_q.exp() * log_w).sum() / 2, args[1:]))
    objective = cls()
    objective.prepare(pair, args)
    gradient = torch.zeros_like(exact)
    for draw in torch.cartesian_prod(*both.T):
        monkeypatch.setattr(dist.Bernoulli, "sample", lambda self, shape=(), draw=draw: draw)
        loss = objective.loss(pair, args, Context(beta))
        log_q, _ = enumerated(args, draw, beta)
        by_row = torch.stack(torch.autograd.grad(loss, args[1:]))
        gradient += by_row * log_q.sum().exp().detach()
    torch.testing.assert_close(gradient, exact)


# Which pairs are refused


class Flow(VAELinear):
    """A guide whose density is known for its own draws only, or for every value."""

    def __init__(self, transform: Callable[[Tensor], Sequence[object]]) -> None:
        super().__init__(x_shape=(6,), z_dim=2)
        self.transform = transform
        self.double()

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            base = dist.Normal(x.new_zeros(len(x), 2), 1.0).to_event(1)
            parts = self.transform(self.encoder(x))
            pyro.sample("z", dist.TransformedDistribution(base, parts))


def test_density_of_draws_only_is_refused(x: Tensor) -> None:
    planar = transforms.Planar(2).double()
    pair = Flow(lambda h: [planar])
    with pytest.raises(RequestError, match=r"density of 'z' at any value.*`objective='iwae'`"):
        DReG().prepare(pair, (x,))
    assert bool(torch.isfinite(IWAE(num_particles=3).loss(pair, (x,))))


def test_remembered_draws_do_not_change_the_gradient(pair: VAELinear, x: Tensor) -> None:
    """A transformed normal that remembers its draws has the gradient of the normal."""
    flow = Flow(
        lambda h: [transforms.AffineTransform(h, flow.log_s.exp(), event_dim=1, cache_size=1)]
    )
    flow.load_state_dict(pair.state_dict())
    expected = gradients(DReG(num_particles=4), pair, x)
    grads = gradients(DReG(num_particles=4), flow, x)
    for name, value in expected.items():
        torch.testing.assert_close(grads[name], value, rtol=1e-9, atol=1e-12)


class Remembering(VAELinear):
    """The model reuses what the guide computed from the noise, and not from its draw."""

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            loc, s = self.encoder(x), self.log_s.exp()
            z = pyro.sample("z", dist.Normal(loc, s).to_event(1))
        noise = ((z - loc) / s).detach()
        self.last = z, self.decoder(loc + s * noise)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            loc = self.last[1] if z is self.last[0] else self.decoder(z)
            pyro.sample("x", dist.Normal(loc, self.log_sigma.exp()).to_event(1), obs=x)


def test_what_a_pair_remembers_does_not_change_the_gradient(pair: VAELinear, x: Tensor) -> None:
    other = Remembering(x_shape=(6,), z_dim=2).double()
    other.load_state_dict(pair.state_dict())
    for cls in (IWAE, DReG):
        expected = gradients(cls(num_particles=4), pair, x)
        grads = gradients(cls(num_particles=4), other, x)
        for name, value in expected.items():
            torch.testing.assert_close(grads[name], value, rtol=1e-9, atol=1e-12)


class TwoLayers(nn.Module):
    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(6), 1.0).to_event(1))
            w = pyro.sample("w", dist.Normal(z, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(w, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(0 * x, 1.0).to_event(1))
            pyro.sample("w", dist.Normal(z, 1.0).to_event(1))


class Outside(TwoLayers):
    def guide(self, x: Tensor) -> None:
        pyro.sample("z", dist.Normal(x.new_zeros(6), 1.0).to_event(1))

    def model(self, x: Tensor) -> None:
        z = pyro.sample("z", dist.Normal(x.new_zeros(6), 1.0).to_event(1))
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        (TwoLayers(), "'w' is a second one; use `objective='iwae'`"),
        (Outside(), "'z' has others; put it inside the data plate"),
    ],
)
def test_dreg_refuses(pair: nn.Module, words: str, x: Tensor) -> None:
    with pytest.raises(RequestError, match=words):
        DReG().prepare(pair, (x,))


def test_dreg_refuses_discrete_latents() -> None:
    with pytest.raises(RequestError, match="'c' is not; use `objective='iwae'`"):
        DReG().prepare(Coin(), rows(5, 0.9, 1.3, 0.6))


def test_iwae_refuses_a_latent_that_data_share(x: Tensor) -> None:
    with pytest.raises(RequestError, match=r"'z' has others.*`objective='elbo'`"):
        IWAE().prepare(Outside(), (x,))


def test_iwae_takes_a_hierarchy(x: Tensor) -> None:
    assert bool(torch.isfinite(IWAE(num_particles=3).loss(TwoLayers(), (x,))))


# Recording


@pytest.mark.parametrize("cls", [IWAE, DReG])
def test_recording_of_loss_and_gradients_is_the_same_function(
    pair: VAELinear, x: Tensor, cls: type
) -> None:
    """make_fx refuses to record what reads a value; new data, beta, mask and noise."""
    objective, parameters = cls(num_particles=4), list(pair.parameters())
    objective.prepare(pair, (x,))

    def step(beta: Tensor, mask: Tensor, x: Tensor, *_: Tensor) -> list[Tensor]:
        with pyro.validation_enabled(False):
            loss = objective.loss(pair, (x,), Context(beta, mask))
        return [loss, *torch.autograd.grad(loss, parameters)]

    recorded = make_fx(step)(torch.tensor(1.0), torch.arange(30) < 30, x, *parameters)
    inputs = (torch.tensor(0.3), torch.arange(30) < 20, x.flip(1), *parameters)
    torch.manual_seed(3)
    expected = step(*inputs)
    torch.manual_seed(3)
    torch.testing.assert_close(recorded(*inputs), expected, rtol=1e-12, atol=1e-14)
