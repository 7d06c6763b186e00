"""The score of independent elements, against closed forms."""

import math

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.observations.floors import independent_elements
from vaezoo.sequences import PathPair
from vaezoo.testing.pairs import GammaPoisson, LinearPair, NoLatents
from vaezoo.testing.sequence_pairs import LinearRecurrence


def test_of_a_bernoulli_is_minus_its_entropy() -> None:
    class Bits(nn.Module):
        def model(self, x: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("x", dist.Bernoulli(torch.full_like(x, 0.9)).to_event(1), obs=x)

        def guide(self, x: Tensor) -> None: ...

    x = (torch.arange(4000).reshape(-1, 1) % 4 == 0).float().expand(4000, 3)
    entropy = -(0.25 * math.log(0.25) + 0.75 * math.log(0.75))
    floor = independent_elements(Bits(), [(x,)], [(x,)])
    assert floor == pytest.approx(-3 * entropy, abs=1e-3)


def test_of_a_gaussian_is_its_density_at_mean_and_deviation() -> None:
    x = torch.randn(500, 4) * torch.tensor([0.1, 1.0, 3.0, 10.0]) + 5.0
    exact = dist.Normal(x.mean(0), x.std(0, correction=0)).log_prob(x).sum(1).mean()
    assert independent_elements(LinearPair(), [(x,)], [(x,)]) == pytest.approx(float(exact))


def test_of_counts_is_a_poisson_of_their_mean() -> None:
    x = torch.poisson(torch.full((2000,), 3.0))
    exact = dist.Poisson(x.mean()).log_prob(x).mean()
    assert independent_elements(GammaPoisson(), [(x,)], [(x,)]) == pytest.approx(
        float(exact), abs=1e-4
    )


def test_missing_entries_count_on_neither_side() -> None:
    x = torch.randn(200, 4)
    x[::3, 1] = torch.nan
    whole = [x[~x[:, d].isnan(), d] for d in range(4)]
    sums = [dist.Normal(v.mean(), v.std(correction=0)).log_prob(v).sum() for v in whole]
    floor = independent_elements(NoLatents(), [(x,)], [(x,)])
    assert floor == pytest.approx(float(sum(sums)) / 200, rel=1e-5)


def test_of_sequences_is_per_frame_and_padding_counts_for_nothing() -> None:
    x, length = torch.randn(6, 5, 1), torch.tensor([5, 1, 2, 3, 4, 5])
    frames = torch.cat([row[:n] for row, n in zip(x, length, strict=True)])
    exact = dist.Normal(frames.mean(), frames.std(correction=0)).log_prob(frames).mean()
    x[torch.arange(5) >= length[:, None]] = 99.0
    args = (x, length)
    assert independent_elements(LinearRecurrence(), [args], [args]) == pytest.approx(float(exact))


def test_the_form_that_is_trained_has_the_same_floor() -> None:
    x, length = torch.randn(6, 5, 1), torch.tensor([5, 1, 2, 3, 4, 5])
    pair = LinearRecurrence()
    floors = [
        independent_elements(form, [(x, length)], [(x, length)]) for form in (pair, PathPair(pair))
    ]
    assert floors[0] == floors[1] is not None


def test_held_out_data_do_not_enter_the_fit() -> None:
    train, held_out = torch.randn(500, 4), torch.randn(100, 4) + 3.0
    exact = dist.Normal(train.mean(0), train.std(0, correction=0)).log_prob(held_out).sum(1).mean()
    batches = [(train[:200],), (train[200:],)]
    assert independent_elements(LinearPair(), batches, [(held_out,)]) == pytest.approx(float(exact))


class Plain(nn.Module):
    """Elements of one family, without latents."""

    def __init__(self, family: type) -> None:
        super().__init__()
        self.family = family

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            ones = torch.ones_like(x)
            pyro.sample("x", self.family(0 * x, ones).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None: ...


def test_a_family_without_moments_is_fitted_to_all_rows() -> None:
    train, held_out = torch.randn(501, 2), torch.randn(100, 2)
    centre = train.median(0).values
    exact = dist.Laplace(centre, (train - centre).abs().mean(0)).log_prob(held_out).sum(1).mean()
    batches = [(train[:200],), (train[200:],)]
    floor = independent_elements(Plain(dist.Laplace), batches, [(held_out,)])
    assert floor == pytest.approx(float(exact), rel=1e-4)


def test_an_unknown_family_has_no_floor() -> None:
    x = torch.randn(10, 3)
    assert independent_elements(Plain(dist.VonMises), [(x,)], [(x,)]) is None
