"""Rows of pictures with words at their left, and titles above their columns."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.plots.grids import black_and_white
from vaezoo.plots.panels import Panel, plot_panels
from vaezoo.plots.paper import INK, NEW, new_figure, write_figure
from vaezoo.plots.sequences import without_end
from vaezoo.plots.style import sequence_style
from vaezoo.plots.vectors.cells import centre_and_unit, plot_cells
from vaezoo.runs import Run

__all__ = ["Strip", "plot_side_by_side", "plot_strips"]

GAP = 1  # pixels between two tiles
INCHES = 0.62  # of a tile
MOST_ROWS = {"image": 12, "roll": 4, "sound": 6, "pen": 10, "lines": 6}
MOST_NAMES = 40
MOST_COLUMNS = {"image": 20, "roll": 4, "sound": 4, "pen": 12, "lines": 5}


@dataclass(frozen=True)
class Strip:
    """A row of pictures, and what stands at its left."""

    label: str
    x: Array


def plot_side_by_side(
    run: Run, data: Array | None, x: Array, titles: Sequence[str], path: Path, note: str
) -> None:
    """Write a row for each datum: what it is, if there is one, and all that is made of it.

    Parameters
    ----------
    run
        Whose data they are.
    data
        ``(N, *x_shape)``; None where x were drawn from nothing.
    x
        ``(N, S, *x_shape)``.
    titles
        Of the S columns.
    path
        A ``.png`` file.
    note
        A line above all; that not everything is shown is added.
    """
    style = sequence_style(run)
    kind = style.picture if style else ("image" if x.ndim > 3 else "lines")
    rows, columns = MOST_ROWS[kind], MOST_COLUMNS[kind] - (data is not None)
    left_out = [
        f"the first {most} of {number} {what}"
        for what, number, most in (("rows", len(x), rows), ("columns", x.shape[1], columns))
        if number > most and not (x.ndim == 3 and what == "columns")
    ]
    note = "; ".join([note, *left_out])
    if x.ndim == 3:
        _plot_vectors(run, None if data is None else data[:rows], x[:rows], titles, path, note)
        return
    strips = [
        Strip(f"draw {row + 1}", several)
        if data is None
        else Strip(f"row {row}", np.concatenate([data[row, None], several]))
        for row, several in enumerate(x[:rows, :columns])
    ]
    heads = [*(["data"] if data is not None else []), *titles[:columns]]
    heads = [head.replace(": ", ":\n") for head in heads]  # a picture is no wider than a word
    plot_strips(run, strips, heads, path, note)


def _plot_vectors(
    run: Run, data: Array | None, x: Array, titles: Sequence[str], path: Path, note: str
) -> None:
    """Write a panel for each row of a table: what it is, and all that is made of it, by column."""
    whole = x.reshape(-1, x.shape[-1]) if data is None else data
    centre, unit = centre_and_unit(whole, run.transform)
    names = tuple(run.info.get("columns", ()))
    figure, axes = new_figure(len(x), 1)
    figure.set_size_inches(max(5.0, 0.28 * x.shape[-1] + 2.0), 1.3 * len(x) + 1.2)
    places = np.arange(x.shape[-1])
    for row, axis in enumerate(np.ravel(axes)):
        for several, title in zip(x[row], titles, strict=True):
            marker = "_" if title.endswith("mean") else "."
            axis.plot(places, (several - centre) / unit, marker, color=NEW, alpha=0.6)
        if data is not None:
            axis.plot(places, (data[row] - centre) / unit, "x", color=INK)
        axis.set_ylabel(f"row {row}", fontsize=8)
        axis.set_xticks(places, [])
    labels = names if len(names) == len(places) else [f"x{place}" for place in places]
    if len(places) <= MOST_NAMES:
        axis.set_xticks(places, labels, rotation=90, fontsize=7)
    pairs = any(title.endswith("sample") for title in titles)
    marks = "bars: means, dots: draws" if pairs else "dots: what is made of it"
    crosses = "" if data is None else "crosses: data, "
    write_figure(figure, path, f"{note}\n{crosses}{marks}; in deviations of each column")


def plot_strips(
    run: Run, strips: Sequence[Strip], titles: Sequence[str], path: Path, note: str
) -> None:
    """Write rows of pictures of a run's data, each with a label, below the titles of the columns.

    Images become one sheet, sequences pictures of their kind, and strips of a table panels of
    coloured cells.
    """
    style = sequence_style(run)
    if style is None and strips[0].x.ndim == 2:
        names = tuple(run.info.get("columns", ()))
        by_label = {strip.label: strip.x for strip in strips}
        plot_cells(by_label, titles, names, run.transform, path, note)
        return
    if style is None or style.picture == "image":
        _plot_tiles(run, strips, titles, path, note)
        return
    panels = [
        Panel(without_end(x), f"{strip.label}\n{title}" if title or not index else "")
        for strip in strips
        for index, (title, x) in enumerate(zip(titles, strip.x, strict=True))
    ]
    plot_panels(panels, path, style, columns=len(titles), note=note)


def _plot_tiles(
    run: Run, strips: Sequence[Strip], titles: Sequence[str], path: Path, note: str
) -> None:
    """Draw images in one sheet with a label for each row."""
    from matplotlib.figure import Figure

    sheet = np.concatenate([_tiled(strip.x) for strip in strips])
    height, width = len(sheet) // len(strips), sheet.shape[1] // len(titles)
    across = INCHES * len(titles)
    size = (2.2 + across, 0.7 + across * len(sheet) / sheet.shape[1])
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    axis = figure.subplots()
    whole = np.concatenate([strip.x.ravel() for strip in strips])
    low, high = black_and_white(whole, run.transform.scale)
    axis.imshow(sheet, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
    _label(axis, [strip.label for strip in strips], titles, height, width)
    write_figure(figure, path, note)


def _label(
    axis: Any, labels: Sequence[str], titles: Sequence[str], height: int, width: int
) -> None:
    axis.set_yticks((np.arange(len(labels)) + 0.5) * height - 0.5, labels, fontsize=8)
    axis.set_xticks((np.arange(len(titles)) + 0.5) * width - 0.5, titles, fontsize=8)
    axis.xaxis.tick_top()
    axis.tick_params(length=0)
    axis.spines[:].set_visible(False)


def _tiled(x: Array) -> Array:
    """Return pictures ``(S, ...)`` side by side, with a gap of nan around each."""
    tiles = np.nan_to_num(x.astype(np.float64))
    if tiles.ndim == 4:  # channels first; a figure wants them last, grey ones not at all
        tiles = np.moveaxis(tiles, 1, -1)
        tiles = tiles[..., 0] if tiles.shape[-1] == 1 else tiles.clip(0, None)
    edges = [(0, 0), (0, GAP), (0, GAP), *[(0, 0)] * (tiles.ndim - 3)]
    padded = np.pad(tiles, edges, constant_values=np.nan)
    return np.concatenate(list(padded), axis=1)
