"""Trees of draws on disk: written in pieces along ``datum``, as netCDF or zarr, and read back.

A piece is a tree of some consecutive data, so that what is written need never be in memory as a
whole. A file appears under its name when it is complete.
"""

import errno
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import xarray as xr

from vaezoo.errors import RequestError, RunError, refusing
from vaezoo.runtime.reading import read_plain, require_plain
from vaezoo.runtime.storage import writing_path
from vaezoo.trees.formats import (
    begin_netcdf,
    begin_zarr,
    extend_netcdf,
    extend_zarr,
    finish_zarr,
    is_zarr,
    require_place_of_zarr,
    require_zarr,
)
from vaezoo.trees.pieces import cut_tree

__all__ = ["open_tree", "require_writable", "save_tree"]

ENDINGS = (".nc", ".zarr")
_DESCRIPTIONS = (".zarray", ".zmetadata", "zarr.json")
_LARGEST_DESCRIPTION = 2**26  # bytes
_LARGEST_HEAD = 2**17  # bytes of a file beside its values
_Write = Callable[[xr.DataTree, Path], None]


def save_tree(tree: xr.DataTree | Iterable[xr.DataTree], path: str | Path) -> None:
    """Write a tree, or its pieces, in the format of the ending: ``.nc`` or ``.zarr``.

    ``arviz.from_netcdf`` and xarray open the former; the latter has chunks of whole data.

    Raises
    ------
    RequestError
        When the ending is another one, zarr is not installed, or the name is already that of
        something else than such a file.
    RunError
        When it cannot be written; what had the name before stays.

    Examples
    --------
    >>> import tempfile
    >>> import xarray as xr
    >>> tree = xr.DataTree.from_dict({"posterior": xr.Dataset({"z": ("datum", [0.5, 1.5])})})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     save_tree(tree, f"{folder}/draws.nc")
    ...     with open_tree(f"{folder}/draws.nc") as opened:
    ...         opened["posterior"]["z"].values
    array([0.5, 1.5])
    """
    path = Path(path)
    require_writable(path)
    if path.suffix == ".nc":
        _save(tree, path, begin_netcdf, extend_netcdf)
    else:
        _save(tree, path, begin_zarr, extend_zarr, finish_zarr)


def require_writable(path: str | Path) -> None:
    """Refuse a name that :func:`save_tree` could not write to, before any draw is made."""
    path = Path(path)
    if path.suffix not in ENDINGS:
        raise RequestError(f"cannot write '{path}': use a file ending in {' or '.join(ENDINGS)}")
    if path.suffix == ".zarr":
        require_place_of_zarr(path)
    elif path.is_dir():
        raise RequestError(f"cannot write {path}: it is a folder")


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
    with writing_path(path) as temporary:
        pieces = cut_tree(tree) if isinstance(tree, xr.DataTree) else tree
        for number, piece in enumerate(pieces):
            with _failing_to_write(path):
                if path.suffix == ".nc":
                    _require_room(piece, temporary)
                (extend if number else begin)(piece, temporary)
        with _failing_to_write(path):
            finish(temporary)


@contextmanager
def _failing_to_write(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, RuntimeError) as error:  # h5py raises the latter when a disk is full
        number = getattr(error, "errno", None)
        reason = os.strerror(number) if number else _line(error)
        raise RunError(f"cannot write {path}: {reason}") from error


def _require_room(piece: xr.DataTree, path: Path) -> None:
    """Fail before a disk is full: HDF5 ends the whole process when it cannot write.

    What is compressed, ``x``, may need less than its size, and is not counted.
    """
    groups = [node.to_dataset() for node in piece.children.values()]
    sizes = [v.nbytes for group in groups for name, v in group.variables.items() if name != "x"]
    needed = sum(sizes) + _LARGEST_HEAD
    if needed > shutil.disk_usage(path.parent).free:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    limit = _largest_file()
    if limit is not None and needed + (path.stat().st_size if path.is_file() else 0) > limit:
        raise OSError(errno.EFBIG, os.strerror(errno.EFBIG))


def _largest_file() -> int | None:
    """Return the size that files may have by ``ulimit -f``; None where there is no limit."""
    try:
        import resource
    except ImportError:  # Windows has none
        return None
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    return None if limit == resource.RLIM_INFINITY else limit


def open_tree(path: str | Path) -> xr.DataTree:
    """Open a tree of draws, netCDF or zarr; its values are read when they are used.

    Raises
    ------
    RequestError
        When there is nothing, or it is damaged, or no tree.

    Examples
    --------
    >>> open_tree("nowhere.nc")
    Traceback (most recent call last):
    vaezoo.errors.RequestError: no file 'nowhere.nc'
    """
    path = Path(path)
    if not path.exists():
        raise RequestError(f"no file '{path}'")
    if path.is_dir():
        return _open_zarr(path)
    with refusing(f"{path} is damaged or no netCDF-4 file"):
        require_plain(path)
        tree = xr.open_datatree(path, engine="h5netcdf")
    return _with_groups(tree, path)


def _open_zarr(path: Path) -> xr.DataTree:
    if not is_zarr(path):
        raise RequestError(f"'{path}' is a folder, but not one of zarr")
    require_zarr()
    with refusing(f"{path} is damaged or no zarr folder"):
        _refuse_code(path)
        tree = xr.open_datatree(path, engine="zarr")
    return _with_groups(tree, path)


def _refuse_code(path: Path) -> None:
    """Refuse arrays that would be unpickled, which runs code, and what may hide them."""

    def check(described: dict[str, Any]) -> dict[str, Any]:
        for key in ("id", "name"):
            if "pickle" in str(described.get(key, "")):
                raise ValueError("it holds pickled values, which are not read")
        return described

    for folder, folders, files in os.walk(path):
        for name in (*folders, *files):
            place = Path(folder, name)
            if place.is_symlink():
                raise ValueError(f"'{place.relative_to(path)}' is a link")
            # On some disks a name is found whatever its case is.
            if name.lower() in _DESCRIPTIONS:
                json.loads(read_plain(place, _LARGEST_DESCRIPTION), object_hook=check)


def _with_groups(tree: xr.DataTree, path: Path) -> xr.DataTree:
    if not tree.children:
        tree.close()
        raise RequestError(f"{path} has no groups, so it is no tree of draws")
    return tree


def _line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
