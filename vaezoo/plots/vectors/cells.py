"""Rows of a table beside each other as coloured cells: a line for each column, by its name."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.data.transform import Transform
from vaezoo.plots.grids import are_levels
from vaezoo.plots.paper import write_figure
from vaezoo.plots.vectors.columns import MOST_ELEMENTS

__all__ = ["centre_and_unit", "plot_cells"]

ACROSS = 4  # panels beside each other
CELL = (0.22, 0.17)  # inches
MOST_DEVIATIONS = 3.0


def plot_cells(
    panels: Mapping[str, Array],
    titles: Sequence[str],
    names: Sequence[str],
    transform: Transform,
    path: Path,
    note: str,
) -> None:
    """Write a panel for each set of rows; a row of the table stands upright in it.

    Colours are deviations from the mean of each column; grey levels stay.

    Parameters
    ----------
    panels
        Rows ``(S, D)`` by what stands above them, in units of the data.
    titles
        Of the S rows, below the lowest panels.
    names
        Of the D columns; empty where they have none.
    transform
        Of the data.
    path
        A ``.png`` file.
    note
        A line above all.
    """
    from matplotlib.figure import Figure

    whole = np.concatenate(list(panels.values())).astype(np.float64)
    centre, unit, look, words = _colours(whole, transform)
    across = min(ACROSS, len(panels))
    down, (rows, elements) = math.ceil(len(panels) / across), next(iter(panels.values())).shape
    width = across * max(1.4, CELL[0] * rows) + 3.2
    height = down * (max(0.8, CELL[1] * elements) + 0.6) + 0.6
    figure = Figure(figsize=(width, height), layout="constrained", dpi=120)
    axes = figure.subplots(down, across, squeeze=False, sharey=True).ravel()
    for axis, (label, x) in zip(axes, panels.items(), strict=False):
        picture = axis.imshow(((x - centre) / unit).T, **look)
        axis.set_title(label, fontsize=8)
        axis.set_xticks(range(rows), titles)
        axis.tick_params(length=0, labelsize=7)
        axis.spines[:].set_visible(False)
    for axis in axes[len(panels) :]:
        axis.set_axis_off()
    if elements <= MOST_ELEMENTS:
        labels = names if len(names) == elements else [f"x{place}" for place in range(elements)]
        axes[0].set_yticks(range(elements), labels)
    figure.colorbar(picture, ax=list(axes), shrink=0.8, label=words)
    write_figure(figure, path, note)


def centre_and_unit(x: Array, transform: Transform) -> tuple[Array, Array]:
    """Return the mean and the deviation of each column, which has units of its own.

    Those of the training rows where they are standardised, or else of ``x``, ``(N, D)``; 0 and 1
    where a column has no value, and the unit 1 where it has one. Shares in columns beside
    standardised ones stay.

    Examples
    --------
    >>> x = np.array([[1.0, np.nan, 5.0], [3.0, np.nan, 5.0]])
    >>> [one.tolist() for one in centre_and_unit(x, Transform())]
    [[2.0, 0.0, 5.0], [1.0, 1.0, 1.0]]
    """
    number = np.maximum((~np.isnan(x)).sum(0), 1)
    centre = np.nansum(x, 0) / number
    unit = np.sqrt(np.nansum((x - centre) ** 2, 0) / number)
    if transform.mean is not None and transform.std is not None:
        # counts are not standardised, and no share either
        counts = (transform.mean == 0) & (transform.std == 1) & (np.abs(x) > 1).any(0)
        centre = np.where(counts, centre, transform.mean * transform.scale)
        unit = np.where(counts, unit, transform.spread)
    return centre, np.where(unit > 0, unit, 1.0)


def _colours(x: Array, transform: Transform) -> tuple[Array, Array, dict[str, Any], str]:
    """Return centre and unit of each column, how cells are drawn, and what a colour is."""
    look: dict[str, Any] = {"interpolation": "nearest", "aspect": "auto"}
    if transform.std is None and are_levels(x, transform.scale):
        ends = {"cmap": "cividis", "vmin": 0, "vmax": transform.scale}
        return np.zeros(1), np.ones(1), look | ends, "x"
    centre, unit = centre_and_unit(x, transform)
    most = min(MOST_DEVIATIONS, float(np.nanmax(np.abs((x - centre) / unit), initial=1e-3)))
    return centre, unit, look | {"cmap": "PuOr_r", "vmin": -most, "vmax": most}, "deviations of x"
