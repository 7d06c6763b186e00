"""Columns of a table: how what a model draws is distributed, and how near reconstructions come."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.plots.paper import NEW, write_figure

__all__ = ["MOST_ELEMENTS", "plot_column_pairs", "plot_columns"]

MOST_ELEMENTS = 40  # of vectors that are taken for rows of a table; of more, pixels say more
MOST_COLUMNS, IN_A_ROW = 20, 5
MOST_WHOLE_NUMBERS = 20  # that have a bar each
NUM_BINS = 16
LONGEST_NAME = 24  # characters
GREY = "0.8"


def plot_columns(
    x: Array, names: Sequence[str], path: Path, *, beside: Array | None = None
) -> None:
    """Write a histogram of each column, upon that of the data.

    Parameters
    ----------
    x
        What a model made, ``(N, D)``, in units of the data.
    names
        Of the columns; empty where they have none.
    path
        A ``.png`` file.
    beside
        Data ``(M, D)``.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_columns(np.eye(3), ["a", "b", "c"], Path(folder, "x.png"), beside=np.eye(3))
    ...     Path(folder, "x.png").stat().st_size > 1000
    True
    """
    figure, axes = _sheet(x.shape[1], names)
    for column, axis in axes:
        made = _finite(x[:, column])
        data = made[:0] if beside is None else _finite(beside[:, column])
        if not len(made) + len(data):
            continue
        edges = _edges(np.concatenate([made, data]))
        if len(data):
            axis.hist(data, edges, density=True, color=GREY)
        axis.hist(made, edges, density=True, histtype="step", color=NEW)
        axis.set_yticks([])
    if beside is not None:
        _add_legend(figure)
    write_figure(figure, path, _note(x.shape[1]))


def plot_column_pairs(data: Array, others: Array, names: Sequence[str], path: Path) -> None:
    """Write what a model makes of data against them, column by column; on the line, it is the same.

    Both are ``(N, D)``, in units of the data; what is missing is left out.
    """
    figure, axes = _sheet(data.shape[1], names)
    for column, axis in axes:
        both = np.stack([data[:, column], others[:, column]]).astype(np.float64)
        both = both[:, np.isfinite(both).all(0)]
        axis.plot(*both, ".", color=NEW, markersize=3)
        if both.size:
            axis.axline((both.min(), both.min()), slope=1, color="0.6", linewidth=0.8, zorder=0)
    figure.supxlabel("data", fontsize=8)
    figure.supylabel("of the model", fontsize=8)
    write_figure(figure, path, _note(data.shape[1]))


def _add_legend(figure: Any) -> None:
    """Say above all what is what, where it covers nothing."""
    from matplotlib.patches import Patch

    kinds = [Patch(color=GREY, label="data"), Patch(fill=False, ec=NEW, label="of the model")]
    figure.legend(handles=kinds, loc="upper right", ncols=2, frameon=False, fontsize=8)


def _sheet(number: int, names: Sequence[str]) -> tuple[Any, Iterator[tuple[int, Any]]]:
    """Return a figure, and each column that it has room for with its axis."""
    from matplotlib.figure import Figure

    shown = min(number, MOST_COLUMNS)
    columns = min(shown, IN_A_ROW)
    rows = math.ceil(shown / columns)
    figure = Figure(figsize=(1.8 * columns + 0.6, 1.5 * rows + 0.7), dpi=120)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    height = figure.get_figheight()
    figure.subplots_adjust(0.08, 0.5 / height, 0.98, 1 - 0.5 / height, 0.25, 0.6)
    for place, axis in enumerate(axes):
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=6)
        axis.set_visible(place < shown)
        if place < shown:
            axis.set_title(_short(str(names[place] if names else f"x{place}")), fontsize=7)
    return figure, zip(range(shown), axes, strict=False)


def _short(name: str) -> str:
    """Return a name that is no longer than its panel, cut in its middle.

    Examples
    --------
    >>> _short("hue"), _short("od280/od315_of_diluted_wines")
    ('hue', 'od280/od315~luted_wines')
    """
    if len(name) <= LONGEST_NAME:
        return name
    half = (LONGEST_NAME - 1) // 2
    return f"{name[:half]}~{name[-half:]}"


def _finite(values: Array) -> Array:
    return values[np.isfinite(values)].astype(np.float64)


def _edges(values: Array) -> Array:
    """Return edges of bars: about each whole number where they are few, else of the middle 99 %."""
    low, high = values.min(), values.max()
    if (values == np.round(values)).all() and high - low < MOST_WHOLE_NUMBERS:
        return np.arange(low, high + 2) - 0.5
    low, high = np.quantile(values, (0.005, 0.995))
    return np.linspace(low, high if high > low else low + 1, NUM_BINS + 1)


def _note(number: int) -> str:
    return f"the first {MOST_COLUMNS} of {number} columns" if number > MOST_COLUMNS else ""
