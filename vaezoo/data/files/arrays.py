"""Arrays by name, in files of numpy or in memory."""

import math
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.data.files.columns import refuse_unread
from vaezoo.data.files.contents import Contents, lacking
from vaezoo.data.splits import are_splits
from vaezoo.errors import RequestError
from vaezoo.runtime.arrays import load_arrays
from vaezoo.runtime.memory import require_memory
from vaezoo.settings import DataSettings

__all__ = ["codes_of", "dense", "read_arrays", "read_stored"]

_LABELS = ("label", "y")
_LENGTHS = ("length", "lengths")
_SPARSE = {"format", "shape", "data"}  # as scipy.sparse.save_npz writes it
_WAS_SPARSE = "x: a sparse matrix of scipy, made dense"
_FRAMES = 3  # dimensions of what is more than a label of each row
_ASIDE = ("split", "columns")  # what is known of rows and of elements


def read_arrays(path: Path, how: DataSettings) -> Contents:
    """Return what a ``.npy`` or ``.npz`` file holds, as :func:`vaezoo.data.load_file` has it."""
    stored = load_arrays(path)
    if not isinstance(stored, np.ndarray) and set(stored) >= _SPARSE:
        from scipy import sparse

        stored = dense(sparse.load_npz(path), f"'{path}'")
        return replace(read_stored(stored, how, f"'{path}'"), notes=(_WAS_SPARSE,))
    return read_stored(stored, how, f"'{path}'")


def read_stored(stored: Array | Mapping[str, Array], how: DataSettings, where: str) -> Contents:
    """Return one array, or several by name, as what they are.

    Parameters
    ----------
    stored
        ``x``, or arrays among which it is; labels and the names of splits may be text.
    how
        Which of them is the label, the group, or left out.
    where
        What messages call it.

    Examples
    --------
    >>> read_stored({"data": np.zeros((2, 3)), "y": np.ones(2)}, DataSettings(name=""), "it").notes
    ("x: array 'data'", "label: array 'y'")
    """
    if not isinstance(stored, Mapping):
        refuse_unread(how.columns, ("x",), where)
        return Contents({"x": stored}, lacks=lacking(how, (), where, "array beside x called"))
    names = _names_of(where, stored, how)
    arrays = {name: stored[key] for key, name in names.items()}
    if not hasattr(arrays["x"], "dtype"):
        raise ValueError("its data are no array")
    arrays = {n: array for n, array in _coded(arrays).items() if _has_rows(n, array, arrays)}
    refuse_unread(how.columns, arrays, where)
    split = _texts(stored, "split")
    if split is not None and not (len(split) == len(arrays["x"]) and are_splits(split)):
        raise RequestError(f"{where}: 'split' does not say train, validation or test of each row")
    columns = _texts(stored, "columns") or ()
    if columns and len(columns) != arrays["x"].shape[-1]:
        raise RequestError(
            f"{where}: {len(columns)} 'columns' for x of shape {arrays['x'].shape}; name each "
            "element"
        )
    notes = _notes(stored, names, arrays, how)
    group = None
    if how.group is not None and how.group in stored:
        group = _group(where, stored[how.group], how.group, len(arrays["x"]))
    rows = None if split is None else np.array(split)
    lacks = lacking(how, stored, where, "array")
    return Contents(arrays, columns, {}, notes, rows, group, lacks)


def dense(matrix: Any, where: str) -> Array:
    """Return a sparse matrix of scipy ``(N, D)`` as an array, if there is memory for all of it.

    Examples
    --------
    >>> from scipy import sparse
    >>> dense(sparse.eye(2, format="csr"), "it")
    array([[1., 0.],
           [0., 1.]])
    """
    size = math.prod(matrix.shape) * matrix.dtype.itemsize
    require_memory(size, where, "keep fewer columns")
    values: Array = matrix.toarray()
    return values


def _group(where: str, group: Array, name: str, num_rows: int) -> Array:
    if group.shape != (num_rows,):
        raise RequestError(f"`group`: {where} has no array '{name}' of {num_rows} rows")
    return group


def _texts(stored: Mapping[str, Array], key: str) -> tuple[str, ...] | None:
    """Return an array of texts of a file; None where it has none of the name."""
    if key not in stored or (texts := stored[key]).ndim != 1 or texts.dtype.kind not in "US":
        return None
    return tuple(text.decode() if isinstance(text, bytes) else str(text) for text in texts)


def _notes(
    stored: Mapping[str, Array], names: Mapping[str, str], arrays: Mapping[str, Array], how: Any
) -> tuple[str, ...]:
    """Say which array is which where a file does not, and what of it is not read."""
    notes = [
        f"{name}: array '{key}'" for key, name in names.items() if key != name and name in arrays
    ]
    unread = [
        f"'{key}' {stored[key].shape}"
        for key in stored
        if names.get(key) not in arrays and key not in _ASIDE
    ]
    if unread:
        notes.append(f"left out: {', '.join(sorted(unread)[:6])}")
    return (*notes, *(["splits: array 'split'"] if "split" in stored else []))


def _names_of(where: str, stored: Mapping[str, Array], how: DataSettings) -> dict[str, str]:
    """Return what each array is called: ``x``, ``label``, ``length``, or by its key."""
    keys = [key for key in stored if key not in (*_ASIDE, *how.drop)]
    labels = _LABELS if how.label is None else (how.label,)
    keys = [key for key in keys if key != "label" or how.label != "none"]
    names = {key: key for key in keys}
    names[_key_of_x(where, [k for k in keys if k not in (how.label, how.group)], how)] = "x"
    for name, aliases in (("label", labels), ("length", _LENGTHS)):
        key = next((alias for alias in aliases if alias in keys and names[alias] != "x"), None)
        if key is not None and (key == how.label or np.ndim(stored[key]) < _FRAMES):
            names.pop(name, None)  # of another array, which is left out
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


def _key_of_x(where: str, keys: list[str], how: DataSettings) -> str:
    asked = how.columns.get("x", ())
    asked = (asked,) if isinstance(asked, str) else asked
    if asked and len(asked) == 1 and asked[0] in keys:
        return asked[0]
    if asked:
        raise RequestError(
            f"`columns`: {where} has arrays, of which one is x: {', '.join(sorted(keys))}"
        )
    others = [key for key in keys if key not in (*_LABELS, *_LENGTHS)]
    for key in ("x", "data"):
        if key in keys:
            return key
    if len(others) == 1:
        return others[0]
    raise RequestError(
        f"{where} has the arrays {', '.join(sorted(keys)) or '(none)'}; name the data 'x', or say "
        f"which it is in `columns`, as x={sorted(keys)[0] if keys else '...'}"
    )


def codes_of(label: Array) -> Array:
    """Return whole numbers for labels that are text, in alphabetical order.

    Examples
    --------
    >>> codes_of(np.array(["b", "a", "b"]))
    array([1, 0, 1])
    """
    return np.unique(label, return_inverse=True)[1] if label.dtype.kind in "US" else label
