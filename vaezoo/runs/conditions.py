"""The arguments of a pair that are no data: what a run remembers of them, and what is given."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaezoo.data import Data
from vaezoo.data.batches import to_tensor
from vaezoo.errors import RequestError, nearest, shown
from vaezoo.pairs.lengths import with_frames

__all__ = ["Given", "describe_examples", "given_rows", "rows_to_draw", "under_conditions"]

Given = Mapping[str, Any]

MOST_ROWS, MOST_NUMBERS = 64, 10_000


def describe_examples(data: Data, names: Sequence[str]) -> dict[str, Any]:
    """Return rows of some arrays as plain values, the same rows of each, spread over the data.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> data = from_arrays(np.zeros((20, 3)), c=np.arange(20))
    >>> describe_examples(data, ["c"])["c"]["dtype"]
    'int64'
    """
    width = sum(int(np.prod(data.arrays[name].shape[1:])) for name in names)
    number = min(len(data.x), MOST_ROWS, max(1, MOST_NUMBERS // max(1, width)))
    rows = np.unique(np.linspace(0, len(data.x) - 1, number).astype(int))
    tensors = {name: to_tensor(data.arrays[name][rows], name) for name in names}
    return {
        name: {"dtype": str(tensor.dtype).removeprefix("torch."), "rows": tensor.tolist()}
        for name, tensor in tensors.items()
    }


def rows_to_draw(
    run: tuple[Mapping[str, Any], Mapping[str, tuple[int, ...]]],
    names: Sequence[str],
    num_rows: int,
    sequences: bool,
    num_frames: int | None,
    given: Given,
) -> dict[str, Tensor]:
    """Return arguments of the right shapes for drawing from the prior, ``x`` all zeros.

    Parameters
    ----------
    run
        What a run says of itself, and the shape of one row of each argument.
    names
        Arguments of the model.
    num_rows
        How many.
    sequences
        Whether the rows are sequences, ``num_frames`` long, by default as the longest of the data.
    given
        Conditions; the others are drawn from those of the data.

    Raises
    ------
    RequestError
        When what is given is no condition, or has another shape.
    """
    info, shapes = run
    shape = shapes["x"] if num_frames is None else (num_frames, *shapes["x"][1:])
    args = {"x": torch.zeros(num_rows, *shape), "length": torch.full((num_rows,), shape[0])}
    args["mask"] = torch.ones(num_rows, *shape, dtype=torch.bool)
    others = [name for name in names if name not in args]
    for name, rows in _draw_examples(info, others, num_rows).items():
        in_time = sequences and shapes[name][:1] == shapes["x"][:1]
        args[name] = with_frames(rows, shape[0]) if in_time else rows
        if name in given:
            frames = shape[0] if in_time else None
            args |= given_rows({name: given[name]}, args, others, num_frames=frames)
    given_rows({n: v for n, v in given.items() if n not in others}, args, others)
    return args


def _draw_examples(
    info: Mapping[str, Any], names: Sequence[str], num_rows: int
) -> dict[str, Tensor]:
    """Draw rows of what a run remembers of some arguments, the same rows of each."""
    if not names:
        return {}
    if "examples" not in info:  # as runs of version 0.1.0 have it: distinct values of each
        values = {name: torch.tensor(info["values"][name]) for name in names}
        return {n: rows[torch.randint(len(rows), (num_rows,))] for n, rows in values.items()}
    stored = {name: info["examples"][name] for name in names}
    tensors = {
        n: torch.tensor(s["rows"], dtype=getattr(torch, s["dtype"])) for n, s in stored.items()
    }
    chosen = torch.randint(len(next(iter(tensors.values()))), (num_rows,))
    return {name: rows[chosen] for name, rows in tensors.items()}


def given_rows(
    given: Given,
    arguments: Mapping[str, Tensor],
    conditions: Sequence[str],
    *,
    num_frames: int | None = None,
) -> dict[str, Tensor]:
    """Return what is given of the conditions, as rows in the place of others.

    Parameters
    ----------
    given
        By name: one value for all rows, or one for each.
    arguments
        Rows ``(N, ...)`` of all arguments.
    conditions
        Which of them may be given.
    num_frames
        Frames that are needed of what has a value for each frame.

    Raises
    ------
    RequestError
        For another name, another shape, or too few frames.

    Examples
    --------
    >>> given_rows({"c": 3}, {"c": torch.tensor([0, 1])}, ["c"])
    {'c': tensor([3, 3])}
    """
    _require_conditions(given, conditions)
    return {
        name: _rows_of(name, value, arguments[name], num_frames) for name, value in given.items()
    }


def _require_conditions(given: Given, conditions: Sequence[str]) -> None:
    if not isinstance(given, Mapping):
        raise RequestError(
            f"`given` takes conditions by name, as {{'label': 3}}, not {shown(given)}"
        )
    for name in given:
        if name not in conditions:
            hint = nearest(name, conditions) if conditions else "it has none"
            raise RequestError(f"`given`: '{name}' is no condition of the model; {hint}")


def under_conditions(
    data: Data, given: Given, conditions: Sequence[str], split: str, limit: int | None = None
) -> Data:
    """Return data in which rows of a split have other conditions than they came with.

    Parameters
    ----------
    data
        Any; its other rows and arrays stay as they are.
    given
        By name: one value for all rows, or one for each.
    conditions
        Which arrays may be given.
    split, limit
        Which rows.

    Raises
    ------
    RequestError
        As :func:`given_rows` does.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> data = from_arrays(np.zeros((20, 3)), c=np.arange(20))
    >>> other = under_conditions(data, {"c": 3}, ["c"], "test", 2)
    >>> other.arrays["c"][other.rows("test")[:2]]
    array([3, 3])
    """
    _require_conditions(given, conditions)
    rows = data.rows(split)[:limit]
    frames = None if data.length is None else int(data.length[rows].max())
    arrays = dict(data.arrays)
    for name, value in given.items():
        like = {n: to_tensor(arrays[n][rows], n) for n in conditions if n in arrays}
        in_time = frames is not None and arrays[name].shape[1:2] == data.x.shape[1:2]
        chosen = given_rows({name: value}, like, conditions, num_frames=frames if in_time else None)
        tensor = with_frames(chosen[name], data.x.shape[1]) if in_time else chosen[name]
        whole = np.array(arrays[name]).astype(tensor.numpy().dtype)
        whole[rows] = tensor.numpy()
        arrays[name] = whole
    return replace(data, arrays=arrays)


def _rows_of(name: str, value: Any, like: Tensor, num_frames: int | None) -> Tensor:
    tensor = _typed(name, value, like)
    in_time = num_frames is not None and like.dim() > 1
    if tensor.dim() == like.dim() - 1:
        tensor = tensor.expand(len(like), *tensor.shape)
    shape = like.shape[2:] if in_time else like.shape[1:]
    if tensor.dim() != like.dim() or tensor.shape[tensor.dim() - len(shape) :] != shape:
        raise RequestError(
            f"`given`: '{name}' has shape {tuple(tensor.shape)}; give one of shape "
            f"{tuple(like.shape[1:])}, or {len(like)} rows of it"
        )
    if len(tensor) != len(like):
        raise RequestError(f"`given`: '{name}' has {len(tensor)} rows, and {len(like)} are wanted")
    if in_time and num_frames is not None:
        if tensor.shape[1] < num_frames:
            raise RequestError(
                f"`given`: '{name}' has {tensor.shape[1]} frames, and {num_frames} are needed"
            )
        tensor = with_frames(tensor, num_frames)
    return tensor


def _typed(name: str, value: Any, like: Tensor) -> Tensor:
    """Return a value in the type of a condition; a refusal where it is none of that type."""
    array = np.asarray(value)
    if array.dtype.kind not in "buif":
        raise RequestError(f"`given`: '{name}' takes numbers, not {shown(value)}")
    tensor = torch.as_tensor(np.array(array))
    typed = tensor.to(like.dtype)
    if not like.is_floating_point() and not bool((typed == tensor).all()):
        kind = "true or false, 1 or 0" if like.dtype == torch.bool else "whole numbers"
        raise RequestError(f"`given`: '{name}' takes {kind}, not {shown(value)}")
    return typed.to(like.device)
