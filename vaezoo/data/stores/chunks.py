"""Arrays that are stored in chunks, as zarr and HDF5 have them: read whole, or mapped from disk.

Batches take rows from anywhere, and each row would inflate a chunk. So what does not fit into
memory is copied once, chunk by chunk, into a file that is mapped.
"""

import hashlib
import json
import math
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.data.files.arrays import read_stored
from vaezoo.data.files.contents import Contents
from vaezoo.errors import RequestError
from vaezoo.runtime.memory import free_memory
from vaezoo.runtime.reading import open_plain, read_plain
from vaezoo.settings import DataSettings

__all__ = ["is_store", "read_chunked", "read_store"]

_DESCRIPTIONS = ("zarr.json", ".zarray", ".zgroup")
_LARGEST = 2**24  # bytes of a description
_AT_ONCE = 2**26  # bytes that are copied at once
# zarr knows codecs that run code, as pickle does: those of numbers and texts are enough.
_CODECS = {"blosc", "bytes", "bz2", "crc32c", "delta", "fixedscaleoffset", "gzip", "lz4", "lzma"}
_CODECS |= {"sharding_indexed", "shuffle", "transpose", "vlen-utf8", "zlib", "zstd"}


def is_store(path: Path) -> bool:
    """Whether a folder is an array or a group of zarr.

    Examples
    --------
    >>> is_store(Path(tempfile.mkdtemp()))
    False
    """
    return any((path / name).is_file() for name in _DESCRIPTIONS)


def read_store(path: Path, how: DataSettings) -> tuple[Contents, str]:
    """Return what a folder of zarr holds, an array or a group of them, and its checksum.

    Raises
    ------
    RequestError
        When zarr is not installed, or an array has a codec that may run code.
    """
    try:
        import zarr
    except ImportError as error:
        raise RequestError(f"reading '{path}' needs zarr: pip install 'vaezoo[zarr]'") from error
    checksum, where = _checksum_of(path), f"'{path}'"
    if _is_array(path):
        folders = {"x": path}
    else:
        folders = {one.name: one for one in sorted(path.iterdir()) if _is_array(one)}
    for folder in folders.values():
        _refuse_codecs(folder)
    # Each by its own description: that of the group may say something else.
    with warnings.catch_warnings(action="ignore"):
        stored = {name: zarr.open_array(str(one), mode="r") for name, one in folders.items()}
        arrays = {name: read_chunked(array, where) for name, array in stored.items()}
    only = arrays["x"] if _is_array(path) else arrays
    return read_stored(only, how, where), checksum


def read_chunked(source: Any, where: str) -> Array:
    """Return an array of zarr or HDF5, from memory if half of what is free holds it.

    Parameters
    ----------
    source
        What has a shape and a dtype, and can be sliced.
    where
        What messages call it.

    Raises
    ------
    RequestError
        When neither memory nor disk has room for it.

    Examples
    --------
    >>> read_chunked(np.eye(2), "it").tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    dtype = np.dtype(source.dtype)
    if dtype.kind in "OT":
        return np.array([_text(one) for one in np.ravel(source[...])]).reshape(source.shape)
    size, free = math.prod(source.shape) * dtype.itemsize, free_memory()
    if free is None or size <= free // 2 or not source.shape:
        return np.asarray(source[...])
    return _mapped(source, dtype, size, where)


def _mapped(source: Any, dtype: np.dtype[Any], size: int, where: str) -> Array:
    """Return an array that lies in a file without a name, which goes with it."""
    folder = tempfile.gettempdir()
    room = _room(folder)
    if size > room:
        raise RequestError(
            f"{where} takes {size / 1e9:.1f} GB, more than memory has free, and '{folder}' has "
            f"{room / 1e9:.1f} GB; name a folder with room in the environment variable TMPDIR"
        )
    # The map has a handle of its own on the file, which thus ends with it.
    with tempfile.TemporaryFile() as file:
        mapped = np.memmap(file, dtype, "w+", shape=tuple(source.shape))
    for some in _pieces(source, dtype):
        mapped[some] = source[some]
    mapped.flags.writeable = False
    return mapped


def _room(folder: str) -> int:
    return shutil.disk_usage(folder).free


def _pieces(source: Any, dtype: np.dtype[Any]) -> Iterator[slice]:
    """Yield slices of rows that are whole chunks."""
    chunk = (getattr(source, "chunks", None) or (1,))[0]
    row = max(1, math.prod(source.shape[1:]) * dtype.itemsize)
    number = max(1, _AT_ONCE // (row * chunk)) * chunk
    return (slice(first, first + number) for first in range(0, source.shape[0], number))


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _is_array(path: Path) -> bool:
    if (path / ".zarray").is_file():
        return True
    return (path / "zarr.json").is_file() and _described(path).get("node_type") == "array"


def _described(path: Path) -> dict[str, Any]:
    name = next(name for name in (".zarray", "zarr.json") if (path / name).is_file())
    described = json.loads(read_plain(path / name, _LARGEST))
    return described if isinstance(described, dict) else {}


def _refuse_codecs(path: Path) -> None:
    for name in _codecs_of(_described(path)):
        if name.removeprefix("numcodecs.") not in _CODECS:
            raise RequestError(f"'{path}' is stored by '{name}', which is not read; use .npy")


def _codecs_of(described: Any) -> Iterator[str]:
    """Yield the names of all codecs of an array, of those within another one, too."""
    if isinstance(described, list):
        for one in described:
            yield from _codecs_of(one)
    elif isinstance(described, dict):
        codecs = [described.get(key) for key in ("codecs", "index_codecs", "filters", "compressor")]
        yield from _codecs_of(codecs)
        yield from _codecs_of(described.get("configuration"))
        name = described.get("id", described.get("name"))
        if name is not None:
            yield str(name)


def _checksum_of(path: Path) -> str:
    """Return the sha256 of all files of a folder, with their names; a refusal of no plain one."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")):
        if not file.is_dir():
            digest.update(f"{file.relative_to(path).as_posix()}\0".encode())
            with open_plain(file) as stream:
                while piece := stream.read(_AT_ONCE):
                    digest.update(piece)
    return digest.hexdigest()
