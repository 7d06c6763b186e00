"""A result as a picture: each measure of each variant, with its interval, by data set."""

from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.plots.paper import INK, NEW, new_figure, write_figure
from vaezoo.study.design import Study
from vaezoo.study.result import Result

__all__ = ["plot_result"]

MOST = 6  # measures that are shown: those of the claims come first
TWO_ERRORS = 2.0


def plot_result(study: Study, result: Result, path: Path) -> None:
    """Write the measures of the claims, then others, one column for each data set."""
    measures = list(
        dict.fromkeys(
            [*(claim.measure for claim in study.claims), *(r.measure for r in result.rows)]
        )
    )
    measures = [name for name in measures if any(r.measure == name for r in result.rows)][:MOST]
    sets = list(dict.fromkeys(row.data for row in result.rows))
    variants = list(dict.fromkeys(row.variant for row in result.rows))
    figure, axes = new_figure(len(measures), len(sets))
    figure.set_size_inches(4.2 * len(sets), len(measures) * (0.9 + 0.24 * len(variants)))
    for row, measure in zip(np.reshape(axes, (-1, len(sets))), measures, strict=True):
        for axis, data in zip(row, sets, strict=True):
            _panel(axis, result, data, measure, variants, is_first=axis is row[0])
    seeds = f"{result.seeds} seeds" if result.seeds > 1 else "one seed"
    write_figure(figure, path, f"{result.study}: mean of {seeds}, two standard errors")


def _panel(
    axis: Any, result: Result, data: str, measure: str, variants: list[str], *, is_first: bool
) -> None:
    unit = ""
    for place, variant in enumerate(variants):
        row = result.row(data, variant, measure)
        if row is None:
            continue
        unit = row.unit
        colour = NEW if row.difference is not None and not row.difference.is_zero_within else INK
        half = TWO_ERRORS * (row.error or 0.0)
        axis.plot((row.value - half, row.value + half), (place, place), color=colour, linewidth=2)
        axis.plot(row.value, place, "o", color=colour, markersize=4)
    axis.set_yticks(
        range(len(variants)), variants if is_first else [""] * len(variants), fontsize=8
    )
    axis.tick_params(axis="x", labelsize=8)
    axis.set_ylim(len(variants) - 0.5, -0.5)
    axis.set_xlabel(f"{measure}{f', {unit}' if unit else ''}, {data}", fontsize=8)
    axis.grid(axis="x", color="0.9")
