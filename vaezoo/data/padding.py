"""Sequences of different lengths as one array, with zeros beyond their ends."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaezoo.errors import RequestError, refusing

__all__ = ["clear_padding", "is_frame", "pad"]

_Array = NDArray[Any]


def pad(sequences: Sequence[_Array], name: str) -> tuple[_Array, NDArray[np.int64]]:
    """Return ``x (N, T, D)``, T the length of the longest, and ``length (N,)``.

    Raises
    ------
    RequestError
        When one is not of the form ``(T, D)``, has no frames or another D; it is named.

    Examples
    --------
    >>> x, length = pad([np.ones((1, 2)), np.ones((3, 2))], "walks")
    >>> x.shape, length
    ((2, 3, 2), array([1, 3]))
    """
    arrays = [_frames(sequence, f"{name}: sequence {n}") for n, sequence in enumerate(sequences)]
    if not arrays:
        raise RequestError(f"{name}: there are no sequences")
    width = arrays[0].shape[1]
    for n, array in enumerate(arrays):
        if array.shape[1] != width:
            raise RequestError(
                f"{name}: sequence {n} has frames of {array.shape[1]} values, sequence 0 of {width}"
            )
    length = np.array([len(array) for array in arrays], dtype=np.int64)
    x = _zeros((len(arrays), int(length.max()), width), np.result_type(*arrays), name)
    for row, array in zip(x, arrays, strict=True):
        row[: len(array)] = array
    return x, length


def _frames(sequence: _Array, place: str) -> _Array:
    with refusing(f"{place} is no array"):
        try:
            array = np.asanyarray(sequence)
        except ValueError as error:
            raise RequestError(f"{place} has frames of different widths") from error
    if array.dtype.kind not in "buif":
        raise RequestError(f"{place} holds {array.dtype}, not numbers")
    if array.ndim != 2:
        hint = "; write s[:, None] for one value a frame" if array.ndim == 1 else ""
        raise RequestError(f"{place} has shape {array.shape}; expected (T, D){hint}")
    if len(array) == 0:
        raise RequestError(f"{place} has no frames; leave it out")
    return array


def _zeros(shape: tuple[int, int, int], dtype: np.dtype[Any], name: str) -> _Array:
    try:
        return np.zeros(shape, dtype)
    except (MemoryError, ValueError) as error:
        raise RequestError(
            f"{name}: {shape[0]} sequences padded to the {shape[1]} frames of the longest do not "
            "fit into memory; cut the longest into parts"
        ) from error


def is_frame(length: _Array, num_steps: int) -> NDArray[np.bool_]:
    """Return the mask ``(N, T)`` that is true for frames and false for padding.

    Examples
    --------
    >>> is_frame(np.array([1, 3]), 3)
    array([[ True, False, False],
           [ True,  True,  True]])
    """
    return np.arange(num_steps) < length[:, None]


def clear_padding(x: _Array, length: _Array) -> _Array:
    """Return ``x (N, T, ...)`` with zeros in its padding: itself when that is so already."""
    if not any(row[end:].any() for row, end in zip(x, length, strict=True)):
        return x
    frames = is_frame(length, x.shape[1])
    return np.where(frames.reshape(*frames.shape, *[1] * (x.ndim - 2)), x, x.dtype.type(0))
