"""In which units and of which kind the numbers of a tree are."""

from typing import Any

import numpy as np
import pyro
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import to_arviz
from vaezoo.data import SPLITS, Data
from vaezoo.data.dataset import Array
from vaezoo.data.transform import Transform
from vaezoo.runs import Run
from vaezoo.settings import DataSettings, Training
from vaezoo.testing.pairs import LinearPair
from vaezoo.trees.posterior import draw_posterior

WEIGHT = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0]], dtype=torch.float64)


class Counts(nn.Module):
    """Counts of a rate that follows a latent."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            rate = z.exp().expand(-1, x.shape[1])
            pyro.sample("x", dist.Poisson(rate, is_sparse=False).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))


def run_of(pair: nn.Module, x: Array, transform: Transform = Transform()) -> tuple[Run, Data]:  # noqa: B008
    data = Data("rows", {"x": x}, dict.fromkeys(SPLITS, np.arange(len(x))))
    shapes = {"x": x.shape[1:]}
    return Run(pair, "pair", {}, DataSettings(name="x"), Training(), transform, shapes), data


def draws(pair: nn.Module, x: Array, **transform: Any) -> Any:
    run, data = run_of(pair, x, Transform(**transform))
    return draw_posterior(run, data, num_samples=8, groups="all")


def real() -> Array:
    return np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)


def test_counts_are_whole_numbers() -> None:
    x = np.random.default_rng(0).poisson(2.0, (6, 3))
    for stored in (x, x.astype(np.float32)):
        tree = draws(Counts(), stored)
        assert np.array_equal(tree["observed_data"]["x"], x)
        for group in ("observed_data", "prior_predictive", "posterior_predictive"):
            assert tree[group]["x"].dtype.kind == "i"


def test_grey_levels_are_whole_numbers_and_predictions_of_a_density_are_none() -> None:
    x = np.arange(18, dtype=np.uint8).reshape(6, 3)
    tree = draws(LinearPair(WEIGHT), x, mean=np.full(3, 8.0), std=np.full(3, 3.3))
    assert tree["observed_data"]["x"].dtype.kind == "i"
    assert np.array_equal(tree["observed_data"]["x"], x)
    assert tree["posterior_predictive"]["x"].dtype.kind == "f"


def test_reals_are_left_as_they_are() -> None:
    assert draws(LinearPair(WEIGHT), np.round(real()))["observed_data"]["x"].dtype.kind == "f"


def test_densities_less_their_volume_are_those_of_the_data() -> None:
    x, mean, std, scale = real(), np.array([1.0, 0.0, -2.0]), np.array([0.5, 2.0, 3.0]), 4.0
    tree = draws(LinearPair(WEIGHT), x, mean=mean, std=std, scale=scale)
    stretch = torch.diag(torch.from_numpy(scale * std))
    seen = WEIGHT @ WEIGHT.T + LinearPair(WEIGHT).linear.sigma ** 2 * torch.eye(3).double()
    covariance = stretch @ seen @ stretch
    truth = dist.MultivariateNormal(torch.from_numpy(scale * mean), covariance)
    evidence = tree["sample_stats"]["log_weight"] - tree["constant_data"]["log_volume"]
    expected = truth.log_prob(torch.from_numpy(x).double()).expand(4, 2, 6)
    np.testing.assert_allclose(evidence, expected, atol=1e-3)


def test_what_is_not_scaled_has_no_volume() -> None:
    assert "log_volume" not in draws(LinearPair(WEIGHT), real())["constant_data"]


def test_likelihood_says_what_loo_would_mean_and_has_to_be_asked_for() -> None:
    run, data = run_of(LinearPair(WEIGHT), real())
    assert "log_likelihood" not in draw_posterior(run, data, num_samples=4).children
    tree = draw_posterior(run, data, num_samples=4, groups="all")
    assert "predicted from itself" in to_arviz(tree)["log_likelihood"].attrs["loo"]


def test_attributes_are_kept() -> None:
    run, data = run_of(LinearPair(WEIGHT), real())
    tree = draw_posterior(run, data, num_samples=4)
    assert dict(to_arviz(tree).attrs) == dict(tree.attrs)
