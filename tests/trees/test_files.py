"""Trees on disk: what is read is what was written, in pieces; damage is one line."""

import errno
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5netcdf
import numpy as np
import pytest
import xarray as xr

from vaezoo import RequestError, RunError, to_arviz
from vaezoo.runtime.arviz import import_arviz
from vaezoo.trees import files
from vaezoo.trees.files import open_tree, save_tree
from vaezoo.trees.pieces import cut_tree, join_trees
from vaezoo.trees.stacking import stack_valid

LENGTHS = np.array([3, 1, 4, 2, 4])
Save = Callable[[xr.DataTree | Iterator[xr.DataTree], Path], None]


@pytest.fixture
def tree() -> xr.DataTree:
    """Five sequences with all kinds of values, and draws that belong to no datum."""
    rng = np.random.default_rng(0)
    mask = np.arange(4) < LENGTHS[:, None]
    z = np.where(mask[..., None], rng.normal(size=(4, 6, 5, 4, 2)), np.nan).astype(np.float32)
    x = np.where(mask[..., None], rng.normal(size=(5, 4, 3)), np.nan)
    draws = {"chain": np.arange(4), "draw": np.arange(6)}
    data, steps = {"datum": np.arange(5)}, {"time": np.arange(4), "latent": np.arange(2)}
    over = ("chain", "draw", "datum")
    groups = {
        "posterior": xr.Dataset(
            {"z": ((*over, "time", "latent"), z), "u": (over, z[..., 0, 0])},
            {**draws, **data, **steps},
        ),
        "observed_data": xr.Dataset(
            {"x": (("datum", "time", "element"), x)},
            {**data, "time": np.arange(4), "element": ["a", "b", "c"]},
        ),
        "constant_data": xr.Dataset(
            {
                "mask": (("datum", "time"), mask),
                "length": ("datum", LENGTHS),
                "x_mean": ("element", np.arange(3.0)),
            },
            {**data, "time": np.arange(4), "element": ["a", "b", "c"]},
        ),
        "prior": xr.Dataset({"z": (("chain", "draw", "latent"), z[:, :, 0, 0])}, draws),
    }
    made = xr.DataTree.from_dict(groups)
    made.attrs = {"name": "run", "seed": 0, "data_checksum": ""}
    return made


@pytest.fixture(params=["tree.nc", "tree.zarr"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param.endswith("zarr"):
        pytest.importorskip("zarr")
    return tmp_path / request.param


def same(path: Path, tree: xr.DataTree) -> bool:
    with open_tree(path) as opened:
        return opened.load().identical(tree)


# Pieces


@pytest.mark.parametrize("most_bytes", [1, 2000, 2**20])
def test_joined_pieces_are_the_tree(tree: xr.DataTree, most_bytes: int) -> None:
    assert join_trees(cut_tree(tree, most_bytes)).identical(tree)


def test_pieces_have_some_data_each(tree: xr.DataTree) -> None:
    pieces = list(cut_tree(tree, 1))
    assert [piece["posterior"]["datum"].values.tolist() for piece in pieces] == [
        [0],
        [1],
        [2],
        [3],
        [4],
    ]
    assert ["prior" in piece.children for piece in pieces] == [True, False, False, False, False]


def test_tree_without_data_is_one_piece(tree: xr.DataTree) -> None:
    alone = xr.DataTree.from_dict({"prior": tree["prior"].to_dataset()})
    (piece,) = cut_tree(alone, 1)
    assert piece.identical(alone)


# Files


@pytest.mark.parametrize("most_bytes", [1, 3000, 2**20])
def test_what_is_read_is_what_was_written(tree: xr.DataTree, path: Path, most_bytes: int) -> None:
    save_tree(cut_tree(tree, most_bytes), path)
    assert same(path, tree)


def test_whole_tree(tree: xr.DataTree, path: Path) -> None:
    save_tree(tree, str(path))
    assert same(path, tree)
    assert list(path.parent.iterdir()) == [path]


def test_each_piece_is_written_before_the_next_is_made(tree: xr.DataTree, path: Path) -> None:
    written = []

    def watched() -> Iterator[xr.DataTree]:
        for piece in cut_tree(tree, 1):
            yield piece
            (part,) = path.parent.glob(f".{path.name}.*")
            written.append(read_rows(part / path.name))

    save_tree(watched(), path)
    assert written == [1, 2, 3, 4, 5]


def read_rows(path: Path) -> int:
    if path.is_dir():
        return int(json.loads((path / "posterior/datum/.zarray").read_text())["shape"][0])
    with h5netcdf.File(path, "r") as file:
        return int(file["posterior"].dimensions["datum"].size)


def test_file_is_replaced(tree: xr.DataTree, path: Path) -> None:
    save_tree(tree.isel(datum=slice(2), missing_dims="ignore"), path)
    save_tree(tree, path)
    assert same(path, tree)
    assert list(path.parent.iterdir()) == [path]


def test_failure_to_make_a_piece_leaves_the_old_file(tree: xr.DataTree, path: Path) -> None:
    def failing() -> Iterator[xr.DataTree]:
        yield from list(cut_tree(tree, 1))[:2]
        raise OSError("the data are gone")

    save_tree(tree, path)
    with pytest.raises(OSError, match="the data are gone"):
        save_tree(failing(), path)
    assert same(path, tree)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "two\nlines"), RuntimeError("No space")])
def test_failure_to_write_leaves_the_old_file(
    tree: xr.DataTree, path: Path, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: object, **settings: object) -> None:
        raise error

    save_tree(tree, path)
    monkeypatch.setattr(h5netcdf.Group, "resize_dimension", fail)
    monkeypatch.setattr(xr.Dataset, "to_zarr", fail)
    with pytest.raises(RunError, match=rf"^cannot write {path}: No space.*$"):
        save_tree(cut_tree(tree, 1), path)
    assert same(path, tree)
    assert list(path.parent.iterdir()) == [path]


def test_failure_to_move_leaves_the_old_file(
    tree: xr.DataTree, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def fail(old: Path, new: Path) -> Path:
        if (old.name, new) != (path.name, path):  # zarr puts its own files in place so, too
            return replace(old, new)
        raise PermissionError(errno.EACCES, "Permission denied")

    save_tree(tree, path)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", fail)
        with pytest.raises(RunError, match="Permission denied"):
            save_tree(tree, path)
    assert same(path, tree)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "says"), [("a.txt", "ending in .nc or .zarr"), ("folder.nc", "it is a folder")]
)
def test_names_that_cannot_be_written(
    tree: xr.DataTree, tmp_path: Path, name: str, says: str
) -> None:
    (tmp_path / "folder.nc").mkdir()
    with pytest.raises(RequestError, match=f"cannot write .*{says}"):
        save_tree(tree, tmp_path / name)


def test_other_things_are_not_replaced_by_zarr(tree: xr.DataTree, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    (tmp_path / "a.zarr").mkdir()
    (tmp_path / "b.zarr").write_text("precious")
    for name in ("a.zarr", "b.zarr"):
        with pytest.raises(RequestError, match="it is there, and no zarr folder"):
            save_tree(tree, tmp_path / name)


def test_below_a_file(tree: xr.DataTree, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("precious")
    with pytest.raises(RunError, match=r"cannot write .*a\.nc: "):
        save_tree(tree, tmp_path / "file" / "a.nc")


def test_zarr_is_not_needed(
    tree: xr.DataTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaezoo.trees.formats.find_spec", lambda name: None)
    (tmp_path / "old.zarr").mkdir()
    (tmp_path / "old.zarr" / ".zgroup").write_text("{}")
    with pytest.raises(RequestError, match="need zarr 3, which is not installed; pip install"):
        save_tree(tree, tmp_path / "a.zarr")
    with pytest.raises(RequestError, match="need zarr 3, which is not installed; pip install"):
        open_tree(tmp_path / "old.zarr")


# Reading


def damaged_netcdf(folder: Path, tree: xr.DataTree) -> dict[str, tuple[Path, str]]:
    save_tree(tree, folder / "whole.nc")
    content = (folder / "whole.nc").read_bytes()
    (folder / "half.nc").write_bytes(content[: len(content) // 2])
    (folder / "cut.nc").write_bytes(content[:-1])
    (folder / "empty.nc").write_bytes(b"")
    (folder / "text.nc").write_text("precious\n")
    (folder / "folder").mkdir()
    xr.Dataset({"x": ("datum", [1.0])}).to_netcdf(folder / "flat.nc", engine="h5netcdf")
    messages = dict.fromkeys(("half", "cut", "empty", "text"), "is damaged or no netCDF-4 file: ")
    says = {f"{name}.nc": text for name, text in messages.items()}
    says |= {"there.nc": "no file '", "folder": "is a folder, but not one of zarr"}
    says |= {"flat.nc": "has no groups, so it is no tree of draws"}
    return {name: (folder / name, text) for name, text in says.items()}


KINDS = ("half.nc", "cut.nc", "empty.nc", "text.nc", "there.nc", "folder", "flat.nc")


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_tree_is_one_line(tree: xr.DataTree, tmp_path: Path, kind: str) -> None:
    path, says = damaged_netcdf(tmp_path, tree)[kind]
    with pytest.raises(RequestError, match=says) as caught:
        open_tree(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


ZARR_DAMAGE = {
    "no JSON": (".zmetadata", "{"),
    "no groups": (".zmetadata", '{"metadata": {".zgroup": {"zarr_format": 2}}}'),
    "pickles": ("posterior/z/.zarray", '{"filters": [{"id": "pickle", "protocol": 5}]}'),
    "pickles in all": (
        ".zmetadata",
        '{"metadata": {"z/.zarray": {"filters": [{"id": "pickle"}]}}}',
    ),
}


@pytest.mark.parametrize(("name", "content"), ZARR_DAMAGE.values(), ids=ZARR_DAMAGE)
def test_damaged_zarr_is_one_line(
    tree: xr.DataTree, tmp_path: Path, name: str, content: str
) -> None:
    pytest.importorskip("zarr")
    path = tmp_path / "a.zarr"
    save_tree(tree, path)
    (path / name).write_text(content)
    with pytest.raises(RequestError, match=r"damaged or no zarr|no groups") as caught:
        open_tree(path)
    assert "\n" not in str(caught.value)


PICKLED = '{"filters": [{"id": "vlen-utf8"}, {"id": "pickle"}]}'


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
@pytest.mark.parametrize("name", ["posterior", "posterior/z", "posterior/z/.zarray"])
def test_pickles_behind_a_link_are_not_read(tree: xr.DataTree, tmp_path: Path, name: str) -> None:
    pytest.importorskip("zarr")
    path = tmp_path / "a.zarr"
    save_tree(tree, path)
    (path / "posterior/z/.zarray").write_text(PICKLED)
    (path / name).rename(tmp_path / "hidden")
    (path / name).symlink_to(tmp_path / "hidden")
    with pytest.raises(RequestError, match="is a link"):
        open_tree(path)


def test_pickles_under_a_name_of_another_case_are_not_read(
    tree: xr.DataTree, tmp_path: Path
) -> None:
    pytest.importorskip("zarr")
    path = tmp_path / "a.zarr"
    save_tree(tree, path)
    (path / "posterior/z/.zarray").unlink()
    (path / "posterior/z/.ZARRAY").write_text(PICKLED)
    with pytest.raises(RequestError, match="pickled"):
        open_tree(path)


@pytest.mark.skipif(os.name == "nt", reason="a pipe of POSIX")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.nc")
    with pytest.raises(RequestError, match="it is a pipe"):
        open_tree(tmp_path / "a.nc")


def test_values_are_read_when_they_are_used(tree: xr.DataTree, path: Path) -> None:
    save_tree(tree, path)
    with open_tree(path) as opened:
        z = opened["posterior"]["z"]
        assert not z.variable._in_memory
        np.testing.assert_array_equal(z[0, 0, 0], tree["posterior"]["z"][0, 0, 0])


# ArviZ


def test_installed_arviz_takes_the_tree(tree: xr.DataTree, tmp_path: Path) -> None:
    az = import_arviz()
    save_tree(tree, tmp_path / "a.nc")
    with open_tree(tmp_path / "a.nc") as opened:
        converted = to_arviz(opened.load())
    kind = "InferenceData" if az.__version__.startswith("0.") else "DataTree"
    assert type(converted).__name__ == kind
    np.testing.assert_array_equal(converted["posterior"]["z"], tree["posterior"]["z"])


def test_stacked_sequences_have_no_padding(tree: xr.DataTree) -> None:
    mask = tree["constant_data"]["mask"]
    stacked = stack_valid(tree["posterior"].to_dataset(), mask)
    assert stacked["z"].dims == ("chain", "draw", "obs", "latent")
    assert list(stacked.data_vars) == ["z"]
    pairs = [(n, t) for n, length in enumerate(LENGTHS) for t in range(length)]
    assert list(zip(stacked["datum"].values, stacked["time"].values, strict=True)) == pairs
    z = tree["posterior"]["z"].values
    wanted = np.stack([z[:, :, n, t] for n, t in pairs], 2)
    np.testing.assert_array_equal(stacked["z"], wanted)
    assert not np.isnan(wanted).any()


def test_stacking_takes_the_data_of_the_group(tree: xr.DataTree) -> None:
    some = tree["posterior"].to_dataset().sel(datum=[2, 1])
    stacked = stack_valid(some, tree["constant_data"]["mask"])
    assert stacked["datum"].values.tolist() == [2, 2, 2, 2, 1]
    assert bool(stacked["z"].notnull().all())


def test_data_can_be_stacked_too(tree: xr.DataTree) -> None:
    stacked = stack_valid(tree["observed_data"].to_dataset(), tree["constant_data"]["mask"])
    assert dict(stacked.sizes) == {"obs": 14, "element": 3}


def test_summary_of_stacked_sequences_has_no_nan(tree: xr.DataTree) -> None:
    stacked = stack_valid(tree["posterior"].to_dataset(), tree["constant_data"]["mask"])
    table = import_arviz().summary(stacked, kind="stats")
    assert table.shape[0] == 14 * 2
    assert np.isfinite(table.astype(float).to_numpy()).all()


@pytest.mark.parametrize(
    ("place", "answer", "words"),
    [
        ("_largest_file", lambda: 1000, os.strerror(errno.EFBIG)),
        ("shutil", SimpleNamespace(disk_usage=lambda path: SimpleNamespace(free=1000)), "No space"),
    ],
)
def test_netcdf_needs_room_before_it_is_begun(
    tree: xr.DataTree,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    place: str,
    answer: Any,
    words: str,
) -> None:
    monkeypatch.setattr(files, place, answer)
    with pytest.raises(RunError, match=words):
        save_tree(tree, tmp_path / "x.nc")
    assert list(tmp_path.iterdir()) == []
