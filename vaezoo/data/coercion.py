"""Data in any form that a caller may hand in, as one data set."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

from numpy.typing import ArrayLike
from torch import Tensor
from torch.utils.data import Dataset

from vaezoo.data.dataset import Data, checksum_of
from vaezoo.data.files.columns import Columns, refuse_unread, settings_of
from vaezoo.data.files.from_contents import data_of
from vaezoo.data.files.joining import with_others
from vaezoo.data.files.values import read_values
from vaezoo.data.load import load_data
from vaezoo.data.splits import are_splits, as_splits, split_names
from vaezoo.errors import RequestError, refusing
from vaezoo.settings import DataSettings, checked

__all__ = ["DataLike", "as_data", "reading_of", "refuse_reading", "without_reading"]

# Public functions quote the name of these forms: so help() prints it, not what it stands for.
Values: TypeAlias = ArrayLike | Tensor | Sequence[ArrayLike | Tensor]
DataLike: TypeAlias = (
    str | Path | Data | Values | Mapping[str, Values] | Dataset[Any]
)  # and frames of pandas, matrices of scipy, and mappings of splits to any of these

_OTHERS = {"validation_data": "validation", "test_data": "test"}
# What is done to values later, or says whose they are: all other settings say how they are read.
_LATER = {"name", "dir", "binarize", "standardize", "missing", "categories", "split_seed"}


def as_data(
    value: "DataLike",
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
    scale: float | None = None,
    whole: bool = False,
    columns: Columns | None = None,
    settings: DataSettings | Mapping[str, Any] | None = None,
) -> Data:
    """Return data in any form as a data set, the same as of a file that holds them.

    ==========================  ==============================================================
    a name, a path              as :func:`load_data` takes it
    an array, a tensor          ``x`` of shape ``(N, *x_shape)``; rows of numbers, as
                                ``[[0, 1], [1, 0]]``, too; a sparse matrix of scipy
    a list of arrays            sequences, each of shape ``(T_n, D)``
    a mapping                   one of these as ``x``, with further arrays of N rows by the name
                                of the model's argument: ``length``, ``label``; as a ``.npz``
    ``{"train": ..., ...}``     any of these for each split: ``train``, ``validation``, ``test``
    a frame of pandas           as the same table in a file; other frames by their ``to_pandas``
    AnnData, zarr, Arrow        as the same in a file; a ``Dataset`` of Hugging Face, too
    a ``Dataset`` of torch      its items in their order: x, or x and a label, or mappings
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
        Take all rows as each split, whatever split is asked for, of data that say no splits.
    columns
        Columns of a table that are other arguments of the model, as ``{"c": ["age", "income"]}``.
    settings
        All about how data are read, instead of ``seed`` and ``columns``; in a mapping, as
        ``{"window": 50, "test_data": x_test}``, data of other splits may be values, too.

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
    >>> as_data(np.zeros((20, 3)), settings={"test_data": np.ones((5, 3))}).rows("test")
    array([20, 21, 22, 23, 24])
    >>> as_data("digits").name
    'digits'
    """
    how = settings_of("", seed, columns)
    others: dict[str, Any] = {}
    if settings is not None:
        how, others = reading_of(settings)
    if whole:  # rows of their own, and no others for validation and test
        how, others = how.model_copy(update=dict.fromkeys(_OTHERS)), {}
    if isinstance(value, Mapping):
        with refusing("these data cannot be used"):
            value, parts = _by_split(value)
        others = {**parts, **others}

    def read(one: Any, how: DataSettings, whole: bool = True) -> Data:
        return _one(one, how, data_dir, scale, whole)

    data = read(value, how, whole and not others)
    return with_others(data, others, how, read)


def reading_of(
    settings: DataSettings | Mapping[str, Any], name: str = ""
) -> tuple[DataSettings, dict[str, Any]]:
    """Return how data are read, and values in memory that are other splits of them.

    Parameters
    ----------
    settings
        Typed, or a mapping that may hold values as ``validation_data`` and ``test_data``.
    name
        Of the data.

    Examples
    --------
    >>> how, others = reading_of({"standardize": False, "test_data": np.ones((5, 3))})
    >>> how.standardize, list(others)
    (False, ['test'])
    """
    if isinstance(settings, DataSettings):
        return settings, {}
    values = {key: str(v) if isinstance(v, Path) else v for key, v in settings.items()}
    others = {
        split: values.pop(key)
        for key, split in _OTHERS.items()
        if values.get(key) is not None and not isinstance(values[key], str)
    }
    return checked(DataSettings, {"name": name, **values}), others


def _by_split(value: Mapping[str, Any]) -> tuple[Any, dict[str, Any]]:
    """Return the data of the training, and others by their split, where they are so named."""
    if not (are_splits(value) and "train" in (parts := split_names(value))):
        return value, {}
    return parts["train"], {split: one for split, one in parts.items() if split != "train"}


def _one(
    value: Any, how: DataSettings, data_dir: str | Path | None, scale: float | None, whole: bool
) -> Data:
    if isinstance(value, Data):
        refuse_unread(how.columns, value.arrays, value.name)
        return _checked(value)
    if isinstance(value, str | Path):
        return load_data(value, data_dir=data_dir, settings=how, whole=whole)
    with refusing("these data cannot be used"):
        name, contents = read_values(value, how)
        data = data_of(name, contents, how, scale=scale, whole=whole)
    files = {split: getattr(how, key) for key, split in _OTHERS.items() if getattr(how, key)}
    return with_others(data, files, how, lambda f, how: load_data(f, settings=how, whole=True))


def refuse_reading(data: Data, how: DataSettings) -> None:
    """Refuse settings that say how values are read, of a data set that is read already.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> refuse_reading(from_arrays(np.zeros((9, 2))), DataSettings(name="", standardize=True))
    """
    default = DataSettings(name="")
    reading = DataSettings.model_fields.keys() - _LATER
    said = [name for name in sorted(reading) if getattr(how, name) != getattr(default, name)]
    if said:
        raise RequestError(
            f"`{said[0]}` says how data are read, and {data.name} is a data set already; give its "
            "arrays instead"
        )


def without_reading(how: DataSettings) -> DataSettings:
    """Return settings of what is done to values that are read already.

    Examples
    --------
    >>> without_reading(DataSettings(name="x", standardize=True, window=5)).window is None
    True
    """
    return DataSettings(**{key: getattr(how, key) for key in _LATER})


def _checked(data: Data) -> Data:
    """Return a data set that somebody made by hand, its rows checked, with a checksum."""
    splits = as_splits(data.splits, len(data.x), data.name)
    if data.checksum and all(rows is data.splits[name] for name, rows in splits.items()):
        return data
    return replace(data, splits=splits, checksum=data.checksum or checksum_of(data.arrays))
