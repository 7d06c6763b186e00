"""Trees of draws on disk: written in pieces along ``datum``, as netCDF or zarr, and read back.

A piece is a tree of some consecutive data, so that what is written need never be in memory as a
whole. A file appears under its name when it is complete.
"""

import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import xarray as xr

from vaezoo.errors import RequestError, RunError

__all__ = ["joined", "open_tree", "save_netcdf", "save_tree", "save_zarr", "stack_valid"]

ENDINGS = (".nc", ".zarr")
_PIECE = 2**26  # bytes
_CHUNK = 2**20
_Write = Callable[[xr.DataTree, Path], None]
_DAMAGED = (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError)


def joined(pieces: Iterable[xr.DataTree]) -> xr.DataTree:
    """Return one tree of pieces that follow each other along ``datum``."""
    trees = list(pieces)
    first = trees[0]
    if len(trees) == 1:
        return first
    groups = {
        name: xr.concat(
            [tree[name].to_dataset() for tree in trees],
            "datum",
            data_vars="minimal",
            coords="minimal",
            compat="override",
            join="override",
            combine_attrs="override",
        )
        if "datum" in node.dims
        else node.to_dataset()
        for name, node in first.children.items()
    }
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = first.attrs
    return tree


def in_pieces(tree: xr.DataTree, most_bytes: int = _PIECE) -> Iterator[xr.DataTree]:
    """Yield a tree in pieces of some data each; what has no ``datum`` is in the first."""
    groups = {name: node.to_dataset() for name, node in tree.children.items()}
    rows = max((group.sizes.get("datum", 0) for group in groups.values()), default=0)
    size = sum(group.nbytes for group in groups.values())
    every = max(1, rows * most_bytes // max(1, size))
    for start in range(0, max(1, rows), every):
        window = slice(start, start + every)
        held = {
            name: group.isel(datum=window) if "datum" in group.dims else group
            for name, group in groups.items()
            if start == 0 or "datum" in group.dims
        }
        piece = xr.DataTree.from_dict(held)
        piece.attrs = tree.attrs
        yield piece


def save_tree(tree: xr.DataTree | Iterable[xr.DataTree], path: str | Path) -> None:
    """Write a tree, or its pieces, in the format of the ending: ``.nc`` or ``.zarr``.

    Raises
    ------
    RequestError
        When the ending is another one, zarr is not installed, or the name is already that of
        something else than such a file.
    RunError
        When it cannot be written; what had the name before stays.
    """
    require_writable(path)
    (save_netcdf if Path(path).suffix == ".nc" else save_zarr)(tree, path)


def require_writable(path: str | Path) -> None:
    """Refuse a name that :func:`save_tree` could not write to, before anything is drawn."""
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise RequestError(f"cannot write '{path}': use a file ending in {' or '.join(ENDINGS)}")
    if path.suffix == ".zarr":
        _require_place_of_zarr(path)
    elif path.is_dir():
        raise RequestError(f"cannot write {path}: it is a folder")


def save_netcdf(tree: xr.DataTree | Iterable[xr.DataTree], path: str | Path) -> None:
    """Write a tree, or its pieces, as netCDF; ``arviz.from_netcdf`` and xarray open it.

    Raises
    ------
    RunError
        When it cannot be written; what had the name before stays.
    """
    _save(tree, Path(path), _begin_netcdf, _extend_netcdf)


def _begin_netcdf(piece: xr.DataTree, path: Path) -> None:
    groups = piece.children.items()
    piece.to_netcdf(
        path,
        engine="h5netcdf",
        unlimited_dims={f"/{name}": {"datum"} for name, node in groups if "datum" in node.dims},
        encoding={f"/{name}": _encoding(node) for name, node in groups},
    )


def _extend_netcdf(piece: xr.DataTree, path: Path) -> None:
    with h5netcdf.File(path, "a") as file:
        for name, node in piece.children.items():
            _append(file[name], node.to_dataset())


def _encoding(node: xr.DataTree) -> dict[str, Any]:
    """Chunks of about a MiB that hold whole data; x is compressed, draws of latents do not."""
    encoding: dict[str, Any] = {}
    for name, variable in node.to_dataset().variables.items():
        if "datum" not in variable.dims or variable.size == 0:
            continue
        rows = variable.sizes["datum"]
        most = max(1, min(rows, _CHUNK * rows // variable.nbytes))
        sizes = [most if dim == "datum" else size for dim, size in variable.sizes.items()]
        packed = {"zlib": True, "complevel": 1, "shuffle": True} if name == "x" else {}
        encoding[str(name)] = {"chunksizes": tuple(sizes), **packed}
    return encoding


def _append(group: Any, dataset: xr.Dataset) -> None:
    start = group.dimensions["datum"].size
    group.resize_dimension("datum", start + dataset.sizes["datum"])
    for name, variable in dataset.variables.items():
        if "datum" in variable.dims:
            window = tuple(
                slice(start, None) if dim == "datum" else slice(None) for dim in variable.dims
            )
            values = np.asarray(variable.values)
            group[name][window] = values.astype(np.int8) if values.dtype == bool else values


def save_zarr(tree: xr.DataTree | Iterable[xr.DataTree], path: str | Path) -> None:
    """Write a tree, or its pieces, as a zarr folder, with chunks of whole data.

    Raises
    ------
    RequestError
        When zarr is not installed, or the name is that of something else than a zarr folder.
    RunError
        When it cannot be written; what had the name before stays.
    """
    _require_place_of_zarr(Path(path))
    _save(tree, Path(path), _begin_zarr, _extend_zarr, _consolidate)


def _begin_zarr(piece: xr.DataTree, path: Path) -> None:
    chunks = {
        f"/{name}": {key: {"chunks": value["chunksizes"]} for key, value in _encoding(node).items()}
        for name, node in piece.children.items()
    }
    piece.to_zarr(path, zarr_format=2, consolidated=False, encoding=chunks)


def _extend_zarr(piece: xr.DataTree, path: Path) -> None:
    for name, node in piece.children.items():
        grown = node.to_dataset()
        fixed = [key for key, value in grown.variables.items() if "datum" not in value.dims]
        grown.drop_vars(fixed).to_zarr(
            path, group=name, append_dim="datum", zarr_format=2, consolidated=False
        )


def _consolidate(path: Path) -> None:
    import_module("zarr").consolidate_metadata(str(path), zarr_format=2)


def _require_place_of_zarr(path: Path) -> None:
    _require_zarr()
    if path.exists() and not _is_zarr(path):
        raise RequestError(f"cannot write {path}: it is there, and no zarr folder")


def _require_zarr() -> None:
    if find_spec("zarr") is None or int(version("zarr").partition(".")[0]) < 3:
        raise RequestError(
            "zarr folders need zarr 3, which is not installed; pip install 'vaezoo[zarr]', "
            "or use .nc"
        )


def _is_zarr(path: Path) -> bool:
    return (path / ".zgroup").is_file() or (path / "zarr.json").is_file()


def _save(
    tree: xr.DataTree | Iterable[xr.DataTree],
    path: Path,
    begin: _Write,
    extend: _Write,
    finish: Callable[[Path], None] = lambda path: None,
) -> None:
    """Write beside ``path``, piece by piece, and move it there at the end.

    Only what fails in writing is a failure to write: making a piece is another matter.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        with _failing_to_write(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove(temporary)
        pieces = in_pieces(tree) if isinstance(tree, xr.DataTree) else tree
        for number, piece in enumerate(pieces):
            with _failing_to_write(path):
                (extend if number else begin)(piece, temporary)
        with _failing_to_write(path):
            finish(temporary)
            _move(temporary, path)
    finally:
        with suppress(OSError):
            _remove(temporary)


@contextmanager
def _failing_to_write(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py raises the latter when a disk is full
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else _line(error)
        raise RunError(f"cannot write {path}: {reason}") from error


def _move(temporary: Path, path: Path) -> None:
    """Put a file or a folder in the place of another; a folder cannot be replaced at once."""
    if not (path.is_dir() and temporary.is_dir()):
        temporary.replace(path)
        return
    old = path.with_name(f".{path.name}.old")
    _remove(old)
    path.replace(old)
    temporary.replace(path)
    _remove(old)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def open_tree(path: str | Path) -> xr.DataTree:
    """Open a tree of draws, netCDF or zarr; its values are read when they are used.

    Raises
    ------
    RequestError
        When there is nothing, or it is damaged, or no tree.
    """
    path = Path(path)
    if not path.exists():
        raise RequestError(f"no file '{path}'")
    if path.is_dir():
        return _open_zarr(path)
    try:
        tree = xr.open_datatree(path, engine="h5netcdf")
    except _DAMAGED as error:
        raise RequestError(f"{path} is damaged or no netCDF-4 file: {_line(error)}") from error
    return _with_groups(tree, path)


def _open_zarr(path: Path) -> xr.DataTree:
    if not _is_zarr(path):
        raise RequestError(f"'{path}' is a folder, but not one of zarr")
    _require_zarr()
    try:
        _refuse_code(path)
        tree = xr.open_datatree(path, engine="zarr")
    except _DAMAGED as error:
        raise RequestError(f"{path} is damaged or no zarr folder: {_line(error)}") from error
    return _with_groups(tree, path)


def _refuse_code(path: Path) -> None:
    """Refuse arrays that would be unpickled, which runs code."""

    def check(described: dict[str, Any]) -> dict[str, Any]:
        for key in ("id", "name"):
            if "pickle" in str(described.get(key, "")):
                raise ValueError("it holds pickled values, which are not read")
        return described

    for name in (".zarray", ".zmetadata", "zarr.json"):
        for file in path.rglob(name):
            json.loads(file.read_text(encoding="utf-8"), object_hook=check)


def _with_groups(tree: xr.DataTree, path: Path) -> xr.DataTree:
    if not tree.children:
        tree.close()
        raise RequestError(f"{path} has no groups, so it is no tree of draws")
    return tree


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


def stack_valid(dataset: xr.Dataset, mask: xr.DataArray) -> xr.Dataset:
    """Return sequences without their padding: ``datum`` and ``time`` become one dimension ``obs``.

    ArviZ's summaries of padded sequences have rows of nan; those of this have none.

    Parameters
    ----------
    dataset
        A group, as ``tree["posterior"].to_dataset()``.
    mask
        ``tree["constant_data"]["mask"]``; it may have more data than the group.

    Returns
    -------
    xarray.Dataset
        With coordinates ``datum`` and ``time`` along ``obs``. Variables without time are left out.
    """
    mask = mask.sel(datum=dataset["datum"]).transpose("datum", "time")
    datum, time = np.nonzero(mask.values)
    index = {"datum": xr.DataArray(datum, dims="obs"), "time": xr.DataArray(time, dims="obs")}
    names = [name for name, value in dataset.data_vars.items() if "time" in value.dims]
    stacked = dataset[names].isel(index)
    others = [str(dim) for dim in stacked.dims if dim not in ("chain", "draw", "obs")]
    return stacked.transpose("chain", "draw", "obs", *others, missing_dims="ignore")
