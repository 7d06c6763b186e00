"""How a page draws data: as pictures, piano-rolls, curves, drawings or the row of a table."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.plots.grids import are_levels
from vaezoo.plots.style import sequence_style
from vaezoo.runs import Run

__all__ = ["Looks", "looks_of"]

Kind = Literal["image", "roll", "sound", "pen", "lines", "table", "curve"]
MOST_CELLS = 40  # values without names that are shown as the row of a table
QUANTILES = (0.005, 0.995)  # of the data: what a scale goes over


@dataclass(frozen=True)
class Looks:
    """How a datum is drawn.

    Attributes
    ----------
    kind
        ``image``, ``roll`` (keys of a piano), ``sound``, ``pen``, ``lines`` (a curve for each
        element of a frame), ``table`` (a row), or ``curve`` (one curve).
    low, high
        The ends of its scale: one for all, of lines and tables one for each element.
    names
        Of the elements of a row or frame.
    rate
        Samples a second, of sound.
    """

    kind: Kind
    low: tuple[float, ...]
    high: tuple[float, ...]
    names: tuple[str, ...] = ()
    rate: int | None = None


def looks_of(run: Run, x: Array) -> Looks:
    """Return how the data ``(N, *x_shape)`` of a run are drawn.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", training={"steps": 1})
    >>> looks = looks_of(run, run.find_data().x)
    >>> looks.kind, looks.low, looks.high
    ('image', (0.0,), (16.0,))
    """
    style, columns = sequence_style(run), tuple(run.info.get("columns", ()))
    if style is not None:
        by_element = style.picture == "lines"
        low, high = _scale(x, style.scale, by_element=by_element)
        return Looks(
            style.picture, low, high, tuple(map(style.name_of, range(x.shape[-1]))), style.rate
        )
    if _is_picture(x):
        return Looks("image", *_scale(x, run.transform.scale))
    if x.ndim == 2 and (len(columns) == x.shape[1] or x.shape[1] <= MOST_CELLS):
        names = columns or tuple(f"x{index}" for index in range(x.shape[1]))
        return Looks("table", *_scale(x, run.transform.scale, by_element=True), names)
    return Looks("curve", *_scale(x, run.transform.scale))


def _is_picture(x: Array) -> bool:
    return x.ndim == 3 or (x.ndim == 4 and x.shape[1] in (1, 3))


def _scale(
    x: Array, scale: float, *, by_element: bool = False
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the ends of a scale: of grey levels 0 and theirs, or else those of the data."""
    if by_element:
        ends = np.nanquantile(x.reshape(-1, x.shape[-1]), QUANTILES, axis=0)
    else:
        is_grey = are_levels(x, scale)
        ends = np.array([[0.0], [scale]]) if is_grey else np.nanquantile(x, QUANTILES)[:, None]
    low_ends, high_ends = np.nan_to_num(ends)
    wide = np.where(high_ends > low_ends, high_ends, low_ends + 1.0)
    return tuple(low_ends.tolist()), tuple(wide.tolist())
