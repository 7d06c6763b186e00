"""A run knows its rows: splits of one's own are restored, or refused, never replaced in silence."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
from pyro import distributions as dist
from torch import Tensor, nn
from torch.nn.functional import softplus

from vaezoo import (
    RequestError,
    analyse,
    encode,
    evaluate,
    fit,
    impute,
    load_run,
    reconstruct,
    resume,
)
from vaezoo.data import Data, from_arrays, load_data, random_splits
from vaezoo.runs.info import read_info, write_info

OWN = {"train": np.arange(40), "validation": np.arange(40, 50), "test": np.arange(50, 60)}
X = np.random.default_rng(0).random((60, 4)).astype(np.float32)


def train(data: Any, out: Path | None = None) -> Any:
    return fit("vae-linear", data, config={"z_dim": 2}, training={"epochs": 1}, out=out)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file, and runs of it with splits of the user's own and at random; not to be changed."""
    home = tmp_path_factory.mktemp("rows")
    np.save(home / "x.npy", X)
    train(replace(load_data(home / "x.npy"), splits=OWN), home / "own")
    train(str(home / "x.npy"), home / "random")
    train(from_arrays(X, splits=OWN), home / "array")
    return home


@pytest.fixture
def own(home: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(home / "own", tmp_path / "own"))


def test_splits_come_back_with_the_file(home: Path) -> None:
    data = load_run(home / "own").find_data()
    assert all(np.array_equal(data.rows(name), rows) for name, rows in OWN.items())


def test_splits_come_back_when_the_file_is_named(home: Path) -> None:
    data = load_run(home / "own").find_data(str(home / "x.npy"))
    assert np.array_equal(data.rows("test"), OWN["test"])


def test_every_question_is_asked_about_the_held_out_rows(home: Path) -> None:
    run = load_run(home / "own")
    assert evaluate(run).num_rows == len(OWN["test"])
    assert np.array_equal(reconstruct(run)[0][0], X[50])
    assert len(encode(run)["z"]) == len(OWN["test"])
    assert analyse(run, level="quick").scope.total == len(OWN["test"])


def test_resumed_run_goes_on_with_its_rows(own: Path) -> None:
    assert np.array_equal(resume(own, epochs=2).find_data().rows("train"), OWN["train"])
    assert evaluate(own).num_rows == len(OWN["test"])


def test_resumed_run_takes_the_array_with_its_rows(home: Path, tmp_path: Path) -> None:
    shutil.copytree(home / "array", tmp_path / "array")
    run = resume(tmp_path / "array", epochs=2, data=X)
    assert np.array_equal(run.find_data().rows("train"), OWN["train"])


@pytest.mark.parametrize("run", ["own", "array"])
def test_rows_it_was_trained_on_are_not_held_out(home: Path, run: str) -> None:
    overlap = np.isin(random_splits(60)["validation"], OWN["train"]).sum()
    again = load_data(home / "x.npy") if run == "own" else from_arrays(X)
    words = rf"{overlap} of the 6 rows of 'validation' are rows that {run} was trained on"
    with pytest.raises(RequestError, match=words):
        evaluate(home / run, again)


def test_same_splits_in_memory_pass(home: Path) -> None:
    assert evaluate(home / "array", from_arrays(X, splits=OWN)).num_rows == len(OWN["test"])


def test_all_rows_of_an_array_are_taken(home: Path) -> None:
    assert evaluate(home / "own", X).num_rows == len(X)


def test_splits_at_random_need_no_copy(home: Path) -> None:
    assert not (home / "random/splits.safetensors").exists()
    assert evaluate(home / "random", load_data(home / "x.npy")).num_rows == 6


def test_array_of_a_run_is_asked_for_with_its_splits(home: Path) -> None:
    with pytest.raises(RequestError, match=r"from_arrays\(x, splits=...\)"):
        evaluate(home / "array")


def test_lost_splits_are_refused(own: Path) -> None:
    (own / "splits.safetensors").unlink()
    for ask in (evaluate, encode, reconstruct, resume):
        with pytest.raises(RequestError, match=r"splits\.safetensors.*put it back"):
            ask(own)


def test_splits_of_another_run_are_refused(home: Path, own: Path) -> None:
    other = {**OWN, "test": OWN["train"][:10]}
    folder = own.parent / "other"
    train(replace(load_data(home / "x.npy"), splits=other), folder)
    shutil.copy(folder / "splits.safetensors", own)
    with pytest.raises(RequestError, match=r"splits\.safetensors"):
        evaluate(own)


def test_other_rows_under_the_same_seed_are_refused(home: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(home / "random", tmp_path / "random"))
    info = read_info(folder)
    info["splits"]["test"]["sha256"] = "0" * 64
    write_info(folder, info)
    with pytest.raises(RequestError, match=r"split in another way.*test"):
        evaluate(folder)


def test_data_without_checksum_are_remembered(tmp_path: Path) -> None:
    train(Data("mine", {"x": X}, OWN), tmp_path / "run")
    with pytest.raises(RequestError, match="trained on mine"):
        resume(tmp_path / "run", epochs=2, data=Data("mine", {"x": X + 1}, OWN))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([0, 60], "row 60"),
        ([-1], "row -1"),
        ([0.5], "float64"),
        ([[0], [1, 2]], "'train'"),
        (["a"], "'train'"),
        (np.ones(59, bool), "mask of shape"),
    ],
)
def test_what_is_no_row_is_refused(rows: Any, words: str) -> None:
    with pytest.raises(RequestError, match=words):
        from_arrays(X, splits={"train": rows})
    with pytest.raises(RequestError, match=words):
        train(Data("mine", {"x": X}, {**OWN, "train": rows}))


def test_mask_of_rows_is_a_split() -> None:
    data = from_arrays(X, splits={"train": np.arange(60) < 3})
    assert data.rows("train").tolist() == [0, 1, 2]


def test_rows_to_fill_in_are_those_that_were_held_out(home: Path) -> None:
    imputation = impute(home / "own", fraction=0.2, num_samples=2, burn_in=1)
    assert np.array_equal(imputation.truth, X[OWN["test"]][: len(imputation.truth)])


class Levels(nn.Module):
    """Digits have levels up to 16, which a pair of counts takes as they are."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.decoder, self.encoder = nn.Linear(2, 64), nn.Linear(64, 2)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(2), 1.0).to_event(1))
            rate = softplus(self.decoder(z)).unflatten(-1, (8, 8)) + 0.1
            pyro.sample("x", dist.Poisson(rate).to_event(2), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            code = self.encoder(x.float().flatten(1))
            pyro.sample("z", dist.Normal(code, 1.0).to_event(1))


def test_counts_of_grey_levels_are_the_data_of_their_own_run() -> None:
    run = fit(Levels, "digits", training={"steps": 2})
    assert run.transform.scale == 1.0
    filled = impute(run, fraction=0.2, num_samples=2, burn_in=2, limit=2)
    assert filled.mean.shape == (2, 8, 8)
