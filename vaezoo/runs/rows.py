"""Which rows a run was trained, validated and tested on: remembered, restored, or refused.

And which other rows it can be asked about.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from vaezoo.data import SOURCES, Data, load_data
from vaezoo.data.contract import check_transform
from vaezoo.data.splits import random_splits
from vaezoo.data.transform import Transform
from vaezoo.errors import RequestError
from vaezoo.pairs.sites import takes_lengths
from vaezoo.runtime.storage import inside
from vaezoo.runtime.tensors import load_tensors, save_tensors
from vaezoo.settings import DataSettings

__all__ = [
    "SPLITS_FILE",
    "again",
    "are_default",
    "describe_splits",
    "read_splits",
    "require_alike",
    "require_held_out",
    "restored",
    "save_splits",
]

SPLITS_FILE = "splits.safetensors"

Splits = Mapping[str, NDArray[np.int64]]
Description = Mapping[str, Mapping[str, Any]]


def describe_splits(splits: Splits) -> dict[str, dict[str, Any]]:
    """Return what a run remembers of each split: how many rows, and the sha256 of their numbers.

    Examples
    --------
    >>> describe_splits({"test": np.array([3, 5])})["test"]["rows"]
    2
    """
    return {name: {"rows": len(rows), "sha256": _digest(rows)} for name, rows in splits.items()}


def _digest(rows: NDArray[np.int64]) -> str:
    return hashlib.sha256(np.ascontiguousarray(rows, "<i8").tobytes()).hexdigest()


def are_default(data: Data, seed: int) -> bool:
    """Whether a data set of so many rows is split like this by a seed, so that it needs no copy.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> are_default(from_arrays(np.zeros((20, 3))), seed=0)
    True
    """
    return describe_splits(random_splits(len(data.x), seed)) == describe_splits(data.splits)


def again(data: Data, expected: Description, how: DataSettings) -> Data:
    """Return the data of a run, given again by hand, split as their own file or seed splits them.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> data = from_arrays(np.zeros((20, 3)), splits={"train": [1], "validation": [2], "test": [3]})
    >>> len(again(data, {}, DataSettings(name="array")).rows("train"))
    16
    """
    if describe_splits(data.splits) == expected:
        return data
    is_named = how.name in SOURCES
    splits = load_data(how.name).splits if is_named else random_splits(len(data.x), how.split_seed)
    return replace(data, splits=splits)


def save_splits(splits: Splits, folder: Path) -> None:
    """Write the rows of splits that no seed gives again."""
    rows = {name: torch.from_numpy(np.array(rows, np.int64)) for name, rows in splits.items()}
    save_tensors(inside(folder, SPLITS_FILE), rows, {})


def read_splits(folder: Path, expected: Description) -> dict[str, NDArray[np.int64]]:
    """Return the rows of the splits of a run, as :func:`save_splits` wrote them.

    Raises
    ------
    RequestError
        When the file is missing or damaged, or is not that of the run.
    """
    path = folder / SPLITS_FILE
    if not path.is_file():
        raise RequestError(
            f"{folder} has no {SPLITS_FILE}, which says on which rows it was trained; put it back, "
            "or give the rows to look at as an array"
        )
    tensors, _ = load_tensors(path)
    splits = {name: rows.numpy() for name, rows in tensors.items()}
    if describe_splits(splits) != expected:
        raise RequestError(
            f"{path} has other rows than {folder.name} was trained with; put the run's own back, "
            "or give the rows to look at as an array"
        )
    return splits


def restored(data: Data, expected: Description, folder: Path | None, *, own: bool) -> Data:
    """Return the data of a run with the rows of its splits.

    Parameters
    ----------
    data
        The same data, loaded again.
    expected
        What the run remembers of its splits, as :func:`describe_splits` has it.
    folder
        Of the run.
    own
        Whether the splits were the user's own, and lie in the folder.

    Raises
    ------
    RequestError
        When the rows of the splits are others, and those of the run cannot be had.
    """
    splits = describe_splits(data.splits)
    if splits == expected:
        return data
    if own and folder is not None:
        return replace(data, splits=read_splits(folder, expected))
    names = [name for name in expected if splits.get(name) != expected[name]]
    raise RequestError(
        f"{data.name} is split in another way than when the run was trained: other rows are "
        f"{' and '.join(names) or ', '.join(splits)}; give the rows to look at as an array, "
        "or train again"
    )


def require_held_out(data: Data, trained: NDArray[np.int64], run: str) -> None:
    """Refuse data of a run whose rows for validation or test are rows that it was trained on.

    Where these are rows for training by the data's own splits too, nothing is held out.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> held_out = from_arrays(np.zeros((20, 3)))
    >>> require_held_out(held_out, held_out.rows("train"), "mine")
    """
    for name, rows in data.splits.items():
        apart = rows[~np.isin(rows, data.splits["train"])]
        common = int(np.isin(apart, trained).sum())
        if common:
            raise RequestError(
                f"{data.name}: {common} of the {len(rows)} rows of '{name}' are rows that {run} "
                f"was trained on; split as it was (`from_arrays(x, splits=...)`; its rows are in "
                f"{SPLITS_FILE}), or give the rows to look at as an array"
            )


def require_alike(
    data: Data,
    shapes: Mapping[str, tuple[int, ...]],
    transform: Transform,
    pair: nn.Module,
    *,
    run: str,
) -> None:
    """Refuse data of another shape, another scale than 1, or that a pair cannot explain.

    Parameters
    ----------
    data
        Other data than those of the training.
    shapes
        Of one row of every argument of the model.
    transform
        Of the training.
    pair
        The pair.
    run
        Its name, for the message.
    """
    for name in shapes.keys() - data.arrays.keys():
        raise RequestError(f"{data.name} has no '{name}', which {run} needs")
    for name, shape in shapes.items():
        other = data.arrays[name].shape[1:]
        steps = name in ("x", "mask") and takes_lengths(pair)
        if other[steps:] != shape[steps:] or len(other) != len(shape):
            raise RequestError(
                f"{data.name}: '{name}' has rows of shape {other}, but {run} was trained on {shape}"
            )
    if data.name in SOURCES and transform.scale not in (1.0, data.scale):
        raise RequestError(
            f"{data.name} has grey levels up to {data.scale:g}, but {run} was trained on levels "
            f"up to {transform.scale:g}"
        )
    check_transform(transform, pair, data)
