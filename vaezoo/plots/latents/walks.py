"""Ways through a latent space as pictures: traversals, interpolations, moved codes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.plots.panels import Panel, plot_panels
from vaezoo.plots.paper import write_figure
from vaezoo.plots.sequences import without_end
from vaezoo.plots.style import sequence_style
from vaezoo.predict.latents.arithmetic import Arithmetic
from vaezoo.predict.latents.interpolation import Interpolation
from vaezoo.predict.latents.traversal import Traversal
from vaezoo.runs import Run

__all__ = ["plot_arithmetic", "plot_interpolation", "plot_traversal"]

MOST_MOVED = 12  # data whose codes were moved that a picture shows
GAP = 1  # pixels between two tiles


@dataclass(frozen=True)
class _Strip:
    """A row of pictures, and what stands at its left."""

    label: str
    x: Array


def plot_traversal(run: Run, traversal: Traversal, rows: Sequence[int], path: Path) -> None:
    """Write a row of pictures for each latent that was moved; of several data one below another."""
    strips = []
    for place, row in enumerate(rows):
        for number, unit in enumerate(traversal.units):
            kl = "" if unit.kl is None else f"  {unit.kl:.2f} nats"
            datum = f"row {row}: " if len(rows) > 1 else ""
            strips.append(_Strip(f"{datum}{unit.name}{kl}", traversal.x[place, number]))
    values = traversal.values.shape[1]
    ends = ["2.5 %", *[""] * (values - 2), "97.5 %"]
    _plot(run, strips, ends, path, f"{run.name}: each latent over the range of the codes")


def plot_interpolation(run: Run, way: Interpolation, path: Path) -> None:
    """Write the way through the latent space above the straight one."""
    strips = [_Strip("between codes", way.x), _Strip("between data", way.straight)]
    titles = [f"{position:.2g}" for position in way.positions]
    _plot(run, strips, titles, path, run.name)


def plot_arithmetic(run: Run, moved: Arithmetic, path: Path) -> None:
    """Write what becomes of codes as they are above what becomes of them when they are moved."""
    by = moved.direction
    some = slice(0, MOST_MOVED)
    strips = [
        _Strip(f"label {by.minus:g}", moved.data[some]),
        _Strip(f"moved to {by.plus:g}", moved.x[some]),
    ]
    _plot(run, strips, [""] * len(moved.data[some]), path, run.name)


def _plot(run: Run, strips: Sequence[_Strip], titles: Sequence[str], path: Path, note: str) -> None:
    style = sequence_style(run)
    if style is None or style.picture == "image":
        _plot_tiles(run, strips, titles, path, note)
        return
    panels = [
        Panel(without_end(x), f"{strip.label}, {title}" if title or not index else "")
        for strip in strips
        for index, (title, x) in enumerate(zip(titles, strip.x, strict=True))
    ]
    plot_panels(panels, path, style, columns=len(titles), note=note)


def _plot_tiles(
    run: Run, strips: Sequence[_Strip], titles: Sequence[str], path: Path, note: str
) -> None:
    """Draw images, or vectors as columns of pixels, in one sheet with a label for each row."""
    from matplotlib.figure import Figure

    sheet = np.concatenate([_tiled(strip.x) for strip in strips])
    height, width = len(sheet) // len(strips), sheet.shape[1] // len(titles)
    inches = 0.62 if strips[0].x.ndim > 2 else 0.3
    size = (2.2 + inches * len(titles), 0.7 + inches * len(titles) * len(sheet) / sheet.shape[1])
    figure = Figure(figsize=size, layout="constrained", dpi=120)
    axis = figure.subplots()
    low, high = _limits(run, strips)
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


def _limits(run: Run, strips: Sequence[_Strip]) -> tuple[float, float]:
    """Return what is black and what is white: the scale of grey levels, or else the whole range."""
    whole = np.concatenate([strip.x.ravel() for strip in strips])
    low, high = float(np.nanmin(whole)), float(np.nanmax(whole))
    scale = run.transform.scale
    return (0.0, scale) if -0.5 * scale <= low and high <= 1.5 * scale else (low, high)


def _tiled(x: Array) -> Array:
    """Return pictures ``(S, ...)`` side by side, with a gap of nan around each."""
    tiles = np.nan_to_num(x.astype(np.float64))
    if tiles.ndim == 2:
        tiles = tiles[:, :, None]
    if tiles.ndim == 4:  # channels first; a figure wants them last, grey ones not at all
        tiles = np.moveaxis(tiles, 1, -1)
        tiles = tiles[..., 0] if tiles.shape[-1] == 1 else tiles.clip(0, None)
    edges = [(0, 0), (0, GAP), (0, GAP), *[(0, 0)] * (tiles.ndim - 3)]
    padded = np.pad(tiles, edges, constant_values=np.nan)
    return np.concatenate(list(padded), axis=1)
