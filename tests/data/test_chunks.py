"""Arrays in chunks: zarr on disk and in memory, and what does not fit into memory."""

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from vaezoo import RequestError
from vaezoo.data import Data, as_data, load_data
from vaezoo.data.stores import chunks

zarr = pytest.importorskip("zarr")
X = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
LABEL = np.arange(50) % 3


def write_array(path: Path, x: Any = X, version: int = 3) -> Path:
    made = zarr.create_array(
        str(path), shape=x.shape, chunks=(7, *x.shape[1:]), dtype=x.dtype, zarr_format=version
    )
    made[...] = x
    return path


def write_group(path: Path, **arrays: Any) -> Path:
    zarr.open_group(str(path), mode="w")
    for name, array in arrays.items():
        write_array(path / name, array)
    return path


def same(one: Data, other: Data) -> bool:
    return one.arrays.keys() == other.arrays.keys() and all(
        np.array_equal(array, other.arrays[name]) and array.dtype == other.arrays[name].dtype
        for name, array in one.arrays.items()
    )


@pytest.mark.parametrize("version", [2, 3])
def test_an_array_is_x(tmp_path: Path, version: int) -> None:
    path = write_array(tmp_path / "x.zarr", X, version)
    assert same(load_data(path), as_data(X))
    assert same(as_data(zarr.open_array(str(path), mode="r")), as_data(X))


def test_a_group_is_read_as_arrays_by_name(tmp_path: Path) -> None:
    path = write_group(tmp_path / "g.zarr", x=X, y=LABEL)
    assert same(load_data(path), as_data({"x": X, "y": LABEL}))
    assert same(as_data(zarr.open_group(str(path), mode="r")), as_data({"x": X, "y": LABEL}))


def test_texts_are_labels(tmp_path: Path) -> None:
    path = write_group(tmp_path / "g.zarr", x=X)
    write_array(path / "y", np.array(["cat", "dog"] * 25), 2)  # the third has no texts as yet
    assert load_data(path).arrays["label"].tolist() == [0, 1] * 25


def test_an_array_in_a_file_of_hdf5_is_x(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        assert same(as_data(file.create_dataset("x", data=X)), as_data(X))


def test_a_file_of_hdf5_is_read_as_arrays_by_name(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file.create_dataset("x", data=X, chunks=(9, 3), compression="gzip")
        file["y"] = ["cat", "dog"] * 25
        file["more/x"] = X
    data = load_data(tmp_path / "x.h5")
    assert same(data, as_data({"x": X, "y": np.array(["cat", "dog"] * 25)}))


def test_links_of_hdf5_are_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["x"] = h5py.ExternalLink("other.h5", "x")
    with pytest.raises(RequestError, match="'x' is a link to elsewhere"):
        load_data(tmp_path / "x.h5")


def test_what_does_not_fit_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "free_memory", lambda: 0)
    monkeypatch.setattr(chunks, "_AT_ONCE", 100)
    data = load_data(write_array(tmp_path / "x.zarr"))
    assert isinstance(data.x, np.memmap)
    assert np.array_equal(data.x, X)


def test_what_fits_nowhere_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "free_memory", lambda: 0)
    monkeypatch.setattr(chunks, "_room", lambda folder: 0)
    with pytest.raises(RequestError, match="a folder with room in the environment variable TMPDIR"):
        load_data(write_array(tmp_path / "x.zarr"))


@pytest.mark.parametrize("codec", ["pickle", "numcodecs.pickle", "anything"])
def test_codecs_that_may_run_code_are_refused(tmp_path: Path, codec: str) -> None:
    path = write_array(tmp_path / "x.zarr")
    described = json.loads((path / "zarr.json").read_text())
    described["codecs"].append({"name": codec, "configuration": {}})
    (path / "zarr.json").write_text(json.dumps(described))
    with pytest.raises(RequestError, match=f"is stored by '{codec}', which is not read"):
        load_data(path)


def test_filters_of_version_2_are_looked_at(tmp_path: Path) -> None:
    path = write_array(tmp_path / "x.zarr", X, 2)
    described = json.loads((path / ".zarray").read_text())
    described["filters"] = [{"id": "pickle"}]
    (path / ".zarray").write_text(json.dumps(described))
    with pytest.raises(RequestError, match="is stored by 'pickle'"):
        load_data(path)


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"node_type": "array"}'])
def test_damaged_descriptions_are_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "zarr.json").write_text(text)
    with pytest.raises(RequestError):
        load_data(tmp_path)


def test_another_array_changes_the_checksum(tmp_path: Path) -> None:
    one, other = (load_data(write_array(tmp_path / f"{n}.zarr", X + n)) for n in range(2))
    assert one.checksum != other.checksum
