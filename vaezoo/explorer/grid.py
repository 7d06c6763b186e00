"""A plane of a latent space, decoded point by point, as one picture of tiles."""

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from PIL import Image

from vaezoo.data.dataset import Array
from vaezoo.explorer.looks import Looks
from vaezoo.explorer.space import LatentSpace

__all__ = ["Grid", "grid_of"]

MOST_PIXELS = 4_000_000
MOST_DRAWN = 5  # curves or piano-rolls, each way
GREY = 96  # between two tiles
MARGIN = 0.05  # of the range of the codes, on either side


@dataclass(frozen=True)
class Grid:
    """Points of the plane of a map, and what a model makes of them.

    Attributes
    ----------
    places
        Coordinates to the right ``(C,)`` and upwards ``(R,)``.
    x
        In units of the data, ``(R, C, *x_shape)``, from below.
    low, high
        The ends of the levels of a tile, one for all or one for each element of a row or frame.
    """

    places: tuple[Array, Array]
    x: Array
    low: Array
    high: Array

    @property
    def step(self) -> tuple[float, float]:
        """How far apart points are; 0 where there is one."""
        across, up = (float(p[1] - p[0]) if len(p) > 1 else 0.0 for p in self.places)
        return across, up

    @property
    def every(self) -> tuple[int, int]:
        """Of how many points one is drawn where they are no pictures, each way."""
        across, up = (math.ceil(len(place) / MOST_DRAWN) for place in self.places)
        return across, up

    @property
    def tile(self) -> tuple[int, int]:
        """Width and height of a tile, in pixels."""
        shape = self.x.shape[2:]
        return (shape[-1], shape[-2] if len(shape) > 1 else 1)

    def levels(self) -> Array:
        """Return the tiles as one picture, the highest first, with a pixel between them.

        ``(R * (H + 1), C * (W + 1))``, or with 3 colours.
        """
        rows, columns = self.x.shape[:2]
        x = (np.nan_to_num(self.x) - self.low) / (self.high - self.low)
        levels = np.round(255 * x.clip(0, 1)).astype(np.uint8)
        width, height = self.tile
        tiles = levels.reshape(rows, columns, -1, height, width)[::-1]
        gaps = [(0, 0), (0, 0), (0, 0), (0, 1), (0, 1)]
        padded = np.pad(tiles, gaps, constant_values=GREY).transpose(0, 3, 1, 4, 2)
        picture = padded.reshape(rows * (height + 1), columns * (width + 1), -1)
        return picture[..., 0] if picture.shape[-1] == 1 else picture

    def png(self) -> bytes:
        """Return the picture as the content of a ``.png`` file."""
        content = io.BytesIO()
        Image.fromarray(self.levels()).save(content, "png", optimize=True)
        return content.getvalue()

    def as_url(self) -> str:
        """Return the picture as the address of an image in a page."""
        return f"data:image/png;base64,{base64.b64encode(self.png()).decode()}"


def grid_of(space: LatentSpace, looks: Looks, side: int, row: int) -> Grid:
    """Return a plane decoded at ``side`` points each way, fewer where data are large.

    What lies across the plane is as in the mean code, of a sequence as in the codes of ``row``,
    whose conditions hold for all.
    """
    size = int(np.prod(space.x.shape[1:]))
    number = max(2, min(side, int(np.sqrt(MOST_PIXELS / size))))
    across, up = (_range(space.plane.points[:, axis], number) for axis in range(2))
    places = np.stack(np.meshgrid(across, up), -1).reshape(-1, 2)
    x = _as_tiles(space.over_plane(places, row))
    low, high = np.array(looks.low), np.array(looks.high)
    if looks.kind not in ("image", "roll"):
        low, high = (end(x.reshape(-1, x.shape[-1]), axis=0) for end in (np.nanmin, np.nanmax))
        high = np.where(high > low, high, low + 1.0)
    return Grid((across, up), x.reshape(len(up), len(across), *x.shape[1:]), low, high)


def _range(points: Array, number: int) -> Array:
    """Return values over a range of codes; one where all are the same."""
    low, high = float(points.min()), float(points.max())
    margin = MARGIN * (high - low)
    return np.linspace(low - margin, high + margin, number) if high > low else np.array([low])


def _as_tiles(x: Array) -> Array:
    """Return data as a page draws them: pictures, frames or rows; of more dimensions, the last."""
    is_picture = x.ndim == 4 and x.shape[1] in (1, 3)
    return x if x.ndim <= 3 or is_picture else x.reshape(len(x), -1, x.shape[-1])
