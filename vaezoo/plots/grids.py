"""Grids of pictures of data."""

import io
import math
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.runs.stamps import DESCRIPTION
from vaezoo.runtime.storage import write_bytes

__all__ = ["are_levels", "black_and_white", "plot_grid", "plot_grid_pairs"]

_GRID_PIXELS = 640
_LARGEST_ZOOM = 8


def plot_grid(
    x: Array, path: Path, *, columns: int | None = None, scale: float = 1.0, note: str = ""
) -> None:
    """Write data as a grid of pictures.

    Parameters
    ----------
    x
        Images ``(N, H, W)`` or ``(N, C, H, W)``, sequences ``(N, T, D)`` (one row per step), or
        vectors ``(N, D)``, which become one picture with a row per datum.
    path
        A ``.png`` file.
    columns
        Pictures in a row; by default the grid is about square.
    note
        What is said of the data; the file says it of itself, with the values of black and white.
    scale
        Value that is white; values outside [0, scale] are cut. Data that are no grey levels, lying
        far outside, go from black to white over their own range, that of each element.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_grid(np.zeros((4, 8, 8)), Path(folder, "x.png"))
    ...     with Image.open(Path(folder, "x.png")) as picture:
    ...         picture.size  # enlarged, with lines between the data
    (152, 152)
    """
    tiles = _tiles(x, scale)
    note = "; ".join(filter(None, (note, _what_is_white(x, scale))))
    if tiles.ndim == 2:
        _save(tiles, path, note)
        return
    columns = columns or math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    height, width = tiles.shape[1:3]
    canvas = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, *tiles.shape[3:]), 96)
    for index, tile in enumerate(tiles):
        top, left = (index // columns) * (height + 1) + 1, (index % columns) * (width + 1) + 1
        canvas[top : top + height, left : left + width] = tile
    _save(canvas, path, note)


def plot_grid_pairs(data: Array, others: Array, path: Path, *, scale: float = 1.0) -> None:
    """Write data and their reconstructions as alternating rows of a grid."""
    columns = min(len(data), 16)
    rows = []
    for start in range(0, len(data), columns):
        for part in (data[start : start + columns], others[start : start + columns]):
            missing = columns - len(part)
            rows.append(np.concatenate([part, np.zeros_like(part[:1]).repeat(missing, 0)]))
    note = "a row of data, below it what the model makes of them"
    plot_grid(np.concatenate(rows), path, columns=columns, scale=scale, note=note)


def _tiles(x: Array, scale: float) -> Array:
    """Grey ``(N, H, W)`` or colour ``(N, H, W, 3)`` pictures; ``(N, D)`` for vectors."""
    values = np.clip(_levels(np.nan_to_num(x), scale), 0, 1) * 255
    pictures = values.round().astype(np.uint8)
    if pictures.ndim == 4:
        pictures = pictures.transpose(0, 2, 3, 1)
        if pictures.shape[3] == 1:
            return pictures[..., 0]
        if pictures.shape[3] != 3:
            raise RequestError(
                f"no picture shows data of shape {x.shape[1:]}: images are (H, W), (1, H, W) or "
                "(3, H, W); write a .npz"
            )
    if pictures.ndim > 4:
        raise RequestError(f"no picture shows data of shape {x.shape[1:]}; write a .npz")
    return pictures


def _levels(x: Array, scale: float) -> Array:
    if are_levels(x, scale):
        return x / scale
    elements = tuple(range(x.ndim - 1)) if x.ndim <= 3 else None
    low, high = x.min(elements, keepdims=True), x.max(elements, keepdims=True)
    return (x - low) / np.where(high > low, high - low, 1.0)


def are_levels(x: Array, scale: float) -> bool:
    """Whether data, and what a model may make of them, are grey levels from 0 to a scale.

    Examples
    --------
    >>> are_levels(np.array([-0.1, 1.2]), 1.0), are_levels(np.array([-3.0, 3.0]), 1.0)
    (True, False)
    """
    return bool(np.nanmin(x) >= -0.5 * scale and np.nanmax(x) <= 1.5 * scale)


def black_and_white(x: Array, scale: float) -> tuple[float, float]:
    """Return which values are black and white: 0 and the scale, or else the ends of the range."""
    return (0.0, scale) if are_levels(x, scale) else (float(np.nanmin(x)), float(np.nanmax(x)))


def _what_is_white(x: Array, scale: float) -> str:
    """Say which values are black and white, in the units of the data."""
    if are_levels(np.nan_to_num(x), scale):
        return f"0 black, {scale:g} white"
    return "each element from black to white over its range" if x.ndim <= 3 else "over their range"


def _save(canvas: Array, path: Path, note: str) -> None:
    zoom = max(1, min(_LARGEST_ZOOM, _GRID_PIXELS // max(canvas.shape[:2])))
    image = Image.fromarray(canvas.astype(np.uint8))
    image = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    content, said = io.BytesIO(), PngInfo()
    said.add_itxt(DESCRIPTION, note)
    image.save(content, "png", pnginfo=said)
    write_bytes(path, content.getvalue())
