"""What draws are called, those of sequences and conditional pairs, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import xarray as xr
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import RequestError, fit, load_run
from vaezoo.data import SPLITS, Data, from_sequences
from vaezoo.data.dataset import Array
from vaezoo.data.transform import Transform
from vaezoo.models.lgssm import LGSSM
from vaezoo.models.vae_linear import VAELinear
from vaezoo.pairs.sites import argument_names
from vaezoo.runs import Run
from vaezoo.settings import DataSettings, Training
from vaezoo.trees.pieces import join_trees
from vaezoo.trees.posterior import draw_posterior, plan_draws

LENGTHS = (5, 2, 4, 1, 3, 5)


class Autoencoder(VAELinear):
    """Its guide has one value for each datum."""

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(x[:, :2]).to_event(1))


class Conditional(nn.Module):
    """Latents of two widths, x given them and a label, and a score that is observed too."""

    def model(self, x: Tensor, label: Tensor, score: Tensor) -> None:
        with pyro.plate("data", len(x)):
            u = pyro.sample("u", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            v = pyro.sample("v", dist.Normal(x.new_zeros(3), 1.0).to_event(1))
            loc = u.sum(-1, keepdim=True) + v + label[:, None]
            pyro.sample("score", dist.Normal(u[:, 0], 1.0), obs=score)
            pyro.sample("x", dist.Normal(loc, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor, label: Tensor, score: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("u", dist.Normal(x[:, :2], 1.0).to_event(1))
            pyro.sample("v", dist.Normal(x, 1.0).to_event(1))


class Misnamed(nn.Module):
    """A site that is called as a dimension is."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("latent", dist.Normal(x.new_zeros(3), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z, 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("latent", dist.Normal(x, 1.0).to_event(1))


def rows(**arrays: Array) -> Data:
    """Six data of width 3 that are training, validation and test data."""
    x = np.random.default_rng(0).normal(size=(6, 3)).astype(np.float32)
    columns = ("a", "b", "c")
    return Data("rows", {"x": x, **arrays}, dict.fromkeys(SPLITS, np.arange(6)), columns=columns)


def run_of(pair: nn.Module, data: Data) -> Run:
    shapes = {name: data.arrays[name].shape[1:] for name in argument_names(pair)}
    info = {"values": {"label": [0, 1], "score": [0]}, "columns": list(data.columns)}
    settings = (DataSettings(name="x"), Training(), Transform())
    return Run(pair, "pair", {}, *settings, shapes, info=info)


def linear() -> tuple[Run, Data]:
    return run_of(VAELinear(x_shape=(3,), z_dim=2), rows()), rows()


def conditional() -> tuple[Run, Data]:
    data = rows(label=np.arange(6) % 2, score=np.linspace(0, 3, 6), weight=np.linspace(0, 1, 6))
    return run_of(Conditional(), data), data


def kalman() -> tuple[Run, Data]:
    rng = np.random.default_rng(1)
    data = from_sequences([rng.normal(size=(n, 2)).astype(np.float32) for n in LENGTHS])
    data = Data("sequences", data.arrays, dict.fromkeys(SPLITS, np.arange(6)))
    return run_of(LGSSM(x_shape=(2,), z_dim=1), data), data


def sizes(values: xr.DataArray) -> dict[str, int]:
    return {str(dim): size for dim, size in values.sizes.items()}


def test_dimensions_of_vectors() -> None:
    tree = draw_posterior(*linear(), num_samples=8, groups="all")
    draws = {"chain": 4, "draw": 2}
    assert sizes(tree["posterior"]["z"]) == {**draws, "datum": 6, "latent": 2}
    assert sizes(tree["posterior_predictive"]["x"]) == {**draws, "datum": 6, "element": 3}
    assert sizes(tree["sample_stats"]["lp"]) == {**draws, "datum": 6}
    assert sizes(tree["prior"]["z"]) == {**draws, "latent": 2}
    assert sizes(tree["guide"]["z_mean"]) == {"datum": 6, "latent": 2}


def test_dimensions_of_images(trained: Path) -> None:
    tree = draw_posterior(load_run(trained), limit=3, num_samples=8, groups="all")
    assert sizes(tree["observed_data"]["x"]) == {"datum": 3, "height": 8, "width": 8}
    draws = {"chain": 4, "draw": 2}
    assert sizes(tree["prior_predictive"]["x"]) == {**draws, "height": 8, "width": 8}


def test_dimensions_of_sequences() -> None:
    tree = draw_posterior(*kalman(), num_samples=8, groups="all")
    draws = {"chain": 4, "draw": 2}
    assert sizes(tree["posterior"]["z"]) == {**draws, "datum": 6, "time": 5, "latent": 1}
    assert sizes(tree["prior_predictive"]["x"]) == {**draws, "time": 5, "element": 2}
    assert sizes(tree["log_prior"]["z"]) == {**draws, "datum": 6}


def test_latents_of_two_widths_and_further_arguments() -> None:
    tree = draw_posterior(*conditional(), num_samples=8, groups="all")
    draws = {"chain": 4, "draw": 2, "datum": 6}
    assert sizes(tree["posterior"]["u"]) == {**draws, "u_latent": 2}
    assert sizes(tree["posterior"]["v"]) == {**draws, "v_latent": 3}
    assert set(tree["log_likelihood"].data_vars) == {"x", "score"}
    assert set(tree["observed_data"].data_vars) == {"x", "score"}
    assert set(tree["posterior_predictive"].data_vars) == {"x", "score"}
    assert set(tree["prior_predictive"].data_vars) == {"x", "score", "label"}
    assert tree["constant_data"]["label"].values.tolist() == [0, 1, 0, 1, 0, 1]
    assert "weight" in tree["constant_data"]


def test_columns_name_the_elements() -> None:
    tree = draw_posterior(*linear(), num_samples=4)
    assert tree["observed_data"]["element"].values.tolist() == ["a", "b", "c"]


def test_padding_is_missing() -> None:
    run, data = kalman()
    tree = draw_posterior(run, data, num_samples=8, groups="all")
    is_frame = np.arange(5) < np.array(LENGTHS)[:, None]
    constant = tree["constant_data"]
    np.testing.assert_array_equal(constant["mask"], is_frame)
    assert constant["length"].values.tolist() == list(LENGTHS)
    for group, name in (("posterior", "z"), ("posterior_predictive", "x"), ("guide", "z_mean")):
        there = tree[group][name].notnull().transpose(..., "datum", "time").values
        assert np.array_equal(there, np.broadcast_to(is_frame, there.shape)), group
    x = tree["observed_data"]["x"].values
    np.testing.assert_allclose(x[is_frame], data.x[is_frame], rtol=1e-6)
    assert np.isnan(x[~is_frame]).all()
    assert bool(tree["sample_stats"]["lp"].notnull().all())


def test_pieces_of_sequences_have_one_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row is a piece of its own, and shorter than the longest."""
    run, data = kalman()
    whole = draw_posterior(run, data, num_samples=8)
    monkeypatch.setattr("vaezoo.trees.drawing._PIECE", 1)
    pieces = list(plan_draws(run, data, num_samples=8).pieces())
    assert [piece["posterior"].sizes["time"] for piece in pieces] == [5] * 6
    for group in ("guide", "observed_data", "constant_data"):
        joined = join_trees(pieces)[group].to_dataset().drop_vars("elbo", errors="ignore")
        xr.testing.assert_allclose(joined, whole[group].to_dataset()[list(joined)])


def test_attributes_say_where_the_draws_come_from() -> None:
    attributes = draw_posterior(*linear(), num_samples=4, seed=3).attrs
    assert (attributes["approximation"], attributes["r_hat_is_meaningful"]) == ("guide", 0)
    assert (attributes["data"], attributes["split"], attributes["seed"]) == ("rows", "test", 3)


def test_densities_of_a_conditional_pair() -> None:
    tree = draw_posterior(*conditional(), num_samples=40, groups="all")
    stats = tree["sample_stats"].to_dataset()
    densities = (tree["log_likelihood"].to_dataset(), tree["log_prior"].to_dataset())
    total = sum(group.to_array().sum("variable") for group in densities)
    np.testing.assert_allclose(total, stats["lp"], rtol=1e-5)
    np.testing.assert_array_equal(stats["log_weight"], stats["lp"] - stats["log_q"])


@pytest.mark.parametrize("group", ["posterior", "prior_predictive", "posterior_predictive"])
def test_draws_of_a_conditional_pair_do_not_depend_on_the_groups(group: str) -> None:
    alone, among = (
        draw_posterior(*conditional(), num_samples=40, groups=g) for g in (group, "all")
    )
    assert alone[group].to_dataset().identical(among[group].to_dataset())


# What is refused


def test_autoencoder_is_refused() -> None:
    with pytest.raises(RequestError, match="gives site 'z' one value, as an autoencoder does"):
        draw_posterior(run_of(Autoencoder(x_shape=(3,), z_dim=2), rows()), rows())


def test_pair_without_latents_is_refused() -> None:
    run = fit("rnn", config={"hidden": 4}, training={"steps": 1})
    with pytest.raises(RequestError, match="needs latents, and RNN has none"):
        draw_posterior(run)


def test_site_with_the_name_of_a_dimension_is_refused() -> None:
    with pytest.raises(RequestError, match="'latent' is a dimension"):
        draw_posterior(run_of(Misnamed(), rows()), rows())


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"groups": "posteriors"}, "no group 'posteriors'; did you mean 'posterior'"),
        ({"groups": ["prior", "all of it"]}, "no group 'all of it'"),
        ({"groups": []}, "no groups; choose from: posterior, .*, all"),
        ({"num_samples": 6}, "takes a multiple of 4"),
        ({"num_samples": 0}, "takes a multiple of 4"),
        ({"limit": 0}, "at least one row"),
        ({"split": "tests"}, "no split 'tests'; did you mean 'test'"),
        ({"max_gib": 1e-6}, "GiB, more than 1e-06"),
    ],
)
def test_wrong_requests_are_one_line(settings: dict[str, Any], says: str) -> None:
    with pytest.raises(RequestError, match=says) as caught:
        draw_posterior(*linear(), **settings)
    assert "\n" not in str(caught.value)
