"""Values in memory, as what a file that holds them would give.

Readers of tables and stores are imported where somebody has one: most have arrays.
"""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from vaezoo.data.dataset import Array, made_array
from vaezoo.data.files.arrays import dense, read_stored
from vaezoo.data.files.contents import Contents
from vaezoo.data.padding import pad
from vaezoo.errors import RequestError, refusing, shown
from vaezoo.settings import DataSettings

__all__ = ["read_values"]

_ANNOTATED = ("X", "obs", "var_names", "layers")  # of an AnnData


def read_values(value: Any, how: DataSettings) -> tuple[str, Contents]:
    """Return what messages call values in memory, and what they hold.

    Parameters
    ----------
    value
        In a form that :func:`vaezoo.data.as_data` takes, but no name, path or data set.
    how
        What is the label, which columns are left out, and so on.

    Examples
    --------
    >>> name, contents = read_values([np.zeros((2, 3)), np.ones((5, 3))], DataSettings(name=""))
    >>> name, contents.arrays["length"].tolist()
    ('sequences', [2, 5])
    """
    if _is_of("pandas", "DataFrame", value):
        return "array", _frame(value, how)
    if all(hasattr(value, name) for name in _ANNOTATED):
        from vaezoo.data.stores.annotated import read_annotated  # with h5py

        return "AnnData", read_annotated(value, how)
    if hasattr(value, "with_format") and hasattr(value, "column_names"):  # of Hugging Face
        value = value.with_format("arrow")[:]
    if _is_of("pyarrow", "Table", value):
        from vaezoo.data.stores.arrow import read_arrow

        return "table", read_arrow(value, how)
    if hasattr(value, "to_pandas"):  # frames of other libraries
        return "array", _frame(value.to_pandas(), how)
    if _is_of("zarr", "Group", value):
        value = {name: _chunked(array, "the group") for name, array in value.arrays()}
    if isinstance(value, Dataset):
        value = _collect(value)
    name = "array"
    named = dict(value) if isinstance(value, Mapping) else {"x": value}
    for key in named:
        if not isinstance(key, str):
            raise RequestError(f"{shown(key)} names no array; give arrays by their names, as 'x'")
    if _are_sequences(named.get("x")):
        name = "sequences"
        named["x"], named["length"] = pad([_as_array(one) for one in named["x"]], name)
    arrays = {key: made_array(_as_array(one), name) for key, one in named.items()}
    if len(arrays) == 1 and "x" in arrays:
        return name, read_stored(arrays["x"], how, f"the {name}")
    contents = read_stored(arrays, how, "the mapping")
    _refuse_other_rows(arrays, contents)
    return name, contents


def _frame(value: Any, how: DataSettings) -> Contents:
    from vaezoo.data.files.tables import read_frame

    return read_frame(value, how)


def _chunked(value: Any, where: str) -> Array:
    from vaezoo.data.stores.chunks import read_chunked

    return read_chunked(value, where)


def _refuse_other_rows(arrays: Mapping[str, Array], contents: Contents) -> None:
    """Refuse an array of other rows than x: in a file it may be anything, here it was meant."""
    num_rows = len(contents.arrays["x"])
    for name, array in arrays.items():
        if name != "columns" and np.shape(array)[:1] != (num_rows,):
            shape = contents.arrays["x"].shape
            raise RequestError(f"'{name}' has shape {np.shape(array)} and x {shape}: rows differ")


def _is_of(package: str, kind: str, value: object) -> bool:
    """Whether it is of a class of a package; where that was never imported, nothing is."""
    module = sys.modules.get(package)
    return module is not None and isinstance(value, getattr(module, kind, ()))


def _collect(dataset: Dataset[Any]) -> dict[str, Any]:
    """Return the items of a data set of torch: all x, and their labels where they have any."""
    if not hasattr(dataset, "__len__"):
        raise RequestError("a Dataset without a length cannot be split; give its items as an array")
    items = []
    for row in range(len(dataset)):
        with refusing(f"item {row} of the Dataset cannot be read"):
            items.append(dataset[row])
    if items and all(isinstance(item, Mapping) for item in items):
        return {str(name): _stack([_as_array(item[name]) for item in items]) for name in items[0]}
    pairs = [item if isinstance(item, tuple | list) else (item,) for item in items]
    columns = [[_as_array(value) for value in column] for column in zip(*pairs, strict=True)]
    names = ("x", "label")[: len(columns)]
    return {name: _stack(column) for name, column in zip(names, columns, strict=False)}


def _stack(column: Sequence[Any]) -> Any:
    """Return values of one shape as an array; sequences of different lengths stay a list."""
    shapes = {np.shape(value) for value in column}
    return np.stack(column) if len(shapes) == 1 else list(column)


def _are_sequences(x: object) -> bool:
    """Whether it is a list, but not one of rows of plain numbers."""
    if not isinstance(x, list | tuple):
        return False
    return not (x and all(isinstance(row, list | tuple) and _is_row(row) for row in x))


def _is_row(values: Sequence[object]) -> bool:
    return all(isinstance(value, int | float | np.number) for value in values)


def _as_array(value: Any) -> Array | Any:
    """Return a tensor or a sparse matrix as an array; all else is made one where it is checked."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if _is_of("zarr", "Array", value) or _is_of("h5py", "Dataset", value):
        return _chunked(value, "the array")
    if _is_of("scipy.sparse", "spmatrix", value) or _is_of("scipy.sparse", "sparray", value):
        return dense(value, "the sparse matrix")
    return value
