"""Arrays in files of numpy."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.data.files.columns import Columns, refuse_unread
from vaezoo.errors import RequestError
from vaezoo.runtime.arrays import load_arrays

__all__ = ["codes_of", "read_arrays"]

_LABELS = ("label", "y")
_LENGTHS = ("length", "lengths")


def read_arrays(path: Path, columns: Columns) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the arrays of a ``.npy`` or ``.npz`` file by the names of arguments."""
    arrays = _numpy_arrays(path)
    refuse_unread(columns, arrays, f"'{path}'")
    return arrays, ()


def _numpy_arrays(path: Path) -> dict[str, Array]:
    stored = load_arrays(path)
    if isinstance(stored, np.ndarray):
        return {"x": stored}
    arrays = {name: stored[key] for key, name in _names_of(path, list(stored)).items()}
    if not isinstance(arrays["x"], np.ndarray):
        raise ValueError("its data are no array")
    return {n: array for n, array in _coded(arrays).items() if _has_rows(n, array, arrays)}


def _names_of(path: Path, keys: list[str]) -> dict[str, str]:
    """Return what each array of a file is called: ``x``, ``label``, ``length``, or by its key."""
    names = {key: key for key in keys}
    names[_key_of_x(path, keys)] = "x"
    for name, aliases in (("label", _LABELS), ("length", _LENGTHS)):
        key = next((alias for alias in aliases if alias in keys and names[alias] != "x"), None)
        if key is not None:
            names[key] = name
    return names


def _coded(arrays: Mapping[str, Array]) -> dict[str, Array]:
    return {name: array if name == "x" else codes_of(array) for name, array in arrays.items()}


def _has_rows(name: str, array: Array, arrays: Mapping[str, Array]) -> bool:
    """Whether an array has the rows of x, or a name under which it is refused without them.

    What else a file holds, as a table of names or the settings of an instrument, is no data.
    """
    if name in ("x", "label", "length"):
        return True
    return array.ndim > 0 and len(array) == len(arrays["x"]) and array.dtype.kind in "buif"


def _key_of_x(path: Path, keys: list[str]) -> str:
    others = [key for key in keys if key not in (*_LABELS, *_LENGTHS)]
    for key in ("x", "data"):
        if key in keys:
            return key
    if len(others) == 1:
        return others[0]
    raise RequestError(
        f"'{path}' has the arrays {', '.join(sorted(keys)) or '(none)'}; name the data 'x'"
    )


def codes_of(label: Array) -> Array:
    """Return whole numbers for labels that are text, in alphabetical order.

    Examples
    --------
    >>> codes_of(np.array(["b", "a", "b"]))
    array([1, 0, 1])
    """
    return np.unique(label, return_inverse=True)[1] if label.dtype.kind in "US" else label
