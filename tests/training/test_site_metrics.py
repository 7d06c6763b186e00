"""Several observed sites: each has numbers of its own, and unlike ones are not added up."""

import math

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.data.transform import Transform
from vaezoo.observations.missing import with_missing
from vaezoo.pairs.lengths import frame_mask
from vaezoo.training.metrics import Metrics, measure

BITS = math.log(2)


class Table(nn.Module):
    """x[:, :2] ~ N(0, 1), x[:, 2] ~ Bernoulli(1/4), w ~ N(0, 1): nothing depends on z."""

    def model(self, x: Tensor, w: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            reals = dist.Normal(torch.zeros(2), 1.0).to_event(1)
            pyro.sample("reals", reals, obs=x[:, :2])
            pyro.sample("bit", dist.Bernoulli(torch.tensor([0.25])).to_event(1), obs=x[:, 2:])
            pyro.sample("w", dist.Normal(x.new_zeros(()), 1.0), obs=w)

    def guide(self, x: Tensor, w: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))


class Views(Table):
    """x ~ N(0, 1) and w ~ N(0, 1)."""

    def model(self, x: Tensor, w: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(torch.zeros_like(x), 1.0).to_event(1), obs=x)
            pyro.sample("w", dist.Normal(x.new_zeros(()), 1.0), obs=w)


def rows() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    reals = torch.randn(50, 2, generator=generator)
    bit = (torch.rand(50, 1, generator=generator) < 0.25).float()
    return torch.cat([reals, bit], 1), torch.randn(50, generator=generator)


def measured(pair: nn.Module, transform: Transform | None = None) -> Metrics:
    return measure(pair, [rows()], transform or Transform())


def test_each_site_has_its_own_bits_per_dim() -> None:
    """By hand, from the densities of each."""
    x, w = rows()
    sites = measured(Table()).sites
    reals = dist.Normal(0.0, 1.0).log_prob(x[:, :2])
    bit = dist.Bernoulli(torch.tensor(0.25)).log_prob(x[:, 2])
    by_hand = {"reals": reals, "bit": bit, "w": dist.Normal(0.0, 1.0).log_prob(w)}
    for name, values in by_hand.items():
        assert sites[name].bits_per_dim == pytest.approx(-float(values.mean()) / BITS, rel=1e-5)
        assert sites[name].recon == pytest.approx(float(values.sum()) / 50, rel=1e-5)
    assert [site.num_elements for site in sites.values()] == [2, 1, 1]
    assert [site.is_discrete for site in sites.values()] == [False, True, False]


def test_the_reconstruction_is_the_sum_over_sites() -> None:
    metrics = measured(Table())
    assert metrics.recon == pytest.approx(sum(site.recon for site in metrics.sites.values()))


def test_no_number_is_of_probabilities_and_densities_together() -> None:
    assert measured(Table()).bits_per_dim is None
    assert "bits_per_dim" not in measured(Table()).to_dict()
    assert measured(Views()).bits_per_dim is not None


def test_bits_per_dim_are_in_units_of_the_data() -> None:
    """x is divided by 10 and its elements by 1, 2, 4: w is not."""
    std = np.array([1.0, 2.0, 4.0])
    plain = measured(Views())
    scaled = measured(Views(), Transform(scale=10.0, mean=np.zeros(3), std=std))
    volume = (3 * math.log(10) + math.log(8)) / BITS
    more = {n: scaled.sites[n].bits_per_dim - site.bits_per_dim for n, site in plain.sites.items()}
    assert more == pytest.approx({"x": volume / 3, "w": 0.0})
    assert scaled.bits_per_dim is not None
    assert scaled.bits_per_dim == pytest.approx((plain.bits_per_dim or 0.0) + volume / 4, rel=1e-3)


def test_entries_that_are_missing_are_no_dims() -> None:
    x, w = rows()
    x[:25, 0] = torch.nan
    metrics = measure(with_missing(Table(), (x, w)), [(x, w)], Transform())
    site, there = metrics.sites["reals"], x[:, :2][~x[:, :2].isnan()]
    assert site.num_elements == 1.5
    by_hand = -float(dist.Normal(0.0, 1.0).log_prob(there).mean()) / BITS
    assert site.bits_per_dim == pytest.approx(by_hand, rel=1e-5)


class Frames(nn.Module):
    """x_t ~ N(0, 1) and w_t ~ N(0, 1), of sequences."""

    def model(self, x: Tensor, length: Tensor, w: Tensor) -> None:
        mask = frame_mask(length, x.shape[1])
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                fn = dist.Normal(torch.zeros_like(x[:, t]), 1.0).to_event(1)
                pyro.sample(f"x_{t}", fn.mask(mask[:, t]), obs=x[:, t])
                fn = dist.Normal(x.new_zeros(()), 1.0)
                pyro.sample(f"w_{t}", fn.expand([len(x)]).mask(mask[:, t]), obs=w[:, t])

    def guide(self, x: Tensor, length: Tensor, w: Tensor) -> None:
        pass


def test_padding_is_no_dim() -> None:
    x, w, length = torch.randn(6, 5, 2), torch.randn(6, 5), torch.tensor([5, 3, 1, 4, 2, 5])
    metrics = measure(Frames(), [(x, length, w)], Transform())
    there = frame_mask(length, 5)
    for name, values in {"x": x[there], "w": w[there]}.items():
        by_hand = -float(dist.Normal(0.0, 1.0).log_prob(values).mean()) / BITS
        assert metrics.sites[name].bits_per_dim == pytest.approx(by_hand, rel=1e-5)


def test_one_site_has_the_numbers_of_all() -> None:
    class One(Views):
        def model(self, x: Tensor, w: Tensor) -> None:
            with pyro.plate("data", len(x)):
                pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
                pyro.sample("x", dist.Normal(torch.zeros_like(x), 1.0).to_event(1), obs=x)

    metrics = measured(One())
    assert not metrics.sites
    assert "sites" not in metrics.to_dict()
