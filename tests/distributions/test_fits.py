"""Families fitted to data, against closed forms and against what they were drawn from."""

import math

import pytest
import torch
from torch import Tensor
from torch import distributions as dist

from vaezoo.distributions.fits import FAMILIES, Moments, fit_mixture
from vaezoo.distributions.levels import DiscretizedLogistic
from vaezoo.distributions.unit import ContinuousBernoulli

N = 20_000

DRAWN = {
    "bernoulli": dist.Bernoulli(torch.tensor([0.2, 0.9])),
    "binomial": dist.Binomial(12, torch.tensor([0.2, 0.7])),
    "poisson": dist.Poisson(torch.tensor([0.5, 6.0])),
    "negative-binomial": dist.NegativeBinomial(torch.tensor([2.0, 5.0]), torch.tensor([0.5, 0.3])),
    "continuous-bernoulli": ContinuousBernoulli(torch.tensor([-3.0, 0.5])),
    "discretized-logistic": DiscretizedLogistic(
        torch.tensor([90.0, 120.0]), torch.tensor([4.0, 9.0]), 256
    ),
    "laplace": dist.Laplace(torch.tensor([-3.0, 100.0]), torch.tensor([0.1, 7.0])),
    "student-t": dist.StudentT(5.0, torch.tensor([-3.0, 100.0]), torch.tensor([0.1, 7.0])),
    "gaussian": dist.Normal(torch.tensor([-3.0, 100.0]), torch.tensor([0.1, 7.0])),
    "log-normal": dist.LogNormal(torch.tensor([0.0, 2.0]), torch.tensor([0.5, 1.0])),
    "gamma": dist.Gamma(torch.tensor([0.5, 4.0]), torch.tensor([1.0, 0.1])),
    "beta": dist.Beta(torch.tensor([2.0, 0.8]), torch.tensor([3.0, 1.5])),
}

LEVELS = {"categorical", "binomial", "discretized-logistic"}
REALS = {"gaussian", "laplace", "student-t"}


@pytest.mark.parametrize("name", DRAWN)
def test_a_family_recovers_what_it_was_drawn_from(name: str) -> None:
    """Parameters of 2 in 20,000 rows cost 1e-4 nats; by moments somewhat more."""
    torch.manual_seed(0)
    train, held_out = (DRAWN[name].sample(torch.Size([N])) for _ in range(2))
    exact = DRAWN[name].log_prob(held_out).double().sum(-1).mean()
    assert FAMILIES[name].explains(train.flatten())
    nats = fit_mixture(FAMILIES[name], train.double())(held_out.double()).mean()
    assert float(nats) == pytest.approx(float(exact), abs=0.01)


def test_levels_have_their_frequencies() -> None:
    x = torch.tensor([[3.0], [3.0], [5.0], [4.0]]).double().repeat(1000, 1)
    log_prob = fit_mixture(FAMILIES["categorical"], x)(torch.tensor([[3.0], [5.0]]).double())
    expected = torch.tensor([0.5, 0.25]).log().double()
    torch.testing.assert_close(log_prob, expected, atol=1e-3, rtol=0)


def test_a_level_that_was_never_there_is_impossible_beyond_the_range() -> None:
    x = torch.tensor([[0.0], [2.0]]).double()
    log_prob = fit_mixture(FAMILIES["categorical"], x)(torch.tensor([[1.0], [7.0]]).double())
    assert log_prob.isfinite().tolist() == [True, False]


def test_a_mixture_finds_two_groups() -> None:
    torch.manual_seed(0)
    near, far = torch.randn(500, 3).double(), 10 + torch.randn(500, 3).double()
    x = torch.cat([near, far])
    whole, one = (fit_mixture(FAMILIES["gaussian"], x, k)(x).mean() for k in (2, 1))
    of_each = [fit_mixture(FAMILIES["gaussian"], part)(part).mean() for part in (near, far)]
    exact = sum(of_each) / 2 - math.log(2)
    assert float(whole) == pytest.approx(float(exact), abs=0.01)
    assert whole > one + 3


def test_missing_entries_count_nowhere() -> None:
    torch.manual_seed(0)
    x = torch.randn(400, 2).double()
    gaps = torch.cat([x, torch.full((400, 2), torch.nan).double()])
    whole, with_gaps = (fit_mixture(FAMILIES["gaussian"], rows)(x).mean() for rows in (x, gaps))
    assert float(whole) == pytest.approx(float(with_gaps), abs=1e-9)


@pytest.mark.parametrize(
    ("values", "names"),
    [
        ([0.0, 1.0], {"bernoulli"}),
        ([0.0, 1.0, 7.0], LEVELS | {"poisson", "negative-binomial"}),
        ([-2.0, 3.0], {"categorical"}),
        ([0.0, 100_000.0], {"poisson", "negative-binomial"}),
        ([0.25, 0.5], REALS | {"log-normal", "gamma", "beta", "continuous-bernoulli"}),
        ([0.0, 0.5], REALS | {"continuous-bernoulli"}),
        ([-0.5, 2.0], REALS),
        ([0.5, 2.0], REALS | {"log-normal", "gamma"}),
    ],
)
def test_support_decides_which_families_are_compared(values: list[float], names: set[str]) -> None:
    x = torch.tensor(values)
    assert {name for name, family in FAMILIES.items() if family.explains(x)} == names


def test_moments_of_pieces_are_those_of_the_whole() -> None:
    torch.manual_seed(0)
    x: Tensor = 1e6 + torch.randn(300, 4).double()
    pieces = Moments()
    for piece in x.split(70):
        pieces.add(piece)
    torch.testing.assert_close(pieces.mean, x.mean(0), rtol=1e-12, atol=0)
    torch.testing.assert_close(pieces.variance, x.var(0, correction=0), rtol=1e-9, atol=0)
