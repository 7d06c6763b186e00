"""Data in any form that a caller may hand in, as one data set."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeGuard

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset

from vaezoo.data.dataset import Data, checksum_of, from_arrays, from_sequences
from vaezoo.data.files.columns import Columns, refuse_unread, settings_of
from vaezoo.data.files.contents import Contents
from vaezoo.data.files.tables import read_frame
from vaezoo.data.layout import channels_first
from vaezoo.data.load import load_data
from vaezoo.data.splits import SPLITS, as_splits
from vaezoo.errors import RequestError, refusing
from vaezoo.settings import DataSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["DataLike", "as_data"]

TAKEN = {"name", "scale", "seed", "splits"}  # by the functions that make a data set of arrays

# Public functions quote the name of these forms: so help() prints it, not what it stands for.
Values: TypeAlias = ArrayLike | Tensor | Sequence[ArrayLike | Tensor]
DataLike: TypeAlias = (
    str | Path | Data | Values | Mapping[str, Values] | Dataset[Any]
)  # and frames of pandas


def as_data(
    value: "DataLike",
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
    scale: float | None = None,
    whole: bool = False,
    columns: Columns | None = None,
    settings: DataSettings | None = None,
) -> Data:
    """Return data in any form as a data set.

    ==========================  ==============================================================
    a name, a path              as :func:`load_data` takes it
    an array, a tensor          ``x`` of shape ``(N, *x_shape)``; rows of numbers, as
                                ``[[0, 1], [1, 0]]``, too
    a list of arrays            sequences, each of shape ``(T_n, D)``
    a mapping                   one of the two as ``x``, with further arrays of N rows by the name
                                of the model's argument: ``length``, ``label``
    a frame of pandas           as the same table in a file
    a ``Dataset`` of torch      its items in their order: x, or x and a label
    :class:`Data`               itself
    ==========================  ==============================================================

    Parameters
    ----------
    value
        The data, in their own units.
    data_dir
        Where files of named data sets may lie already.
    seed
        Of the split of data that have none.
    scale
        Largest grey level of values in memory; by default as for :func:`from_arrays`.
    whole
        Take all rows of values in memory, whatever split is asked for, instead of splitting them.
    columns
        Columns of a table that are other arguments of the model, as ``{"c": ["age", "income"]}``.
    settings
        All about how data are read, instead of ``seed`` and ``columns``.

    Raises
    ------
    RequestError
        When there is no such data set or file, or its values are no numbers of these forms.

    Examples
    --------
    >>> as_data([[0.0, 1.0], [1.0, 0.0]], whole=True).rows("test")
    array([0, 1])
    >>> as_data([np.zeros((2, 3)), np.ones((5, 3))]).arrays["length"]
    array([2, 5])
    >>> as_data("digits").name
    'digits'
    """
    how = settings or settings_of("", seed, columns)
    if isinstance(value, Data):
        refuse_unread(how.columns, value.arrays, value.name)
        return _checked(value)
    if isinstance(value, str | Path):
        if whole:  # rows of their own, and no others for validation and test
            how = how.model_copy(update={"validation_data": None, "test_data": None})
        return load_data(value, data_dir=data_dir, settings=how)
    with refusing("these data cannot be used"):
        data = _in_memory(value, how, scale or how.scale)
    if not whole:
        return data
    rows = np.arange(len(data.x))
    return replace(data, splits=dict.fromkeys(SPLITS, rows))


def _checked(data: Data) -> Data:
    """Return a data set that somebody made by hand, its rows checked, with a checksum."""
    splits = as_splits(data.splits, len(data.x), data.name)
    if data.checksum and all(rows is data.splits[name] for name, rows in splits.items()):
        return data
    return replace(data, splits=splits, checksum=data.checksum or checksum_of(data.arrays))


def _in_memory(value: Any, how: DataSettings, scale: float | None) -> Data:
    seed, columns, contents = how.split_seed, how.columns, Contents({})
    if _is_frame(value):
        contents = read_frame(value, how)
        named = dict(contents.arrays)
    elif isinstance(value, Dataset):
        named = _collect(value)
    else:
        named = dict(value) if isinstance(value, Mapping) else {"x": value}
    if "x" not in named:
        raise RequestError(f"no array 'x' among {', '.join(map(str, named))}")
    for name in sorted(TAKEN & named.keys()):
        raise RequestError(f"an array cannot be called '{name}'; give the argument another name")
    x = named.pop("x")
    arrays: dict[str, Any] = {str(name): _as_array(array) for name, array in named.items()}
    if _are_sequences(x):
        data = from_sequences([_as_array(one) for one in x], seed=seed, scale=scale, **arrays)
    else:
        data = from_arrays(_as_array(x), seed=seed, scale=scale, **arrays)
    refuse_unread(columns, data.arrays, data.name)
    if contents.split is not None or contents.group is not None:
        data = replace(data, splits=contents.splits(seed))
    placed, layout = channels_first(data.arrays, how.channels)
    texts, notes = contents.categories, (*contents.notes, *layout)
    data = replace(data, arrays=placed)
    return replace(data, columns=contents.columns, categories=texts, notes=notes)


def _is_frame(value: object) -> TypeGuard["pd.DataFrame"]:
    """Whether it is a frame; where pandas was never imported, nothing is."""
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(value, pandas.DataFrame)


def _collect(dataset: Dataset[Any]) -> dict[str, Any]:
    """Return the items of a data set of torch: all x, and their labels where they have any."""
    if not hasattr(dataset, "__len__"):
        raise RequestError("a Dataset without a length cannot be split; give its items as an array")
    items = []
    for row in range(len(dataset)):
        with refusing(f"item {row} of the Dataset cannot be read"):
            items.append(dataset[row])
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


def _as_array(value: Any) -> Any:
    """Return a tensor as an array; all else is made one, or refused, where it is checked."""
    return value.detach().cpu().numpy() if isinstance(value, Tensor) else value
