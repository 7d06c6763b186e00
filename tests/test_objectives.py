"""Objectives against formulas worked out by hand."""

import math

import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from vaezoo.models.vae_bernoulli import VAEBernoulli
from vaezoo.objectives import ELBO, kl_weight, scale_latents
from vaezoo.sites import elbo_terms, log_weights


@pytest.fixture
def pair() -> VAEBernoulli:
    torch.manual_seed(1)
    return VAEBernoulli(x_shape=(6,), z_dim=3, hidden=(4,))


@pytest.fixture
def x() -> Tensor:
    return torch.bernoulli(torch.full((5, 6), 0.4))


def posterior_of(pair: VAEBernoulli, x: Tensor) -> tuple[Tensor, Tensor]:
    """mu and log sigma^2, from the weights: App. C.2 with z and x swapped."""
    first = pair.encoder.body[0]
    head = pair.posterior.head
    h = torch.tanh(x @ first.weight.T + first.bias)
    mu = h @ head.loc.weight.T + head.loc.bias
    log_var = h @ head.log_var.weight.T + head.log_var.bias
    return mu, (log_var.exp() + head.floor**2).log()


def reconstruction_of(pair: VAEBernoulli, x: Tensor, z: Tensor) -> Tensor:
    """sum x log y + (1 - x) log(1 - y), y = sigmoid(W2 tanh(W1 z + b1) + b2): App. C.1."""
    first, second = pair.decoder.body[0], pair.likelihood.logits[0]
    logits = torch.tanh(z @ first.weight.T + first.bias) @ second.weight.T + second.bias
    y = torch.sigmoid(logits)
    return (x * y.log() + (1 - x) * (1 - y).log()).sum(-1)


def kl_of(mu: Tensor, log_var: Tensor) -> Tensor:
    """-1/2 sum(1 + log sigma^2 - mu^2 - sigma^2): App. B."""
    return -0.5 * (1 + log_var - mu**2 - log_var.exp()).sum(-1)


def hand_written_loss(pair: VAEBernoulli, x: Tensor, beta: float = 1.0) -> Tensor:
    mu, log_var = posterior_of(pair, x)
    z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
    return (beta * kl_of(mu, log_var) - reconstruction_of(pair, x, z)).mean()


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0, 4.0])
def test_loss_is_the_hand_written_bound(pair: VAEBernoulli, x: Tensor, beta: float) -> None:
    torch.manual_seed(3)
    expected = hand_written_loss(pair, x, beta)
    objective = ELBO()
    objective.prepare(pair, (x,))
    torch.manual_seed(3)
    found = objective.loss(pair, (x,), beta).detach()
    assert float(found) == pytest.approx(float(expected.detach()), rel=1e-6)


@pytest.mark.parametrize("beta", [0.5, 1.0, 4.0])
def test_gradient_is_that_of_the_hand_written_bound(
    pair: VAEBernoulli, x: Tensor, beta: float
) -> None:
    parameters = list(pair.parameters())
    torch.manual_seed(3)
    expected = torch.autograd.grad(hand_written_loss(pair, x, beta), parameters)
    objective = ELBO()
    objective.prepare(pair, (x,))
    torch.manual_seed(3)
    found = torch.autograd.grad(objective.loss(pair, (x,), beta), parameters)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_terms_are_the_formulas_of_the_paper(pair: VAEBernoulli, x: Tensor) -> None:
    mu, log_var = posterior_of(pair, x)
    torch.manual_seed(3)
    z = mu + torch.exp(0.5 * log_var) * torch.randn_like(mu)
    torch.manual_seed(3)
    terms = elbo_terms(pair, (x,))
    torch.testing.assert_close(terms.recon, reconstruction_of(pair, x, z))
    torch.testing.assert_close(terms.kl["z"], kl_of(mu, log_var), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(terms.kl_per_latent["z"].sum(-1), terms.kl["z"])
    torch.testing.assert_close(terms.elbo, terms.recon - terms.kl_total)


def test_more_particles_average_the_same_estimate(pair: VAEBernoulli, x: Tensor) -> None:
    """Failure rate below 1e-6: the means of 400 draws agree within 6 standard errors."""
    one, five = ELBO(), ELBO(num_particles=5)
    singles = torch.stack([one.loss(pair, (x,)).detach() for _ in range(400)])
    several = torch.stack([five.loss(pair, (x,)).detach() for _ in range(80)])
    error = math.sqrt(float(singles.var()) / 400 + float(several.var()) / 80)
    assert abs(float(singles.mean() - several.mean())) < 6 * error
    assert float(several.var()) < float(singles.var())


class Narrow(nn.Module):
    """One latent whose exact KL is known, for the traps of a scaled KL term."""

    def __init__(self) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.full((20,), 3.0))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(20), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(0 * z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc, 0.1).to_event(1))

    @property
    def kl(self) -> float:
        return 20 * 0.5 * (3.0**2 + 0.1**2 - 1 - math.log(0.1**2))


@pytest.mark.parametrize("estimator", [Trace_ELBO, TraceMeanField_ELBO])
def test_beta_weighs_the_kl_term_in_both_estimators(estimator: type) -> None:
    """On one side only, beta is ignored or turns the bound over; on both it is beta."""
    pair, x = Narrow(), torch.zeros(1, 20)
    elbo = estimator(num_particles=300)

    def kl(beta: float) -> float:
        model, guide = scale_latents(beta)(pair.model), scale_latents(beta)(pair.guide)
        recon = -20 * 0.5 * math.log(2 * math.pi)
        return float(elbo.loss(model, guide, x)) + recon

    assert kl(4.0) / pair.kl == pytest.approx(4.0, rel=0.02)
    assert kl(1.0) / pair.kl == pytest.approx(1.0, rel=0.02)


def test_beta_changes_the_gradient(pair: VAEBernoulli, x: Tensor) -> None:
    parameter = pair.posterior.head.loc.weight
    gradients = []
    for beta in (1.0, 4.0):
        torch.manual_seed(0)
        (gradient,) = torch.autograd.grad(ELBO().loss(pair, (x,), beta), parameter)
        gradients.append(gradient)
    assert not torch.allclose(*gradients, rtol=0.1)


def test_warm_up_is_linear_and_ends() -> None:
    weights = [kl_weight(step, beta=2.0, warmup=10) for step in range(13)]
    assert weights[:11] == pytest.approx([0.2 * step for step in range(11)])
    assert weights[10:] == [2.0, 2.0, 2.0]


def test_without_warm_up_beta_is_constant() -> None:
    assert kl_weight(0, beta=3.0, warmup=0) == 3.0


class TwoLayers(nn.Module):
    """Latents that model and guide visit in opposite orders."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            top = pyro.sample("top", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            low = pyro.sample("low", dist.Normal(top, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(low, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            low = pyro.sample("low", dist.Normal(x, 1.0).to_event(1))
            pyro.sample("top", dist.Normal(low, 1.0).to_event(1))


def test_closed_form_kl_is_not_used_where_it_would_be_wrong() -> None:
    objective = ELBO()
    objective.prepare(TwoLayers(), (torch.zeros(3, 2),))
    assert type(objective._elbo) is Trace_ELBO


def test_monte_carlo_kl_estimates_the_bound_of_a_hierarchy() -> None:
    """Failure rate below 1e-6: ELBO terms and log-weights have one mean, within 6 errors."""
    pair, x = TwoLayers(), torch.randn(3, 2)
    weights = log_weights(pair, (x,), 4000).mean(0)
    elbo = torch.stack([elbo_terms(pair, (x,)).elbo for _ in range(4000)])
    error = (elbo.var(0) * 2 / 4000).sqrt()
    assert bool(((elbo.mean(0) - weights).abs() < 6 * error).all())
