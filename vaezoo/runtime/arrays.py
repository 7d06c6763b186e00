"""Files of numpy: what they say of their sizes is compared with what they hold, then read."""

import math
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from vaezoo.errors import RequestError
from vaezoo.runtime.memory import require_memory
from vaezoo.runtime.reading import open_plain

__all__ = ["load_arrays"]

Array = NDArray[Any]
_ZIP = b"PK"
_PACKED = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # what numpy writes; others know no bounds
_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def load_arrays(path: Path) -> Array | dict[str, Array]:
    """Return the array of a ``.npy`` file, memory-mapped, or those of a ``.npz`` file by name.

    Raises
    ------
    RequestError
        When it is no file, or its arrays are larger than it says, or than memory.
    ValueError, OSError, zipfile.BadZipFile
        When it is damaged, or holds Python objects.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.npz"
    >>> np.savez(path, x=np.zeros(3))
    >>> load_arrays(path)
    {'x': array([0., 0., 0.])}
    """
    with open_plain(path) as stream:
        if stream.read(2) != _ZIP:
            array: Array = np.load(path, mmap_mode="r", allow_pickle=False)
            return array
        stream.seek(0)
        with zipfile.ZipFile(stream) as archive:
            _check_sizes(path, archive)
        stream.seek(0)
        with np.load(stream, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}


def _check_sizes(path: Path, archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    for member in members:
        if member.compress_type not in _PACKED:
            raise RequestError(
                f"cannot read '{path}': '{member.filename}' is compressed as numpy does not; "
                "write it with numpy.savez_compressed"
            )
        if member.filename.endswith(".npy"):
            with archive.open(member) as stream:
                _check_size(path, member, stream)
    require_memory(
        sum(member.file_size for member in members),
        f"'{path}'",
        "save x as .npy, which is read piece by piece, or fewer rows",
    )


def _check_size(path: Path, member: zipfile.ZipInfo, stream: IO[bytes]) -> None:
    """Refuse an array whose shape asks for another number of bytes than its member holds."""
    version = npy.read_magic(stream)
    if version not in _HEADERS:
        raise ValueError(f"'{member.filename}' has a header of version {version}")
    shape, _, dtype = _HEADERS[version](stream)
    held = member.file_size - stream.tell()
    announced = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and held != announced:  # objects are refused when they are read
        raise RequestError(
            f"cannot read '{path}': '{member.filename}' announces {announced} bytes of shape "
            f"{shape}, and holds {held}; it is damaged"
        )
