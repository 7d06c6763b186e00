"""Densities without a network between latents and data, against their closed forms."""

import math
from typing import Any

import pytest
import torch
from pyro import distributions as dist
from torch import Tensor

from vaezoo.config import build_model
from vaezoo.exact.linear_gaussian import fit_ppca
from vaezoo.objectives import ELBO, IWAE
from vaezoo.pairs.accounting import log_weights
from vaezoo.registry import get_model


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(2)
    factors = torch.randn(200, 2, dtype=torch.float64)
    noise = 0.5 * torch.randn(200, 5, dtype=torch.float64)
    return factors @ torch.randn(2, 5, dtype=torch.float64) + noise


def pair_of(name: str, **settings: object) -> Any:
    torch.manual_seed(1)
    return build_model(get_model(name), settings, (5,)).double()


@pytest.mark.parametrize("name", ["ppca", "factor-analysis"])
def test_the_guide_is_the_posterior_of_the_model(name: str, x: Tensor) -> None:
    """Every weight is log p(x), whatever the parameters are: log N(x; b, W W^T + Psi)."""
    pair = pair_of(name, z_dim=2)
    covariance = (pair.W @ pair.W.T + pair.psi.diag()).detach()
    exact = dist.MultivariateNormal(pair.b.detach(), covariance).log_prob(x)
    torch.testing.assert_close(log_weights(pair, (x,), 3), exact.expand(3, -1))


def test_steps_lead_to_the_maximum_of_the_likelihood(x: Tensor) -> None:
    pair = pair_of("ppca", z_dim=2)
    optimizer = torch.optim.LBFGS(pair.parameters(), max_iter=200, line_search_fn="strong_wolfe")
    objective = IWAE()
    objective.prepare(pair, (x,))

    def closure() -> Tensor:
        optimizer.zero_grad()
        torch.manual_seed(0)
        loss = objective.loss(pair, (x,))
        loss.backward()
        return loss

    for _ in range(3):
        optimizer.step(closure)
    assert -float(closure().detach()) == pytest.approx(fit_ppca(x, 2)[1], abs=1e-3)


def test_what_principal_components_leave_are_the_other_eigenvalues(x: Tensor) -> None:
    pair = pair_of("pca", z_dim=2)
    optimizer = torch.optim.LBFGS(pair.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = ELBO().loss(pair, (x,))
        loss.backward()
        return loss

    optimizer.step(closure)
    left = torch.linalg.eigvalsh(torch.cov(x.T, correction=0))[:-2].sum()
    expected = 0.5 * float(left) + 2.5 * math.log(2 * math.pi)
    assert float(closure().detach()) == pytest.approx(expected, abs=1e-6)


def test_directions_of_principal_components_are_orthonormal() -> None:
    loadings = pair_of("pca", z_dim=3).loadings.detach()
    torch.testing.assert_close(loadings.T @ loadings, torch.eye(3, dtype=loadings.dtype))


def test_components_are_summed_out() -> None:
    """log sum_k pi_k prod_i Bernoulli(x_i; y_ki)."""
    pair = pair_of("mixture", num_components=3)
    x = torch.bernoulli(torch.full((7, 5), 0.5, dtype=torch.float64))
    each = pair.elements(torch.eye(3, dtype=torch.float64))  # of every component
    joint = pair.logits.log_softmax(0) + each.log_prob(x[:, None])
    torch.testing.assert_close(-ELBO().loss(pair, (x,)), joint.logsumexp(1).mean())


def test_a_flow_of_one_element_integrates_to_one() -> None:
    torch.manual_seed(1)
    pair = build_model(get_model("maf"), {"hidden": [8], "transforms": 2}, (1,))
    x = torch.linspace(-30, 30, 20_001)[:, None]
    density = log_weights(pair, (x,), 1)[0].exp()
    assert float(torch.trapezoid(density, x[:, 0])) == pytest.approx(1.0, abs=1e-3)


def test_a_flow_is_no_narrower_than_its_floor() -> None:
    """Transforms that ask for any scale have 0.1 together, so that the most is N(0; 0, 0.1^2)."""
    config = {"hidden": [8], "transforms": 2, "floor": 0.1}
    pair = build_model(get_model("maf"), config, (1,)).double()
    for name, value in pair.named_parameters():
        value.data.fill_(1e9 if name.endswith("phi.1") else 0.0)  # the log scales, and shifts
    x = torch.linspace(-1, 1, 201, dtype=torch.float64)[:, None]
    most = float(log_weights(pair, (x,), 1)[0].max())
    assert most == pytest.approx(-math.log(0.1 * math.sqrt(2 * math.pi)), abs=1e-6)


def test_independent_elements_have_their_own_shares() -> None:
    """The best bias of an element is the logit of its share."""
    pair = pair_of("independent")
    x = torch.bernoulli(torch.full((100, 5), 0.3, dtype=torch.float64))
    named = dict(pair.named_parameters())
    bias, weight = named["elements.logits.0.bias"], named["elements.logits.0.weight"]
    with torch.no_grad():
        bias.copy_(x.mean(0).logit() - weight[:, 0])
    gradient = torch.autograd.grad(ELBO().loss(pair, (x,)), bias)[0]
    torch.testing.assert_close(gradient, torch.zeros_like(bias))


def test_a_frame_is_explained_by_the_one_before() -> None:
    torch.manual_seed(1)
    pair: Any = build_model(get_model("markov"), {}, (3,))
    x = torch.bernoulli(torch.full((2, 4, 3), 0.5))
    before = torch.cat([torch.zeros(2, 1, 3), x[:, :-1]], 1)
    by_hand = pair.likelihood(before).log_prob(x).sum() / 8
    length = torch.tensor([4, 4])
    torch.testing.assert_close(-ELBO().loss(pair, (x, length)), by_hand)
