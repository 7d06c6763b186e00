"""Trees of draws on disk: written in pieces along ``datum``, as netCDF or zarr, and read back.

A piece is a tree of some consecutive data, so that what is written need never be in memory as a
whole. A file appears under its name when it is complete.
"""

import json
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from importlib import import_module
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
    pieces = in_pieces(tree) if isinstance(tree, xr.DataTree) else iter(tree)
    with _replacing(Path(path)) as temporary:
        first = next(pieces)
        along = {f"/{name}": {"datum"} for name, node in first.children.items() if _has_data(node)}
        first.to_netcdf(
            temporary,
            engine="h5netcdf",
            unlimited_dims=along,
            encoding={f"/{name}": _encoding(node) for name, node in first.children.items()},
        )
        for piece in pieces:
            with h5netcdf.File(temporary, "a") as file:
                for name, node in piece.children.items():
                    _append(file[name], node.to_dataset())


def _has_data(node: xr.DataTree) -> bool:
    return "datum" in node.dims


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
    path = Path(path)
    _require_place_of_zarr(path)
    pieces = in_pieces(tree) if isinstance(tree, xr.DataTree) else iter(tree)
    with _replacing(path) as temporary:
        first = next(pieces)
        first.to_zarr(temporary, zarr_format=2, consolidated=False, encoding=_zarr_chunks(first))
        for piece in pieces:
            for name, node in piece.children.items():
                grown = node.to_dataset()
                fixed = [key for key, value in grown.variables.items() if "datum" not in value.dims]
                grown.drop_vars(fixed).to_zarr(
                    temporary, group=name, append_dim="datum", zarr_format=2, consolidated=False
                )
        import_module("zarr").consolidate_metadata(str(temporary), zarr_format=2)


def _require_place_of_zarr(path: Path) -> None:
    _require_zarr()
    if path.exists() and not _is_zarr(path):
        raise RequestError(f"cannot write {path}: it is there, and no zarr folder")


def _require_zarr() -> None:
    if find_spec("zarr") is None:
        raise RequestError(
            "zarr folders need zarr, which is not installed; pip install zarr, or use .nc"
        )


def _zarr_chunks(tree: xr.DataTree) -> dict[str, Any]:
    return {
        f"/{name}": {key: {"chunks": value["chunksizes"]} for key, value in _encoding(node).items()}
        for name, node in tree.children.items()
    }


def _is_zarr(path: Path) -> bool:
    return (path / ".zgroup").is_file() or (path / "zarr.json").is_file()


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """Give a name beside ``path`` to write to, and move what is there to ``path`` at the end."""
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(temporary)
        yield temporary
        if path.is_dir() and temporary.is_dir():
            shutil.rmtree(path)
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            _remove(temporary)


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
        ``tree["constant_data"]["mask"]``.

    Returns
    -------
    xarray.Dataset
        With coordinates ``datum`` and ``time`` along ``obs``. Variables without time are left out.
    """
    datum, time = np.nonzero(mask.transpose("datum", "time").values)
    index = {"datum": xr.DataArray(datum, dims="obs"), "time": xr.DataArray(time, dims="obs")}
    names = [name for name, value in dataset.data_vars.items() if "time" in value.dims]
    stacked = dataset[names].isel(index)
    others = [str(dim) for dim in stacked.dims if dim not in ("chain", "draw", "obs")]
    return stacked.transpose("chain", "draw", "obs", *others, missing_dims="ignore")
