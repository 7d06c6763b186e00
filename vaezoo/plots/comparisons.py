"""Runs side by side as a picture: differences with their intervals, and where they come from."""

from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.plots.paper import INK, NEW, new_figure, write_figure
from vaezoo.predict.comparison.comparing import Comparison

__all__ = ["plot_comparison"]

MOST = 4  # sides whose differences are shown datum by datum


def plot_comparison(comparison: Comparison, path: Path) -> None:
    """Write differences from the best with their intervals, beside their spread over data."""
    figure, axes = new_figure(1, 2)
    figure.set_size_inches(10, 1.8 + 0.35 * max(3, len(comparison.sides)))
    _intervals(axes[0], comparison)
    _spread(axes[1], comparison)
    best = comparison.sides[0].name
    rows = f"{comparison.num_rows} {comparison.split} rows"
    write_figure(
        figure, path, f"log p(x) less that of {best}, {rows}, K = {comparison.num_samples}"
    )


def _intervals(axis: Any, comparison: Comparison) -> None:
    sides = comparison.sides
    axis.axvline(0, color="0.6", linewidth=1)
    for place, side in enumerate(sides):
        if side.difference is None or side.difference.interval is None:
            axis.plot(
                0 if side.difference is None else side.difference.value, place, "o", color=INK
            )
            continue
        colour = INK if side.difference.is_zero_within else NEW
        axis.plot(side.difference.interval, (place, place), color=colour, linewidth=2)
        axis.plot(side.difference.value, place, "o", color=colour)
    axis.set_yticks(range(len(sides)), [side.name for side in sides], fontsize=8)
    axis.invert_yaxis()
    axis.set(xlabel=f"nats per {comparison.unit}, with 95 % intervals")


def _spread(axis: Any, comparison: Comparison) -> None:
    """Of each datum the difference from the best, sorted."""
    best = comparison.values[0].mean(0)
    shown = list(zip(comparison.sides, comparison.values, strict=True))[1 : 1 + MOST]
    for side, values in shown:
        ordered = np.sort(values.mean(0) - best)
        axis.plot(np.linspace(0, 1, len(ordered)), ordered, label=side.name, linewidth=1.2)
    axis.axhline(0, color="0.6", linewidth=1)
    axis.set(xlabel="share of the data", ylabel="nats per row, sorted")
    axis.legend(frameon=False, fontsize=8)
