"""Where the colours of pictures stand in an array: before height and width, as pairs take them."""

from collections.abc import Mapping

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.options import Channels

__all__ = ["channels_first"]

_COLOURS = (1, 3)
_SMALLEST = 4  # pixels of a side: below, an array may be anything


def channels_first(
    arrays: Mapping[str, Array], channels: Channels = "auto"
) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return arrays with pictures ``(N, C, H, W)``, and a line if colours stood last.

    Parameters
    ----------
    arrays
        By name; ``x`` may be pictures.
    channels
        Where the colours stand: ``auto`` recognises ``(H, W, 1)`` and ``(H, W, 3)``.

    Examples
    --------
    >>> arrays, lines = channels_first({"x": np.zeros((9, 12, 10, 3))})
    >>> arrays["x"].shape, len(lines)
    ((9, 3, 12, 10), 1)
    """
    x = arrays["x"]
    if channels == "first" or np.ndim(x) != 4 or "length" in arrays:
        return dict(arrays), ()
    height, width, colours = x.shape[1:]
    if channels == "auto":
        last = colours in _COLOURS and height not in _COLOURS and min(height, width) >= _SMALLEST
        if not last:
            return dict(arrays), ()
    line = (
        f"x holds pictures {height}x{width} whose {colours} colour{'s' * (colours > 1)} stood last "
        "(`channels='first'`: it does not)"
    )
    return {**arrays, "x": np.moveaxis(x, -1, 1)}, (line,)
