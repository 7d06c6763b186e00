"""Long series, cut into windows: each is a sequence of its own."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from vaezoo.data.dataset import Array
from vaezoo.data.files.contents import Contents
from vaezoo.data.splits import SPLITS
from vaezoo.errors import RequestError
from vaezoo.runtime.memory import require_memory

__all__ = ["windowed"]

_SHARES = (0.8, 0.9)  # where validation and test begin
_SMALLER = "give a larger `stride`"


def windowed(
    contents: Contents, window: int, stride: int | None = None, *, whole: bool = False
) -> Contents:
    """Return windows of series as sequences ``(M, window, D)`` with ``length``.

    ``x`` of shape ``(T, D)`` is one series, whose first 80 % are for training and last 10 % for
    test, so that no window is in two splits. ``(N, T, D)`` are N series, which stay whole in the
    split. The last window of a series, and of a split, may be shorter.

    Parameters
    ----------
    contents
        Of a file.
    window
        Frames in a window.
    stride
        Frames from one start to the next; by default those of a window.
    whole
        Cut one series from its beginning to its end, for no splits.

    Raises
    ------
    RequestError
        When x is no series.

    Examples
    --------
    >>> series = windowed(Contents({"x": np.zeros((70, 2))}), 10, 5)
    >>> series.arrays["x"].shape, series.arrays["length"].tolist()[-2:]
    ((13, 10, 2), [7, 7])
    """
    x = contents.arrays["x"]
    if x.ndim not in (2, 3) or (x.ndim == 2 and "length" in contents.arrays):
        raise RequestError(f"`window` cuts series (T, D) or (N, T, D), and x has shape {x.shape}")
    is_one = x.ndim == 2
    first = np.zeros(1, np.int64)
    split, group = contents.split, contents.group
    if is_one:
        split = np.full(len(x), "train") if whole else split
        first, sizes, split = _in_time(len(x), split)
    else:
        sizes = contents.arrays.get("length", _whole(x))
    series, start = _starts(sizes, window, stride or window)
    if split is not None:
        split = split[series]
    elif not is_one:
        group = (np.arange(len(x)) if group is None else group)[series]
    length = np.minimum(window, sizes[series] - start).astype(np.int64)
    if is_one:  # the parts of a series in its splits
        start, series = start + first[series], np.zeros_like(series)
    cut = _cutter(series, start, length, window)
    arrays = {"x": cut(x[None] if is_one else x), "length": length}
    for name, values in contents.arrays.items():
        if name in arrays or (is_one and name == "label"):
            continue
        in_time = is_one or values.shape[1:2] == x.shape[1:2]
        arrays[name] = cut(values[None] if is_one else values) if in_time else values[series]
    line = f"{len(start)} windows of {window} frames, of {1 if is_one else len(sizes)} series"
    return replace(contents, arrays=arrays, split=split, group=group, notes=(*contents.notes, line))


def _whole(x: Array) -> NDArray[np.int64]:
    return np.full(len(x), x.shape[1], np.int64)


def _starts(
    sizes: NDArray[np.int64], window: int, stride: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the series of each window, and its first frame, until all frames are in one."""
    counts = [1 + max(0, -(-(int(size) - window) // stride)) for size in sizes]
    series = np.repeat(np.arange(len(sizes)), counts)
    return series, np.concatenate([stride * np.arange(count) for count in counts])


def _in_time(size: int, split: Array | None) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Return where each part of one series begins that is in one split, its size and its split."""
    if split is None:
        bounds = np.array(_SHARES) * size
        split = np.array(SPLITS)[np.searchsorted(bounds, np.arange(size), side="right")]
    changes = np.flatnonzero(split[1:] != split[:-1]) + 1
    first = np.concatenate([[0], changes]).astype(np.int64)
    return first, np.diff([*first, size]), split[first]


def _cutter(
    series: NDArray[np.int64], start: NDArray[np.int64], length: NDArray[np.int64], window: int
) -> Callable[[Array], Array]:
    """Return what cuts arrays ``(N, T, ...)`` into windows ``(M, window, ...)``."""

    def cut(values: Array) -> Array:
        shape = (len(series), window, *values.shape[2:])
        size = int(np.prod(shape, dtype=object)) * values.dtype.itemsize
        require_memory(size, f"{len(series)} windows", _SMALLER)
        windows = np.zeros(shape, values.dtype)
        for place, (n, first, frames) in enumerate(zip(series, start, length, strict=True)):
            windows[place, :frames] = values[n, first : first + frames]
        return windows

    return cut
