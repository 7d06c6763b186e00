"""Discrete latents that are summed out: a mixture of Gaussians against its closed form."""

import math
from collections.abc import Callable

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.inference.target import Target
from vaezoo.objectives import ELBO, IWAE, Context
from vaezoo.pairs.accounting import elbo_terms, log_weights
from vaezoo.pairs.enumeration import enumeration_of
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import trace_pair

MARK = {"enumerate": "parallel"}
X = torch.tensor([[-1.0, 0.3], [2.0, 1.0], [0.1, -0.7]])


class Mixture(nn.Module):
    """p(x) = sum_c pi_c N(x; mu_c, I + sigma^2 I), with z between c and x, or without it."""

    def __init__(self, *, side: str = "guide", one_hot: bool = False, with_z: bool = False) -> None:
        super().__init__()
        self.side, self.one_hot, self.with_z = side, one_hot, with_z
        self.logits = nn.Parameter(torch.tensor([0.2, -0.5, 0.9]))
        self.mu = nn.Parameter(torch.tensor([[-1.0, 0.0], [1.0, 1.0], [0.0, -2.0]]))
        self.q_c = nn.Linear(2, 3)
        self.q_z = nn.Linear(2, 2)
        nn.init.eye_(self.q_z.weight)

    def _c(self, logits: Tensor) -> dist.TorchDistribution:
        family = dist.OneHotCategorical if self.one_hot else dist.Categorical
        return family(logits=logits)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", self._c(self.logits), infer=MARK if self.side == "model" else {})
            loc = c @ self.mu if self.one_hot else self.mu[c]
            if self.with_z:
                loc = pyro.sample("z", dist.Normal(loc, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(loc, 0.5).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            if self.side == "guide":
                pyro.sample("c", self._c(self.q_c(x)), infer=MARK)
            if self.with_z:
                pyro.sample("z", dist.Normal(self.q_z(x), 0.9).to_event(1))

    def log_evidence(self, x: Tensor) -> Tensor:
        """log p(x), in closed form."""
        sigma = math.sqrt(0.25 + self.with_z)
        log_p = dist.Normal(self.mu, sigma).to_event(1).log_prob(x.unsqueeze(1))
        return (log_p + self.logits.log_softmax(-1)).logsumexp(-1)

    def log_posterior(self, x: Tensor) -> Tensor:
        """log p(c | x) without z ``(B, 3)``."""
        log_p = dist.Normal(self.mu, 0.5).to_event(1).log_prob(x.unsqueeze(1))
        return (log_p + self.logits.log_softmax(-1)).log_softmax(-1)


def build(**options: object) -> Mixture:
    torch.manual_seed(0)
    return Mixture(**options)  # type: ignore[arg-type]


@pytest.mark.parametrize("one_hot", [False, True])
def test_elbo_of_a_mixture_is_its_log_evidence_without_a_divergence(one_hot: bool) -> None:
    pair = build(one_hot=one_hot)
    log_q = pair.q_c(X).log_softmax(-1)
    divergence = (log_q.exp() * (log_q - pair.log_posterior(X))).sum(-1)
    elbo = elbo_terms(pair, (X,)).elbo
    torch.testing.assert_close(elbo, pair.log_evidence(X) - divergence)


def test_gradient_of_a_mixture_is_exact() -> None:
    pair = build()
    parameters = list(pair.parameters())[:4]
    log_q = pair.q_c(X).log_softmax(-1)
    exact = (pair.log_evidence(X) - (log_q.exp() * (log_q - pair.log_posterior(X))).sum(-1)).mean()
    loss = ELBO().loss(pair, (X,))
    torch.testing.assert_close(loss, -exact)
    ours = torch.autograd.grad(loss, parameters)
    for gradient, truth in zip(ours, torch.autograd.grad(-exact, parameters), strict=True):
        torch.testing.assert_close(gradient, truth, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("number", [1, 7])
def test_what_the_model_alone_marks_leaves_log_evidence(number: int) -> None:
    pair = build(side="model")
    truth = pair.log_evidence(X)
    torch.testing.assert_close(elbo_terms(pair, (X,)).elbo, truth)
    log_w = log_weights(pair, (X,), number)
    torch.testing.assert_close(log_w, truth.expand(number, -1))
    torch.testing.assert_close(ELBO(num_particles=number).loss(pair, (X,)), -truth.mean())


@pytest.mark.parametrize("side", ["guide", "model"])
def test_bounds_of_a_mixture_with_continuous_latents_reach_log_evidence(side: str) -> None:
    """Within 5 standard errors of 20,000 weights: wrong once in a million runs."""
    pair = build(side=side, with_z=True)
    torch.manual_seed(1)
    log_w = log_weights(pair, (X,), 20_000)
    ratio = (log_w - pair.log_evidence(X)).exp().detach()
    assert bool(((ratio.mean(0) - 1).abs() < 5 * ratio.std(0) / math.sqrt(20_000)).all())


@pytest.mark.parametrize("side", ["guide", "model"])
def test_elbo_is_the_mean_log_weight_and_minus_the_loss(side: str) -> None:
    """Within 5 standard errors of 4,000 draws: wrong once in a million runs."""
    pair = build(side=side, with_z=True)
    torch.manual_seed(2)
    log_w = log_weights(pair, (X,), 4000)
    rows = X.repeat_interleave(4000, 0)
    elbo = elbo_terms(pair, (rows,)).elbo.detach().unflatten(0, (3, 4000)).T
    errors = (log_w.var(0) + elbo.var(0)).div(4000).sqrt()
    assert bool(((elbo.mean(0) - log_w.mean(0)).abs() < 5 * errors).all())
    loss = ELBO(num_particles=4000).loss(pair, (X,)).detach()
    assert abs(float(loss + elbo.mean())) < 5 * float(errors.mean())


def test_gradient_noise_is_that_of_summing_by_hand() -> None:
    """A sum over c by hand has the noise of z only; ratios of 400 draws lie within 30 %."""
    pair = build(with_z=True)
    weight = pair.q_c.weight

    def by_hand() -> Tensor:
        loc = pair.q_z(X)
        q_z = dist.Normal(loc, 0.9).to_event(1)
        log_q = pair.q_c(X).log_softmax(-1)
        total = torch.zeros(())
        for c in range(3):
            z = q_z.rsample()
            log_p = dist.Normal(pair.mu[c], 1.0).to_event(1).log_prob(z)
            log_x = dist.Normal(z, 0.5).to_event(1).log_prob(X)
            log_c = pair.logits.log_softmax(-1)[c]
            term = log_x + log_p + log_c - q_z.log_prob(z) - log_q[:, c]
            total = total + (log_q[:, c].exp() * term).mean()
        return -total

    def noise(loss: Callable[[], Tensor]) -> Tensor:
        draws = [torch.autograd.grad(loss(), weight)[0] for _ in range(400)]
        return torch.stack(draws).std(0).norm()

    torch.manual_seed(3)
    ours = noise(lambda: ELBO().loss(pair, (X,)))
    assert float(ours) < 1.3 * float(noise(by_hand))


def test_rows_that_a_mask_leaves_out_count_nothing() -> None:
    pair = build()
    mask = torch.tensor([True, False, True])
    masked = ELBO().loss(pair, (X,), Context(mask=mask))
    torch.testing.assert_close(masked, ELBO().loss(pair, (X[mask],)))


@pytest.mark.parametrize("side", ["guide", "model"])
def test_posterior_of_the_continuous_latents_is_that_of_the_mixture(side: str) -> None:
    pair = build(side=side, with_z=True)
    z = torch.randn(4, 3, 2)
    with probing(pair, X.device):
        target = Target(pair, (X,), "HMC")
        prior, likelihood = target.log_terms(z)
        log_q = target.log_guide(z)
    log_z = dist.Normal(pair.mu, 1.0).to_event(1).log_prob(z.unsqueeze(-2))
    torch.testing.assert_close(prior, (log_z + pair.logits.log_softmax(-1)).logsumexp(-1))
    torch.testing.assert_close(likelihood, dist.Normal(z, 0.5).to_event(1).log_prob(X))
    torch.testing.assert_close(log_q, dist.Normal(pair.q_z(X), 0.9).to_event(1).log_prob(z))


class Components(Mixture):
    """Each component has a posterior of its own: q(z | x) is a mixture."""

    flow = False

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            c = pyro.sample("c", self._c(self.q_c(x)), infer=MARK)
            q = dist.Normal(self.q_z(x) + self.mu[c], 0.9).to_event(1)
            if self.flow:
                q = dist.TransformedDistribution(q, [dist.transforms.Planar(2)])
            pyro.sample("z", q)


def test_density_of_a_guide_that_depends_on_a_marked_latent_is_its_mixture() -> None:
    torch.manual_seed(0)
    pair, z = Components(with_z=True), torch.randn(4, 3, 2)
    with probing(pair, X.device):
        log_q = Target(pair, (X,), "HMC").log_guide(z)
    loc = pair.q_z(X).unsqueeze(1) + pair.mu  # (B, C, 2)
    log_z = dist.Normal(loc, 0.9).to_event(1).log_prob(z.unsqueeze(-2))
    mixture = (log_z + pair.q_c(X).log_softmax(-1)).logsumexp(-1)
    torch.testing.assert_close(log_q, mixture)


def test_density_of_a_flow_beside_a_marked_latent_is_refused_in_words() -> None:
    torch.manual_seed(0)
    pair = Components(with_z=True)
    pair.flow = True
    with probing(pair, X.device):
        target = Target(pair, (X,), "HMC")
        with pytest.raises(RequestError, match="known of its own draws only"):
            target.log_guide(torch.randn(4, 3, 2))


def test_importance_weighted_objective_sums_what_the_model_alone_marks() -> None:
    pair = build(side="model")
    torch.testing.assert_close(IWAE(num_particles=3).loss(pair, (X,)), -pair.log_evidence(X).mean())


def test_gradient_of_the_importance_weighted_objective_with_marks() -> None:
    pair = build(side="model")
    parameters = [pair.logits, pair.mu]
    ours = torch.autograd.grad(IWAE(num_particles=3).loss(pair, (X,)), parameters)
    exact = torch.autograd.grad(-pair.log_evidence(X).mean(), parameters)
    for gradient, truth in zip(ours, exact, strict=True):
        torch.testing.assert_close(gradient, truth, rtol=1e-4, atol=1e-6)


class Chain(nn.Module):
    """Twelve steps of three values each: too many to be summed."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            for t in range(12):
                pyro.sample(f"c_{t}", dist.Categorical(logits=torch.zeros(3)))
            pyro.sample("x", dist.Normal(torch.zeros(2), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            for t in range(12):
                pyro.sample(f"c_{t}", dist.Categorical(logits=torch.zeros(3)), infer=MARK)


def test_too_many_values_are_refused() -> None:
    with pytest.raises(RequestError, match="531441 joint values, and at most 1000"):
        enumeration_of(trace_pair(Chain(), (X,)))
