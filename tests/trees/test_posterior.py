"""Draws of posterior and prior, against pairs whose posterior is known."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import xarray as xr
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import RequestError, fit, load_run
from vaezoo.data import SPLITS, Data, from_sequences
from vaezoo.data.dataset import Array
from vaezoo.data.transform import Transform
from vaezoo.exact.kalman import Moments
from vaezoo.models.lgssm import LGSSM
from vaezoo.pairs.sites import argument_names
from vaezoo.predict.encoding import encode
from vaezoo.runs import Run
from vaezoo.settings import DataSettings, Training
from vaezoo.testing.pairs import LinearPair, StatesPair
from vaezoo.trees.groups import GROUPS
from vaezoo.trees.pieces import join_trees
from vaezoo.trees.posterior import draw_posterior, plan_draws

WEIGHT = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 2.0]], dtype=torch.float64)
TRUTH = LinearPair(WEIGHT).linear
LENGTHS = (5, 2, 4, 1, 3, 5)


def rows(**arrays: Array) -> Data:
    """Six data of width 3, unless x is given, that are training, validation and test data."""
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    return Data("rows", {"x": x, **arrays}, dict.fromkeys(SPLITS, np.arange(6)))


def sequences(width: int = 2) -> Data:
    rng = np.random.default_rng(1)
    data = from_sequences([rng.normal(size=(n, width)).astype(np.float32) for n in LENGTHS])
    return Data("sequences", data.arrays, dict.fromkeys(SPLITS, np.arange(6)))


def run_of(pair: nn.Module, data: Data, **settings: Any) -> Run:
    shapes = {name: data.arrays[name].shape[1:] for name in argument_names(pair)}
    transform = Transform(**settings)
    return Run(pair, "pair", {}, DataSettings(name="x"), Training(), transform, shapes)


def linear() -> tuple[Run, Data]:
    return run_of(LinearPair(WEIGHT), rows()), rows()


def kalman() -> tuple[Run, Data]:
    torch.manual_seed(0)
    return run_of(LGSSM(x_shape=(2,), z_dim=1), sequences()), sequences()


def states() -> tuple[Run, Data]:
    data = rows(x=np.array([-1, 0, 1, 2, 3, 5], dtype=np.float32)[:, None])
    return run_of(StatesPair(strength=0.0), data), data


CASES = {"linear": linear, "kalman": kalman, "states": states}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest) -> tuple[Run, Data]:
    return request.param()


def by_datum(values: xr.DataArray) -> Tensor:
    """Draws first, then data: ``(S, N, ...)``, in float64."""
    return torch.from_numpy(values.values.astype(np.float64)).flatten(0, 1)


# The numbers


def test_log_weight_is_the_difference_of_the_densities(case: tuple[Run, Data]) -> None:
    stats = draw_posterior(*case, num_samples=40)["sample_stats"].to_dataset()
    assert stats["log_weight"].identical((stats["lp"] - stats["log_q"]).rename("log_weight"))


def test_joint_density_is_likelihood_and_prior(case: tuple[Run, Data]) -> None:
    tree = draw_posterior(*case, num_samples=40, groups="all")
    parts = [
        tree[name].to_dataset().to_array().sum("variable")
        for name in ("log_likelihood", "log_prior")
    ]
    np.testing.assert_allclose(sum(parts), tree["sample_stats"]["lp"], rtol=1e-5)


def test_weights_of_an_exact_guide_are_the_evidence() -> None:
    run, data = linear()
    weights = draw_posterior(run, data, num_samples=40)["sample_stats"]["log_weight"]
    truth = TRUTH.log_prob(torch.from_numpy(data.x).double())
    np.testing.assert_allclose(by_datum(weights), truth.expand(40, 6), atol=1e-4)


def test_draws_have_the_moments_of_the_posterior() -> None:
    """Five standard errors of 12 means, 12 deviations: fails once in 70000 runs."""
    run, data = linear()
    z = by_datum(draw_posterior(run, data, num_samples=4000)["posterior"]["z"])
    mean, covariance = TRUTH.posterior(torch.from_numpy(data.x).double())
    sd = covariance.diagonal().sqrt()
    assert float(((z.mean(0) - mean) / sd).abs().max()) < 5 / math.sqrt(4000)
    assert float((z.std(0) / sd - 1).abs().max()) < 5 / math.sqrt(8000)


def test_predictions_have_the_moments_of_the_posterior() -> None:
    """Five standard errors of 18 means: fails once in 90000 runs."""
    run, data = linear()
    x = by_datum(
        draw_posterior(run, data, num_samples=4000, groups="all")["posterior_predictive"]["x"]
    )
    mean, covariance = TRUTH.posterior(torch.from_numpy(data.x).double())
    variance = (WEIGHT @ covariance @ WEIGHT.T).diagonal() + TRUTH.sigma**2
    error = (x.mean(0) - mean @ WEIGHT.T) / (variance / 4000).sqrt()
    assert float(error.abs().max()) < 5


def test_weighted_draws_have_the_moments_of_the_smoother() -> None:
    """The guide is not the posterior; five standard errors of 26 numbers: fails once in 65000."""
    run, data = kalman()
    tree = draw_posterior(run, data, num_samples=20000)
    log_weight = by_datum(tree["sample_stats"]["log_weight"])
    z = by_datum(tree["posterior"]["z"])[..., 0]
    log_evidence, truth = smoothed(run, data)
    ratio = (log_weight - log_evidence).exp()
    assert float(((ratio.mean(0) - 1) / ratio.std(0)).abs().max()) < 5 / math.sqrt(20000)
    away = ratio[..., None] * (z - truth.mean[..., 0])
    error = away.mean(0) / away.std(0) * math.sqrt(20000)
    assert float(error.nan_to_num().abs().max()) < 5
    assert torch.equal(error.isnan(), truth.mean[..., 0].isnan())


def smoothed(run: Run, data: Data) -> tuple[Tensor, Moments]:
    """log p(x) and the moments of the latents, exactly."""
    model = run.pair.exact()
    args = (torch.from_numpy(data.x), torch.from_numpy(data.arrays["length"]))
    return model.log_evidence(*args), model.smoothed(*args)


def test_weights_of_discrete_latents_average_to_the_evidence() -> None:
    """Five standard errors, 6 numbers: fails once in 290000 runs."""
    run, data = states()
    tree = draw_posterior(run, data, num_samples=4000)
    weight = by_datum(tree["sample_stats"]["log_weight"]).exp()
    x, k = torch.from_numpy(data.x).double(), torch.arange(3)
    exact = (dist.Normal(2.0 * k, 1.0).log_prob(x).exp() * torch.tensor([0.2, 0.3, 0.5])).sum(1)
    assert float(((weight.mean(0) - exact) / weight.std(0)).abs().max()) < 5 / math.sqrt(4000)
    assert set(np.unique(tree["posterior"]["k"])) == {0, 1, 2}


def test_prior_has_the_moments_of_the_prior() -> None:
    """Five standard errors, 2 means and 3 variances: fails once in 350000 runs."""
    run, data = linear()
    tree = draw_posterior(run, data, num_samples=4000, groups=["prior", "prior_predictive"])
    z, x = by_datum(tree["prior"]["z"]), by_datum(tree["prior_predictive"]["x"])
    variance = (WEIGHT @ WEIGHT.T).diagonal() + TRUTH.sigma**2
    assert float(z.mean(0).abs().max()) < 5 / math.sqrt(4000)
    assert float((x.var(0) / variance - 1).abs().max()) < 5 * math.sqrt(2 / 4000)


def test_guide_holds_its_moments() -> None:
    run, data = linear()
    guide = draw_posterior(run, data, num_samples=4)["guide"]
    mean, covariance = TRUTH.posterior(torch.from_numpy(data.x).double())
    np.testing.assert_allclose(guide["z_mean"], mean, atol=1e-6)
    np.testing.assert_allclose(guide["z_sd"][0], covariance.diagonal().sqrt(), atol=1e-6)


def test_guide_of_categories_has_no_moments() -> None:
    assert list(draw_posterior(*states(), num_samples=4)["guide"].data_vars) == ["elbo"]


def test_elbo_is_the_mean_of_the_weights(case: tuple[Run, Data]) -> None:
    tree = draw_posterior(*case, num_samples=40)
    mean = tree["sample_stats"]["log_weight"].mean(("chain", "draw"))
    np.testing.assert_allclose(tree["guide"]["elbo"], mean, rtol=1e-6)


# Seeds


@pytest.mark.parametrize("group", GROUPS)
def test_draws_do_not_depend_on_the_groups(case: tuple[Run, Data], group: str) -> None:
    alone = draw_posterior(*case, num_samples=40, groups=group)
    among = draw_posterior(*case, num_samples=40, groups="all")
    assert alone[group].to_dataset().identical(among[group].to_dataset())


@pytest.mark.parametrize("group", ["posterior", "posterior_predictive", "prior_predictive"])
def test_other_seeds_give_other_draws(case: tuple[Run, Data], group: str) -> None:
    one, two = (draw_posterior(*case, num_samples=40, groups=group, seed=seed) for seed in (0, 1))
    assert not one[group].to_dataset().equals(two[group].to_dataset())


def test_prior_and_posterior_share_no_random_numbers() -> None:
    tree = draw_posterior(*linear(), num_samples=400, groups="all")
    z, prior = by_datum(tree["posterior"]["z"])[:, 0], by_datum(tree["prior"]["z"])
    standard = (z - z.mean(0)) / z.std(0)
    assert float((standard * prior).mean(0).abs().max()) < 5 / math.sqrt(400)


def test_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    draw_posterior(*linear(), num_samples=40, groups="all")
    assert torch.equal(torch.get_rng_state(), before)


# Pieces and sizes


def test_pieces_follow_each_other(trained: Path) -> None:
    """180 rows of 2000 draws are made in two pieces; all are in the tree, in order."""
    run = load_run(trained)
    draws = plan_draws(run, limit=None, num_samples=2000, groups="all")
    pieces = list(draws.pieces())
    assert len(pieces) == 2
    tree, codes = join_trees(pieces), encode(run)
    np.testing.assert_array_equal(tree["posterior"]["datum"], np.arange(180))
    np.testing.assert_array_equal(tree["constant_data"]["row"], run.batches().data.rows("test"))
    np.testing.assert_array_equal(tree["constant_data"]["label"], codes["label"])
    np.testing.assert_allclose(tree["guide"]["z_mean"], codes["z"], atol=1e-6)
    z = tree["posterior"]["z"]
    error = (z.mean(("chain", "draw")) - tree["guide"]["z_mean"]) / tree["guide"]["z_sd"]
    assert float(abs(error).max()) < 6 / math.sqrt(2000)  # 360 means: fails once in a million runs


def test_what_has_no_data_is_in_the_first_piece(trained: Path) -> None:
    pieces = list(plan_draws(load_run(trained), num_samples=2000, groups="all").pieces())
    assert ["prior" in piece.children for piece in pieces] == [True] + [False] * (len(pieces) - 1)


@pytest.mark.parametrize("groups", ["all", ("posterior",), ("constant_data", "prior")])
def test_size_is_known_before(case: tuple[Run, Data], groups: Any) -> None:
    estimate = plan_draws(*case, num_samples=400, groups=groups).estimate_size()
    tree = draw_posterior(*case, num_samples=400, groups=groups)
    made = sum(node.to_dataset().nbytes for node in tree.children.values())
    assert estimate == pytest.approx(made, rel=0.05)


def test_too_large_a_tree_is_refused_before_it_is_drawn() -> None:
    """Drawing it would take 100 GiB."""
    with pytest.raises(RequestError, match=r"6 rows are .* GiB, more than 2; .* raise `max_gib`"):
        draw_posterior(*linear(), num_samples=4 * 10**9)


# Data and runs


def test_x_is_in_units_of_the_data() -> None:
    data = rows(x=np.linspace(0, 9, 18, dtype=np.float32).reshape(6, 3))
    mean, std = np.array([1.0, 2.0, 3.0]), np.array([1.0, 0.5, 2.0])
    run = run_of(LinearPair(WEIGHT), data, scale=2.0, mean=mean, std=std)
    tree = draw_posterior(run, data, num_samples=2000, groups="all")
    np.testing.assert_allclose(tree["observed_data"]["x"], data.x, atol=1e-5)
    np.testing.assert_array_equal(tree["constant_data"]["x_mean"], mean)
    prior = tree["prior_predictive"]["x"].mean(("chain", "draw"))
    np.testing.assert_allclose(prior, 2 * mean, atol=5 * 2 * 2 * 2.1 / math.sqrt(2000))


def test_draws_of_a_trained_run(trained: Path) -> None:
    tree = draw_posterior(load_run(trained), limit=4, num_samples=8, groups="all")
    assert tuple(tree.children) == GROUPS
    assert set(np.unique(tree["posterior_predictive"]["x"])) <= {0.0, 16.0}


@pytest.mark.parametrize("name", ["vrnn", "dmm", "storn"])
def test_draws_of_trained_sequences(name: str) -> None:
    config = {"z_dim": 2, "hidden": 4, "likelihood": {"name": "gaussian"}}
    run = fit(name, sequences(), config=config, training={"steps": 1})
    tree = draw_posterior(run, sequences(), num_samples=8, groups="all")
    assert tuple(tree.children) == GROUPS
    assert bool(tree["sample_stats"]["log_weight"].notnull().all())
