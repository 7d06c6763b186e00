"""Forecasts of real values as bands."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.plots.paper import INK, new_sheet, write_figure
from vaezoo.plots.style import Style

__all__ = ["Band", "plot_bands"]

_BAND = "#1f77b4"
_SHOWN_BEFORE = 2  # frames of a beginning for each frame of a forecast


@dataclass(frozen=True)
class Band:
    """A beginning, quantiles of what may follow, and what followed.

    Attributes
    ----------
    begun
        Frames ``(P, D)`` that were given.
    quantiles
        5, 25, 50, 75 and 95 % of the frames behind them, ``(5, H, D)``.
    truth
        The frames that came, ``(H, D)``; nan where there were none.
    """

    begun: Array
    quantiles: Array
    truth: Array


def plot_bands(bands: Sequence[Band], path: Path, style: Style, *, note: str = "") -> None:
    """Write forecasts of real values as bands that hold 50 % and 90 % of the draws.

    A row is a sequence; a column is an element of its frames, the first four, or all of the sound.
    """
    columns = 1 if style.picture == "sound" else min(4, bands[0].begun.shape[1])
    size = (6.0, 1.7) if columns == 1 else (3.4, 1.7)
    figure, axes = new_sheet(len(bands) * columns, columns, size, Style("lines"), True)
    for row, band in enumerate(bands):
        for column, axis in enumerate(axes[row * columns : (row + 1) * columns]):
            _band(axis, band, style, column)
            if columns > 1 and row == 0:
                axis.set_title(style.name_of(column), fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    write_figure(figure, path, note)


def _band(axis: Any, band: Band, style: Style, column: int) -> None:
    """Plot one element against the frame, or the joined frames of a sound against time."""
    begun, truth, quantiles = band.begun, band.truth, band.quantiles
    step = 1.0
    if style.picture == "sound":
        begun, truth = begun.reshape(-1, 1), truth.reshape(-1, 1)
        quantiles = quantiles.reshape(len(quantiles), -1, 1)
        step = 1 / style.rate if style.rate else 1.0
    start = max(0, len(begun) - _SHOWN_BEFORE * len(truth))
    before = np.arange(start, len(begun)) * step
    after = (len(begun) + np.arange(len(truth))) * step
    low, lower, median, upper, high = quantiles[..., column]
    axis.plot(before, begun[start:, column], color="0.45", linewidth=0.7, label="given")
    axis.plot(after, truth[:, column], color=INK, linewidth=0.7, label="what came")
    axis.fill_between(after, low, high, color=_BAND, alpha=0.25, zorder=3, label="90 %")
    axis.fill_between(after, lower, upper, color=_BAND, alpha=0.45, zorder=3, label="50 %")
    axis.plot(after, median, color=_BAND, linewidth=0.9, zorder=3, label="median")
    axis.set_xlabel("seconds" if step < 1 else "frame", fontsize=7)
