"""File formats that more than one named data set uses."""

import gzip
import io
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError, refusing

__all__ = ["decompress", "is_matlab", "read_idx", "read_matlab"]

_IDX_UINT8 = 0x08
_GZIP = b"\x1f\x8b"
_MATLAB = b"MATLAB 5.0"


def decompress(path: Path) -> bytes:
    """Return the content of a file, perhaps compressed by gzip."""
    with refusing(f"cannot read {path}"):
        raw = path.read_bytes()
    if not raw.startswith(_GZIP):
        return raw
    with refusing(f"{path} is a broken gzip file", "get it again"):
        return gzip.decompress(raw)


def read_idx(path: Path, num_dims: int) -> NDArray[np.uint8]:
    """Read an IDX file of bytes, as MNIST uses, perhaps compressed by gzip.

    Parameters
    ----------
    path
        The file.
    num_dims
        Number of dimensions that it must have.

    Raises
    ------
    RequestError
        When it is truncated, of another format, or holds another number of values than it says.
    """
    raw = decompress(path)
    end = 4 + 4 * num_dims
    if len(raw) < end or raw[:4] != bytes([0, 0, _IDX_UINT8, num_dims]):
        raise RequestError(f"{path} is not an IDX file of bytes in {num_dims} dimensions")
    shape = tuple(int(size) for size in np.frombuffer(raw, ">u4", num_dims, 4))
    expected, held = int(np.prod(shape, dtype=object)), len(raw) - end
    if held != expected:
        raise RequestError(f"{path} announces {expected} values of shape {shape} but holds {held}")
    return np.frombuffer(raw, np.uint8, offset=end).reshape(shape)


def is_matlab(raw: bytes) -> bool:
    """Whether bytes are a MATLAB 5 file."""
    return raw.startswith(_MATLAB)


def read_matlab(raw: bytes, *variables: str) -> list[Array]:
    """Return variables of a MATLAB 5 file."""
    from scipy.io import loadmat

    stream: Any = io.BytesIO(raw)
    with refusing(f"no MATLAB file with {', '.join(variables)}", "get it again"):
        stored = loadmat(stream, variable_names=variables)
        return [stored[name] for name in variables]
