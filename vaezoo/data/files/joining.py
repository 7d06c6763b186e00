"""One data set of several files, each with the rows of a split."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeVar

import numpy as np

from vaezoo.data.dataset import Array, Data
from vaezoo.data.files.columns import in_order
from vaezoo.data.splits import SPLITS
from vaezoo.errors import RequestError
from vaezoo.settings import DataSettings

__all__ = ["joined", "with_others"]

T = TypeVar("T")


def with_others(
    data: Data, others: Mapping[str, T], how: DataSettings, read: Callable[[T, DataSettings], Data]
) -> Data:
    """Return data with others as their splits, with the columns and the codes of these data.

    Parameters
    ----------
    data
        Those of the training.
    others
        Files, or values, by split.
    how
        How data are read.
    read
        Reads one of the others.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> data, rows = from_arrays(np.zeros((20, 3))), np.ones((5, 3))
    >>> settings = DataSettings(name="")
    >>> data = with_others(data, {"test": rows}, settings, lambda x, how: from_arrays(x))
    >>> data.rows("test")
    array([20, 21, 22, 23, 24])
    """
    alone = {"validation_data": None, "test_data": None}
    for split in SPLITS:
        if split in others:
            alike = how.model_copy(update={**alone, "categories": dict(data.categories)})
            data = joined(data, in_order(read(others[split], alike), data.columns), split)
    return data


def joined(data: Data, other: Data, split: str) -> Data:
    """Return data with all rows of others as one of their splits.

    The rows of that split so far go to the training. Sequences get the length of the longest.

    Raises
    ------
    RequestError
        When the two have other arrays, or rows of other shapes.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> both = joined(from_arrays(np.zeros((20, 3))), from_arrays(np.ones((5, 3))), "test")
    >>> {name: len(rows) for name, rows in both.splits.items()}
    {'train': 18, 'validation': 2, 'test': 5}
    """
    shared = [name for name in data.arrays if name in other.arrays or name != "label"]
    arrays = {}
    for name in shared:
        if name not in other.arrays:
            raise RequestError(f"{other.name} has no '{name}', which {data.name} has")
        arrays[name] = _stacked(data, other, name)
    first = len(data.x)
    rows = np.arange(first, first + len(other.x), dtype=np.int64)
    train = np.union1d(data.splits["train"], data.splits[split])
    checksum = hashlib.sha256(f"{data.checksum} {split} {other.checksum}".encode()).hexdigest()
    line = f"{split}: {len(rows)} rows of {other.name}"
    return replace(
        data,
        arrays=arrays,
        splits={**data.splits, "train": train, split: rows},
        scale=max(data.scale, other.scale),
        checksum=checksum,
        notes=(*data.notes, line),
    )


def _stacked(data: Data, other: Data, name: str) -> Array:
    one, two = data.arrays[name], other.arrays[name]
    frames = (one.shape[1:2] == data.x.shape[1:2], two.shape[1:2] == other.x.shape[1:2])
    if data.length is not None and all(frames):
        size = max(one.shape[1], two.shape[1])
        one, two = (
            np.pad(a, [(0, 0), (0, size - a.shape[1]), *[(0, 0)] * (a.ndim - 2)])
            for a in (one, two)
        )
    if one.shape[1:] != two.shape[1:]:
        raise RequestError(
            f"{other.name}: '{name}' has rows of shape {two.shape[1:]}, but {data.name} rows of "
            f"{one.shape[1:]}"
        )
    return np.concatenate([one, two])
