"""Trees of draws as netCDF and as zarr: a first piece is written, others are added to it."""

from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import h5netcdf
import numpy as np
import xarray as xr

from vaezoo.errors import RequestError

__all__ = [
    "begin_netcdf",
    "begin_zarr",
    "extend_netcdf",
    "extend_zarr",
    "finish_zarr",
    "is_zarr",
    "require_place_of_zarr",
    "require_zarr",
]

_CHUNK = 2**20


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


def begin_netcdf(piece: xr.DataTree, path: Path) -> None:
    """Write the first piece to a new file, whose dimension ``datum`` can grow."""
    groups = piece.children.items()
    piece.to_netcdf(
        path,
        engine="h5netcdf",
        unlimited_dims={f"/{name}": {"datum"} for name, node in groups if "datum" in node.dims},
        encoding={f"/{name}": _encoding(node) for name, node in groups},
    )


def extend_netcdf(piece: xr.DataTree, path: Path) -> None:
    """Add a piece to the end."""
    with h5netcdf.File(path, "a") as file:
        for name, node in piece.children.items():
            _append(file[name], node.to_dataset())


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


def begin_zarr(piece: xr.DataTree, path: Path) -> None:
    """Write the first piece to a new folder."""
    chunks = {
        f"/{name}": {key: {"chunks": value["chunksizes"]} for key, value in _encoding(node).items()}
        for name, node in piece.children.items()
    }
    piece.to_zarr(path, zarr_format=2, consolidated=False, encoding=chunks)


def extend_zarr(piece: xr.DataTree, path: Path) -> None:
    """Add a piece to the end; what has no ``datum`` is there already."""
    for name, node in piece.children.items():
        grown = node.to_dataset()
        fixed = [key for key, value in grown.variables.items() if "datum" not in value.dims]
        grown.drop_vars(fixed).to_zarr(
            path, group=name, append_dim="datum", zarr_format=2, consolidated=False
        )


def finish_zarr(path: Path) -> None:
    """Gather the metadata in one file, which makes opening quick."""
    import_module("zarr").consolidate_metadata(str(path), zarr_format=2)


def require_place_of_zarr(path: Path) -> None:
    """Refuse a name that is that of something else than a zarr folder."""
    require_zarr()
    if path.exists() and not is_zarr(path):
        raise RequestError(f"cannot write {path}: it is there, and no zarr folder")


def require_zarr() -> None:
    """Refuse to go on without zarr 3, the first whose folders xarray extends."""
    if find_spec("zarr") is None or int(version("zarr").partition(".")[0]) < 3:
        raise RequestError(
            "zarr folders need zarr 3, which is not installed; pip install 'vaezoo[zarr]', "
            "or use .nc"
        )


def is_zarr(path: Path) -> bool:
    """Return whether a folder is one of zarr, of format 2 or 3."""
    return (path / ".zgroup").is_file() or (path / "zarr.json").is_file()
