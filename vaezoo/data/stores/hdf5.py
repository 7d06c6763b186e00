"""Files of HDF5: arrays by name, and what in a file leads out of it."""

from pathlib import Path
from typing import Any

import h5py

from vaezoo.data.files.arrays import read_stored
from vaezoo.data.files.contents import Contents
from vaezoo.data.stores.chunks import read_chunked
from vaezoo.errors import RequestError
from vaezoo.settings import DataSettings

__all__ = ["inside", "read_hdf5", "require_inside"]

_KINDS = "buifSUO"  # numbers, and texts that may tell labels


def read_hdf5(path: Path, how: DataSettings) -> Contents:
    """Return the arrays at the root of a file, as those of a ``.npz``.

    Raises
    ------
    RequestError
        When one of them is a link to elsewhere.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.h5"
    >>> with h5py.File(path, "w") as file:
    ...     file["x"] = np.zeros((9, 3))
    >>> read_hdf5(path, DataSettings(name="")).arrays["x"].shape
    (9, 3)
    """
    with h5py.File(path, "r") as file:
        items = {str(name): inside(file, name) for name in file}
        arrays = {
            name: read_chunked(item, f"'{path}'")
            for name, item in items.items()
            if isinstance(item, h5py.Dataset) and item.dtype.kind in _KINDS
        }
    return read_stored(arrays, how, f"'{path}'")


def inside(group: h5py.Group, key: str) -> Any:
    """Return what lies in a file itself: links and data that lead to other files are refused.

    Raises
    ------
    RequestError
        When there is no such item, or it lies elsewhere.
    """
    link = group.get(key, getlink=True)
    if link is None:
        raise RequestError(f"'{group.file.filename}' has no '{group.name}/{key}'")
    if not isinstance(link, h5py.HardLink):
        raise RequestError(f"'{group.file.filename}': '{key}' is a link to elsewhere")
    item = group[key]
    if isinstance(item, h5py.Dataset):
        require_inside(item, f"'{group.file.filename}'")
    return item


def require_inside(data: h5py.Dataset, where: str) -> None:
    """Refuse an array whose values lie in another file."""
    if data.external or data.is_virtual:
        raise RequestError(f"{where}: '{data.name}' lies in another file; copy it into this one")
