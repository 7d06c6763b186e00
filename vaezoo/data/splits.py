"""Which rows are for training, for validation and for test."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaezoo.errors import RequestError

__all__ = [
    "SPLITS",
    "are_splits",
    "as_splits",
    "consecutive_splits",
    "grouped_splits",
    "named_splits",
    "random_splits",
    "split_names",
    "with_validation",
]

T = TypeVar("T")
SPLITS = ("train", "validation", "test")
_ALIASES = {
    **{name: name for name in SPLITS},
    **dict.fromkeys(("training", "tr"), "train"),
    **dict.fromkeys(("valid", "val", "dev"), "validation"),
    **dict.fromkeys(("testing", "te"), "test"),
}


def are_splits(values: Iterable[object]) -> bool:
    """Whether all values are names of splits: train; validation, valid, val or dev; test.

    Examples
    --------
    >>> are_splits(["Train", "val"]), are_splits([1, 2])
    (True, False)
    """
    names = list(values)
    return bool(names) and all(isinstance(n, str) and n.lower() in _ALIASES for n in names)


def split_names(values: Mapping[str, T]) -> dict[str, T]:
    """Return values by the split that their name stands for.

    Examples
    --------
    >>> split_names({"Train": 1, "val": 2})
    {'train': 1, 'validation': 2}
    """
    return {_ALIASES[name.lower()]: value for name, value in values.items()}


def with_validation(
    splits: Mapping[str, NDArray[np.int64]], seed: int
) -> dict[str, NDArray[np.int64]]:
    """Return splits with a tenth of the rows for training as those for validation.

    Examples
    --------
    >>> splits = with_validation({"train": np.arange(20), "test": np.arange(20, 24)}, 0)
    >>> {name: len(rows) for name, rows in splits.items()}
    {'train': 18, 'test': 4, 'validation': 2}
    """
    train = splits["train"]
    chosen = np.isin(np.arange(len(train)), random_splits(len(train), seed)["validation"])
    return {**splits, "train": train[~chosen], "validation": train[chosen]}


def named_splits(names: Sequence[str] | NDArray[Any]) -> dict[str, NDArray[np.int64]]:
    """Return the rows of each split, of which every row names one.

    Examples
    --------
    >>> named_splits(["train", "val", "train", "test"])["train"]
    array([0, 2])
    """
    of_row = np.array([_ALIASES[str(name).lower()] for name in names])
    return {split: np.flatnonzero(of_row == split).astype(np.int64) for split in SPLITS}


def random_splits(
    num_rows: int, seed: int = 0, held_out: float = 0.1
) -> dict[str, NDArray[np.int64]]:
    """Split rows at random: the share ``held_out`` for validation, as much for test.

    Examples
    --------
    >>> {name: len(rows) for name, rows in random_splits(50).items()}
    {'train': 40, 'validation': 5, 'test': 5}
    """
    order = np.random.default_rng(seed).permutation(num_rows)
    size = max(1, round(held_out * num_rows)) if num_rows > 2 else 0
    test, validation, train = np.split(order, [size, 2 * size])
    return {"train": np.sort(train), "validation": np.sort(validation), "test": np.sort(test)}


def grouped_splits(groups: NDArray[Any], seed: int = 0) -> dict[str, NDArray[np.int64]]:
    """Split rows at random, so that all rows of a group are in one split.

    Raises
    ------
    RequestError
        When there are fewer groups than splits.

    Examples
    --------
    >>> splits = grouped_splits(np.array(["a", "a", "b", "b", "c"]))
    >>> sorted(map(len, splits.values()))
    [1, 2, 2]
    """
    names, number = np.unique(groups, return_inverse=True)
    if len(names) < len(SPLITS):
        raise RequestError(f"{len(names)} groups cannot be split in three; leave out `group`")
    splits = random_splits(len(names), seed)
    return {split: np.flatnonzero(np.isin(number, some)) for split, some in splits.items()}


def consecutive_splits(*sizes: int) -> dict[str, NDArray[np.int64]]:
    """Split rows in their order: so many for training, for validation and for test.

    Examples
    --------
    >>> consecutive_splits(3, 1, 1)["test"]
    array([4])
    """
    parts = np.split(np.arange(sum(sizes), dtype=np.int64), np.cumsum(sizes)[:-1])
    return dict(zip(SPLITS, parts, strict=True))


def as_splits(
    splits: Mapping[str, ArrayLike], num_rows: int, name: str
) -> dict[str, NDArray[np.int64]]:
    """Return splits of a user's own as row numbers.

    Parameters
    ----------
    splits
        By name, as ``train``, ``validation`` and ``test``: row numbers, or a mask of N rows.
    num_rows
        N.
    name
        What messages call the data.

    Raises
    ------
    RequestError
        For what is no row of the data.

    Examples
    --------
    >>> as_splits({"train": [0, 2], "test": [False, True, False]}, 3, "array")
    {'train': array([0, 2]), 'test': array([1])}
    """
    if not isinstance(splits, Mapping):
        raise RequestError(
            f"{name}: `splits` are rows by name, as {{'train': [0, 1], 'test': [2]}}"
        )
    return {str(split): _as_rows(split, rows, num_rows, name) for split, rows in splits.items()}


def _as_rows(split: str, rows: ArrayLike, num_rows: int, name: str) -> NDArray[np.int64]:
    try:
        numbers = np.asarray(rows)
    except ValueError as error:
        raise RequestError(f"{name}: the rows of '{split}' are no list of numbers") from error
    if numbers.dtype == bool and numbers.shape == (num_rows,):
        return np.flatnonzero(numbers)
    if numbers.ndim != 1 or (numbers.size and numbers.dtype.kind not in "ui"):
        raise RequestError(
            f"{name}: the rows of '{split}' are {numbers.dtype} of shape {numbers.shape}; "
            f"expected row numbers, or a mask of shape ({num_rows},)"
        )
    wrong = numbers[(numbers < 0) | (numbers >= num_rows)]
    if wrong.size:
        raise RequestError(f"{name}: '{split}' has row {wrong[0]}, outside 0 ... {num_rows - 1}")
    return numbers.astype(np.int64, copy=False)
