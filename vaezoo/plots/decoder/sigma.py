"""The decoder's sigma as a picture: where it is wide, and whether data lie as far as it says."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy.stats import binom

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.noise import NoiseScale
from vaezoo.plots.paper import INK, NEW, new_figure, write_figure
from vaezoo.plots.style import sequence_style
from vaezoo.runs import Run

__all__ = ["plot_noise_scale"]

NUM_BINS = 20
MOST_NAMES, MOST_LINES = 40, 6
ROOM = 165  # points for names, one below another
MARKERS = "osD"  # of the intervals, so that no colour is needed to tell them apart

Kind = Literal["map", "curve", "bars"]


def plot_noise_scale(run: Run, noise: NoiseScale, path: Path) -> None:
    """Write sigma, the residuals beside it, and the calibration of p(x | z), as a picture.

    Maps for images, curves over frames for sequences, bars for the columns of a table, each in
    deviations of its column. Where sigma depends on z, the sigmas of some data are there, too.
    """
    kind, names = _kind(run, noise.sigma), tuple(run.info.get("columns", ()))
    shows_data = kind == "map" and noise.depends_on_z
    figure, axes = new_figure(2 + shows_data, 3)
    figure.set_size_inches(12.5, 7.2 + 2.6 * shows_data)
    unit = np.where(noise.spread > 0, noise.spread, 1.0) if kind == "bars" else np.float64(1)
    sigma, residual = noise.sigma / unit, noise.residual / unit
    of = "deviations of x" if kind == "bars" else "units of x"
    largest = float(np.nanmax(np.stack([sigma, residual])))
    _PLOT[kind](figure, axes[0, 0], sigma, names, largest)
    _PLOT[kind](figure, axes[0, 1], residual, names, largest)
    _PLOT[kind](figure, axes[0, 2], noise.ratio_by_element, names, None)
    titles = (
        f"sigma, {of}\n{_spread(noise)}",
        f"rms of x - mean, {of}",
        "rms of (x - mean) / sigma",
    )
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=10)
    _pit(axes[1, 0], noise)
    _coverage(axes[1, 1], noise)
    _against(axes[1, 2], sigma, residual, of)
    if shows_data:
        _examples(figure, axes[2], noise)
    step = run.info.get("best_step")
    at = f", step {step:,}" if step else ""
    write_figure(figure, path, f"{run.name}{at}: sigma of p(x | z), a {noise.family}")


def _kind(run: Run, sigma: Array) -> Kind:
    style = sequence_style(run)
    if style is not None and style.picture != "image":
        return "curve"
    return "map" if sigma.ndim > 1 else "bars"


def _map(
    figure: Any, axis: Any, values: Array, names: Sequence[str], largest: float | None
) -> None:
    """A picture of the elements; of several channels their mean."""
    flat = values.mean(0) if values.ndim == 3 else values
    axis.spines[:].set_visible(False)
    axis.set(xticks=[], yticks=[])
    if largest is not None:
        picture = axis.imshow(flat, cmap="cividis", vmin=0, vmax=largest, interpolation="nearest")
        figure.colorbar(picture, ax=axis, shrink=0.8)
        return
    log = np.log2(np.maximum(flat, 1e-6))
    picture = axis.imshow(log, cmap="PuOr_r", vmin=-2, vmax=2, interpolation="nearest")
    bar = figure.colorbar(picture, ax=axis, shrink=0.8, ticks=[-2, -1, 0, 1, 2], extend="both")
    bar.ax.set_yticklabels(["1/4: too wide", "1/2", "1: right", "2", "4: too narrow"], fontsize=8)


def _curve(
    figure: Any, axis: Any, values: Array, names: Sequence[str], largest: float | None
) -> None:
    """A line over the frames for each element; of many, their median and middle 90 %."""
    elements = values.reshape(len(values), -1)
    if elements.shape[1] <= MOST_LINES:
        for index, line in enumerate(elements.T):
            name = names[index] if len(names) == elements.shape[1] else f"x{index}"
            axis.plot(line, linewidth=1.2, label=name)
        if elements.shape[1] > 1:
            axis.legend(frameon=False, fontsize=8)
    else:
        low, middle, high = np.nanquantile(elements, (0.05, 0.5, 0.95), axis=1)
        axis.fill_between(range(len(middle)), low, high, color="0.85", label="90 % of the elements")
        axis.plot(middle, color=INK, linewidth=1.2, label="median element")
        axis.legend(frameon=False, fontsize=8)
    axis.set_xlabel("frame")
    _mark_one(axis, largest, along="y")


def _bars(
    figure: Any, axis: Any, values: Array, names: Sequence[str], largest: float | None
) -> None:
    there = np.flatnonzero(~np.isnan(values))
    labels = names if len(names) == len(values) else [f"x{i}" for i in range(len(values))]
    places = np.arange(len(there))
    axis.barh(places, values[there], color="0.6")
    if len(there) <= MOST_NAMES:
        size = min(8, ROOM / max(1, len(there)))
        axis.set_yticks(places, [labels[place] for place in there.tolist()], fontsize=size)
    axis.invert_yaxis()
    _mark_one(axis, largest, along="x")


_PLOT = {"map": _map, "curve": _curve, "bars": _bars}


def _mark_one(axis: Any, largest: float | None, *, along: str) -> None:
    """Let both widths have one range, and mark the ratio that is right."""
    set_range = axis.set_ylim if along == "y" else axis.set_xlim
    if largest is not None:
        set_range(0, 1.05 * largest)
        return
    ends = axis.get_ylim() if along == "y" else axis.get_xlim()
    set_range(0, max(1.5, *ends))
    (axis.axhline if along == "y" else axis.axvline)(1, color=NEW, linestyle="--", linewidth=1)


def _spread(noise: NoiseScale) -> str:
    """Say by how much sigma differs between data, or that it does not."""
    if not noise.depends_on_z:
        return "the same for all z"
    with np.errstate(invalid="ignore", divide="ignore"):
        factor = float(np.nanmedian(noise.high / noise.low))
    return f"rms over data; 95 % is {factor:.2g} times 5 %"


def _pit(axis: Any, noise: NoiseScale) -> None:
    """Histogram of distribution functions at the data, and where its bars lie if all is right."""
    number = len(noise.pit)
    low, high = binom.ppf((0.0005, 0.9995), number, 1 / NUM_BINS) / number * NUM_BINS
    bars, _, _ = axis.hist(noise.pit, NUM_BINS, range=(0, 1), density=True, color="0.7")
    axis.set_ylim(0, 1.2 * max(bars.max(), high))  # with room for the legend
    axis.axhspan(low, high, color=NEW, alpha=0.25, linewidth=0, label="99.9 % of right bars")
    axis.set(xlabel="P(X <= x | z), z from q(z | x)", ylabel="density", title="PIT of held-out x")
    axis.legend(frameon=False, fontsize=8)


def _coverage(axis: Any, noise: NoiseScale) -> None:
    """What intervals hold, by element: the middle 90 % of the elements, and all entries."""
    axis.plot([0.4, 1], [0.4, 1], color="0.6", linewidth=0.8)
    for one, marker in zip(noise.coverage, MARKERS, strict=True):
        low, high = np.nanquantile(one.by_element, (0.05, 0.95))
        axis.vlines(one.level, low, high, color="0.6", linewidth=3)
        axis.plot(one.level, one.share, marker, color=NEW, markersize=8)
        axis.annotate(
            f"{one.share:.0%}",
            (one.level, one.share),
            (9, -3),
            fontsize=9,
            textcoords="offset points",
        )
    axis.set_xticks(
        [one.level for one in noise.coverage], [f"{c.level:.0%}" for c in noise.coverage]
    )
    axis.set(xlabel="interval of p(x | z)", ylabel="share of x that it holds", xlim=(0.4, 1.08))
    axis.set_title("coverage: all entries, and 90 % of the elements", fontsize=10)


def _against(axis: Any, sigma: Array, residual: Array, of: str) -> None:
    """The residual of each element against its sigma; on the line, sigma is right."""
    axis.plot(sigma.ravel(), residual.ravel(), "o", color=INK, markersize=3, alpha=0.6)
    top = 1.1 * float(np.nanmax([sigma, residual]))
    axis.plot([0, top], [0, top], color=NEW, linewidth=1)
    axis.set(xlabel=f"sigma, {of}", ylabel="rms of x - mean", title="each element", xlim=(0, top))
    axis.set_ylim(0, top)


def _examples(figure: Any, axes: Any, noise: NoiseScale) -> None:
    """Some data, with mean and sigma of p(x | z) at a draw of z."""
    parts = (
        (noise.examples, f"{len(noise.examples)} data"),
        (noise.means, "their means, at a draw of z"),
        (noise.sigmas, "their sigmas"),
    )
    for axis, (x, title) in zip(axes, parts, strict=True):
        tiles = np.nan_to_num(x.mean(1) if x.ndim == 4 else x).astype(np.float64)
        padded = np.pad(tiles, [(0, 0), (0, 1), (0, 1)], constant_values=np.nan)
        columns = max(1, len(padded) // 2)
        rows = [np.concatenate(list(padded[i : i + columns]), 1) for i in (0, columns)]
        sheet = np.concatenate([row for row in rows if row.shape == rows[0].shape])
        is_sigma = x is noise.sigmas
        picture = axis.imshow(
            sheet, cmap="cividis" if is_sigma else "gray", interpolation="nearest"
        )
        figure.colorbar(picture, ax=axis, shrink=0.8)
        axis.set(xticks=[], yticks=[], title=title)
        axis.spines[:].set_visible(False)
