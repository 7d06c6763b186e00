"""Figures of forecasts and of missing entries that were filled in."""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.plots.bands import Band, plot_bands
from vaezoo.plots.grids import plot_grid
from vaezoo.plots.panels import Panel, plot_panels
from vaezoo.plots.sequences import without_end
from vaezoo.plots.style import Style, sequence_style
from vaezoo.predict.forecasting import quantiles, values_of
from vaezoo.predict.imputation import Imputation
from vaezoo.runs import Run

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["plot_forecast", "plot_imputation"]

_MOST_ROWS = {"image": 8, "roll": 4, "sound": 6, "pen": 8, "lines": 4}
_DRAWS = {"image": 8, "pen": 8}


def plot_forecast(run: Run, tree: "xr.DataTree", path: Path) -> None:
    """Write a forecast as a picture of its kind.

    Real values as bands; piano-rolls as what came beside the probability of each note; drawings and
    images as what came and several draws.
    """
    style = sequence_style(run)
    if style is None:
        raise RequestError(f"{run.name} is no run on sequences")
    rows = _MOST_ROWS[style.picture]
    begun = [without_end(one) for one in values_of(tree, "observed_data", "x")[:rows]]
    truth = values_of(tree, "truth", "x")[:rows]
    if style.picture in ("sound", "lines"):
        bands = quantiles(tree).values
        plot_bands(
            [Band(one, bands[:, row], truth[row]) for row, one in enumerate(begun)],
            path,
            style,
        )
    elif style.picture == "roll" and "probability" in tree["predictions"]:
        probability = values_of(tree, "predictions", "probability") * style.scale
        _plot_rolls(begun, truth, probability, path, style)
    else:
        _plot_continuations(begun, truth, values_of(tree, "predictions", "x")[0], path, style)


def _plot_rolls(
    begun: list[Array], truth: Array, probability: Array, path: Path, style: Style
) -> None:
    panels = []
    for row, one in enumerate(begun):
        titles = ("what came", "probability of each note") if row == 0 else ("", "")
        for title, after in zip(titles, (without_end(truth[row]), probability[row]), strict=True):
            panels.append(Panel(np.concatenate([one, after]), title, begun=len(one)))
    plot_panels(panels, path, style, columns=2)


def _plot_continuations(
    begun: list[Array], truth: Array, draws: Array, path: Path, style: Style
) -> None:
    count = min(_DRAWS.get(style.picture, 3), len(draws))
    panels = []
    for row, one in enumerate(begun):
        came = without_end(truth[row])
        panels.append(Panel(np.concatenate([one, came]), "what came" if row == 0 else "", len(one)))
        for draw in range(count):
            title = f"draw {draw + 1}" if row == 0 else ""
            panels.append(Panel(np.concatenate([one, draws[draw, row]]), title, len(one)))
    plot_panels(panels, path, style, columns=1 + count)


def plot_imputation(run: Run, imputation: Imputation, path: Path) -> None:
    """Write what is known, the mean of the draws, draws, and what is true, side by side.

    Images are written as rows of that order.
    """
    style = sequence_style(run)
    if style is None:
        _plot_images(imputation, path, run.transform.scale)
        return
    panels: list[Panel] = []
    for row in range(min(len(imputation.truth), _MOST_ROWS[style.picture])):
        panels += _filled_in(imputation, row, style)
    columns = len(_filled_in(imputation, 0, style))
    plot_panels(panels, path, style, columns=columns)


def _filled_in(imputation: Imputation, row: int, style: Style) -> list[Panel]:
    """Plot one sequence: what is known of it, the mean, draws, and what is true."""
    truth, new = imputation.truth[row], imputation.missing[row]
    end = len(truth) if imputation.length is None else int(imputation.length[row])
    is_drawing, is_grid = style.picture == "pen", style.picture in ("image", "roll")
    shown = {} if is_drawing else {"known": np.where(new, np.nan, truth)}
    shown["mean"] = imputation.mean[row]
    draws = np.linspace(0, len(imputation.x) - 1, 6 if is_drawing else 2)[1:].round().astype(int)
    shown |= {f"draw {n + 1}": imputation.x[n, row] for n in draws}
    shown["what is true"] = truth[:0] if np.isnan(truth[:end]).any() else truth
    marked = {"known"} if is_grid else set(shown)
    return [
        Panel(
            x[:end], title if row == 0 else "", new=new[: len(x[:end])] if title in marked else None
        )
        for title, x in shown.items()
    ]


def _plot_images(imputation: Imputation, path: Path, scale: float) -> None:
    some = slice(0, 16)
    observed = np.where(imputation.missing[some], scale / 2, imputation.truth[some])
    rows = [observed, imputation.mean[some], imputation.x[-1, some]]
    if not np.isnan(imputation.truth[some]).any():
        rows.append(imputation.truth[some])
    plot_grid(np.concatenate(rows), path, columns=len(observed), scale=scale)
