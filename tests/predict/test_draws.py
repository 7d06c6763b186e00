"""Several things that are made of one datum: draws, and a mean beside a sample."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from pyro import distributions as dist

import vaezoo as vz
from vaezoo.distributions.columns import ByColumn
from vaezoo.distributions.families import mode_of
from vaezoo.errors import RequestError

Invoke = Callable[..., Result]


@pytest.fixture(scope="module")
def run(trained: Path) -> vz.Run:
    return vz.load_run(trained)


def test_draws_of_z_differ_within_a_row_and_have_an_axis(run: vz.Run) -> None:
    data, x = vz.reconstruct(run, limit=3, z="sample", draws=5)
    assert isinstance(x, np.ndarray)
    assert isinstance(data, np.ndarray)
    assert (data.shape, x.shape) == ((3, 8, 8), (3, 5, 8, 8))
    assert len({draw.tobytes() for draw in x[0]}) == 5


def test_one_draw_is_that_of_no_draws(run: vz.Run) -> None:
    one = vz.reconstruct(run, limit=3, z="sample", seed=7, draws=1).x
    np.testing.assert_array_equal(
        np.asarray(one)[:, 0], vz.reconstruct(run, limit=3, z="sample", seed=7).x
    )


def test_both_are_a_mean_and_a_sample_at_one_z(run: vz.Run) -> None:
    x = np.asarray(vz.reconstruct(run, limit=3, x="both", draws=2).x)
    mean = np.asarray(vz.reconstruct(run, limit=3).x)
    np.testing.assert_array_equal(x[:, 0], mean)
    np.testing.assert_array_equal(x[:, 2], mean)
    assert set(np.unique(x[:, [1, 3]])) <= {0.0, run.transform.scale}


def test_draws_of_the_same_z_have_its_mean(run: vz.Run) -> None:
    """At 400 draws a mean of bits is off by at most 5 standard errors, in 1 of 10,000 tests."""
    draws = np.asarray(vz.reconstruct(run, limit=2, x="sample", draws=400).x) / run.transform.scale
    mean = np.asarray(vz.reconstruct(run, limit=2).x) / run.transform.scale
    assert np.abs(draws.mean(1) - mean).max() < 5 * 0.5 / 20


def test_the_mode_of_a_coin_is_its_likely_side(run: vz.Run) -> None:
    mean, mode = (np.asarray(vz.reconstruct(run, limit=4, x=x).x) for x in ("mean", "mode"))
    np.testing.assert_array_equal(mode > 0, mean > run.transform.scale / 2)


def test_samples_beside_their_means(run: vz.Run) -> None:
    both = np.asarray(vz.sample(run, 3, x="both"))
    np.testing.assert_array_equal(both[:, 0], vz.sample(run, 3, x="mean"))
    np.testing.assert_array_equal(both[:, 1], vz.sample(run, 3, x="sample"))


def test_a_row_of_columns_has_the_mode_of_each() -> None:
    coin, real = dist.Bernoulli(torch.tensor([[0.9]])), dist.Normal(torch.tensor([[2.0]]), 1.0)
    row = ByColumn({"coin": (torch.tensor([1]), coin), "real": (torch.tensor([0]), real)})
    assert mode_of(row).tolist() == [[2.0, 1.0]]


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"draws": 4}, "`draws=4` of a mean at the mean of q"),
        ({"draws": 4, "x": "mode"}, "`draws=4` of a mode at the mean of q"),
        ({"draws": 0, "z": "sample"}, "`draws`"),
        ({"x": "median"}, "`x` takes mean or mode or sample or both, not 'median'"),
    ],
)
def test_what_cannot_be_shown_is_refused(run: vz.Run, options: dict, line: str) -> None:
    with pytest.raises(RequestError, match=line):
        vz.reconstruct(run, limit=2, **options)


def test_a_mode_that_is_not_known_is_refused() -> None:
    mixture = dist.MixtureSameFamily(
        dist.Categorical(torch.ones(2)), dist.Normal(torch.tensor([0.0, 1.0]), 1.0)
    )
    with pytest.raises(RequestError, match="the mode of a MixtureSameFamily is not known; take"):
        mode_of(mixture)


def test_the_command_writes_draws_and_their_names(vaezoo: Invoke, run_folder: Path) -> None:
    words = ("-n", "3", "--z", "sample", "--draws", "2", "--x", "both")
    assert vaezoo("reconstruct", run_folder, *words, "-o", "x.npz").exit_code == 0
    with np.load("x.npz") as file:
        assert file["x"].shape == (3, 4, 8, 8)
        assert file["data"].shape == (3, 8, 8)
        names = ["draw 1: mean", "draw 1: sample", "draw 2: mean", "draw 2: sample"]
        assert file["columns"].tolist() == names


def test_the_commands_draw_a_picture(vaezoo: Invoke, run_folder: Path) -> None:
    done = vaezoo("reconstruct", run_folder, "-n", "3", "--z", "sample", "--draws", "30")
    assert "3 reconstructions of test rows, 30 each, z: sample, x: mean" in done.output
    assert vaezoo("sample", run_folder, "-n", "3", "--x", "both").exit_code == 0
    figures = run_folder / "figures"
    assert (figures / "reconstructions.png").is_file()
    assert (figures / "samples.png").is_file()
