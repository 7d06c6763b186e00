"""Codes from a table: exact values, gradients straight through, and a prior that counts them."""

import itertools
import math

import pytest
import torch
from pyro import poutine
from torch import Tensor, nn

from vaezoo.config import build_model
from vaezoo.models.quantised import Entries, nearest
from vaezoo.objectives import ELBO
from vaezoo.pairs.sites import trace_pair
from vaezoo.registry import get_model


@pytest.fixture
def x() -> Tensor:
    torch.manual_seed(2)
    return torch.randn(7, 6)


def pair_of(name: str) -> nn.Module:
    torch.manual_seed(1)
    return build_model(get_model(name), {}, (6,))


def test_the_prior_sums_to_one_over_all_codes() -> None:
    logits, table = torch.randn(2, 3), torch.randn(3, 4)
    codes = torch.stack([table[list(index)] for index in itertools.product(range(3), repeat=2)])
    assert float(Entries(logits, table).log_prob(codes).exp().sum()) == pytest.approx(1.0)


def test_draws_of_the_prior_are_entries_as_often_as_it_says() -> None:
    """Failure rate below 1e-6: a share of 40,000 draws within 6 standard errors."""
    torch.manual_seed(0)
    prior = Entries(torch.tensor([[0.0, math.log(3.0)]]), torch.tensor([[0.0], [1.0]]))
    share = float(prior.sample(torch.Size([40_000])).mean())
    assert abs(share - 0.75) < 6 * math.sqrt(0.75 * 0.25 / 40_000)


@pytest.mark.parametrize("name", ["vq-vae", "fsq"])
def test_codes_are_entries_of_the_table_and_the_nearest_ones(name: str, x: Tensor) -> None:
    pair = pair_of(name)
    z = trace_pair(pair, (x,)).guide.nodes["z"]["value"]
    assert torch.equal(pair.table[nearest(z, pair.table)], z)


@pytest.mark.parametrize("name", ["vq-vae", "fsq"])
def test_the_gradient_of_a_code_goes_straight_to_the_encoder(name: str, x: Tensor) -> None:
    pair = pair_of(name)
    z = poutine.trace(pair.guide).get_trace(x).nodes["z"]["value"]
    e = pair.head(pair.encoder(x))
    e = e.tanh() if name == "fsq" else e
    z, e = z.flatten(1), e.flatten(1)
    along, weight = torch.randn_like(e), next(pair.head.parameters())
    ours = torch.autograd.grad((z * along).sum(), weight)
    torch.testing.assert_close(ours, torch.autograd.grad((e * along).sum(), weight))


def test_the_penalty_moves_entries_to_the_encoder_and_it_to_them(x: Tensor) -> None:
    """|sg(e) - z|^2 + 0.25 |e - sg(z)|^2: van den Oord et al. 2017, eq. 3."""
    pair = pair_of("vq-vae")
    site = poutine.trace(pair.guide).get_trace(x).nodes["quantisation"]
    e = pair.head(pair.encoder(x)).unflatten(-1, pair.shape)
    distance = (e - pair.table[nearest(e, pair.table)]).square().sum((1, 2))
    torch.testing.assert_close(site["fn"].log_factor, 1.25 * distance)


def test_the_prior_learns_how_often_each_code_is(x: Tensor) -> None:
    """The gradient by the logits of a categorical likelihood: probabilities less shares."""
    pair = pair_of("fsq")
    index = nearest(trace_pair(pair, (x,)).guide.nodes["z"]["value"].detach(), pair.table)
    shares = torch.stack([(index == k).float().mean(0) for k in range(5)], 1)
    (gradient,) = torch.autograd.grad(ELBO().loss(pair, (x,)), pair.logits)
    torch.testing.assert_close(gradient, pair.logits.detach().softmax(-1) - shares)
