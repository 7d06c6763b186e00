"""Splits of a user's own: files, folders, a column, groups, and a run that remembers them."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import vaezoo
from vaezoo.data import Data, load_data
from vaezoo.errors import RequestError
from vaezoo.runs import load_run
from vaezoo.settings import DataSettings

RNG = np.random.default_rng(0)
SMALL: dict[str, Any] = {"config": {"z_dim": 1, "hidden": [4]}, "training": {"steps": 2}}


@pytest.fixture
def npz(tmp_path: Path) -> Callable[..., Path]:
    def save(name: str, **arrays: Any) -> Path:
        path = tmp_path / f"{name}.npz"
        path.parent.mkdir(exist_ok=True)
        np.savez(path, **arrays)
        return path

    return save


def sizes(data: Data) -> dict[str, int]:
    return {name: len(rows) for name, rows in data.splits.items()}


def read(path: Path, **settings: Any) -> Data:
    names = {key: str(value) for key, value in settings.items()}
    return load_data(path, settings=DataSettings(name=str(path), **names))


def test_a_file_for_each_split(npz: Callable[..., Path]) -> None:
    x, v, t = (npz(name, x=RNG.normal(size=(n, 3))) for name, n in (("x", 20), ("v", 6), ("t", 5)))
    data = read(x, validation_data=v, test_data=t)
    assert sizes(data) == {"train": 20, "validation": 6, "test": 5}
    assert np.array_equal(data.x[data.rows("test")], np.load(t)["x"])


def test_a_file_for_one_split_leaves_the_others(npz: Callable[..., Path]) -> None:
    x, t = npz("x", x=RNG.normal(size=(20, 3))), npz("t", x=RNG.normal(size=(5, 3)))
    assert sizes(read(x, test_data=t)) == {"train": 18, "validation": 2, "test": 5}


def test_a_folder_of_files_named_by_splits(npz: Callable[..., Path]) -> None:
    for name, size in (("train", 20), ("val", 4), ("test", 5)):
        path = npz(f"set/{name}", x=RNG.normal(size=(size, 3)))
    assert sizes(read(path.parent)) == {"train": 20, "validation": 4, "test": 5}


def test_sequences_of_other_lengths_are_padded(npz: Callable[..., Path]) -> None:
    x = npz("x", x=RNG.normal(size=(20, 4, 2)), length=np.full(20, 4))
    t = npz("t", x=RNG.normal(size=(5, 7, 2)), length=np.full(5, 7))
    data = read(x, test_data=t)
    assert data.x.shape == (25, 7, 2)
    assert data.arrays["length"][[0, -1]].tolist() == [4, 7]


def test_columns_and_texts_of_the_files_agree(tmp_path: Path) -> None:
    table = pd.DataFrame({"a": range(9), "b": ["p", "q", "r"] * 3})
    table.to_csv(tmp_path / "x.csv", index=False)
    table[["b", "a"]].head(3).to_csv(tmp_path / "t.csv", index=False)
    data = read(tmp_path / "x.csv", test_data=tmp_path / "t.csv")
    assert np.array_equal(data.x[-3:], data.x[:3])


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"x": np.zeros((5, 4))}, r"rows of shape \(4,\)"),
        ({"x": np.zeros((5, 3))}, "has no 'c'"),
    ],
)
def test_files_that_do_not_go_together_are_refused(
    npz: Callable[..., Path], other: dict[str, Any], message: str
) -> None:
    c = {} if other["x"].shape[1] == 4 else {"c": np.zeros(20)}
    x, t = npz("x", x=np.zeros((20, 3)), **c), npz("t", **other)
    with pytest.raises(RequestError, match=message):
        read(x, test_data=t)


def test_an_array_says_the_splits(npz: Callable[..., Path]) -> None:
    names = ["train"] * 12 + ["valid"] * 4 + ["test"] * 4
    data = read(npz("x", x=RNG.normal(size=(20, 3)), split=np.array(names)))
    assert data.splits["validation"].tolist() == [12, 13, 14, 15]


def test_rows_for_validation_are_found_where_none_are_said(npz: Callable[..., Path]) -> None:
    data = read(npz("x", x=np.zeros((24, 3)), split=np.array(["train"] * 20 + ["test"] * 4)))
    assert sizes(data) == {"train": 18, "validation": 2, "test": 4}


def test_an_array_that_says_no_splits_is_refused(npz: Callable[..., Path]) -> None:
    with pytest.raises(RequestError, match="'split' does not say"):
        read(npz("x", x=np.zeros((4, 3)), split=np.array(["a", "b", "train", "test"])))


def test_folders_of_pictures_are_splits_then_labels(tmp_path: Path) -> None:
    for split, label in (("train", "cat"), ("train", "dog"), ("val", "dog"), ("test", "cat")):
        (tmp_path / split / label).mkdir(parents=True)
        Image.fromarray(np.zeros((4, 5), np.uint8)).save(tmp_path / split / label / "a.png")
    data = read(tmp_path)
    assert sizes(data) == {"train": 2, "validation": 1, "test": 1}
    assert data.arrays["label"][data.rows("train")].tolist() == [0, 1]


@pytest.mark.parametrize("ending", ["csv", "npz"])
def test_groups_are_not_torn_apart(tmp_path: Path, ending: str) -> None:
    group = np.arange(40) // 4
    path = tmp_path / f"x.{ending}"
    if ending == "csv":
        pd.DataFrame({"a": RNG.normal(size=40), "who": group}).to_csv(path, index=False)
    else:
        np.savez(path, x=RNG.normal(size=(40, 1)), who=group)
    data = read(path, group="who")
    assert data.x.shape == (40, 1)
    assert sizes(data) == {"train": 32, "validation": 4, "test": 4}
    assert not np.intersect1d(group[data.rows("train")], group[data.rows("test")]).size


def test_all_rows_are_a_split(npz: Callable[..., Path]) -> None:
    assert len(read(npz("x", x=np.zeros((20, 3)))).rows("all")) == 20


def test_a_run_remembers_the_files_of_its_splits(npz: Callable[..., Path], tmp_path: Path) -> None:
    x, t = npz("x", x=RNG.normal(size=(20, 3))), npz("t", x=RNG.normal(size=(7, 3)))
    settings = DataSettings(name=str(x), test_data=str(t))
    vaezoo.fit("vae-gaussian", settings, out=tmp_path / "run", **SMALL)
    run = load_run(tmp_path / "run")
    assert vaezoo.evaluate(run, iwae=(1,)).num_rows == 7
    assert vaezoo.evaluate(run, split="all", iwae=(1,)).num_rows == 27
    assert vaezoo.resume(tmp_path / "run", steps=3).info["steps"] == 3


def test_all_rows_of_another_file_are_taken(npz: Callable[..., Path], tmp_path: Path) -> None:
    x, t = npz("x", x=RNG.normal(size=(20, 3))), npz("t", x=RNG.normal(size=(30, 3)))
    run = vaezoo.fit("vae-gaussian", x, out=tmp_path / "run", **SMALL)
    assert vaezoo.evaluate(run, t, iwae=(1,)).num_rows == 30
    assert vaezoo.evaluate(run, x, iwae=(1,)).num_rows == 2
