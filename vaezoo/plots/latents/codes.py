"""A picture of the codes of a run: a map, what each element is worth, and how they correlate."""

from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.plots.paper import INK, NEW, new_figure, write_figure
from vaezoo.predict.latents.overview import LatentOverview
from vaezoo.predict.latents.plane import Plane
from vaezoo.runs import Run

__all__ = ["plot_codes"]

MOST_LABELS = 10  # that have a colour each
MOST_BARS = 20


def plot_codes(run: Run, seen: LatentOverview, path: Path) -> None:
    """Write the map of codes, KL and loss of each element, their correlations and their ranges."""
    figure, axes = new_figure(2, 2)
    figure.set_size_inches(10, 8.4)
    _map(axes[0, 0], seen)
    _bars(axes[0, 1], seen)
    _correlations(figure, axes[1, 0], seen)
    _ranges(axes[1, 1], seen)
    write_figure(figure, path, f"{run.name}: {len(seen.codes)} codes, {len(seen.units)} elements")


def _map(axis: Any, seen: LatentOverview) -> None:
    """Where codes lie, and q(z | x) about some where that has a shape in the map."""
    points, names, label = seen.map.points, seen.map.names, seen.label
    if label is not None and not isinstance(seen.map, Plane):
        label = label[seen.map.rows]
    colours = _colours(label)
    by_label = {"cmap": "tab10", "vmin": 0, "vmax": 9} if isinstance(colours, np.ndarray) else {}
    dots = axis.scatter(*points.T, s=12, c=colours, **by_label, alpha=0.7, linewidths=0)
    title = "codes" if len(points) == len(seen.codes) else f"{len(points)} of the codes"
    title += ", by label" if label is not None else ""
    if not isinstance(seen.map, Plane):
        title += "\ndistances, sizes and directions mean nothing"
        axis.set(xticks=[], yticks=[])
    elif seen.covariance.any():
        hues = dots.to_rgba(colours[seen.some]) if by_label else ["0.4"] * len(seen.some)
        _ellipses(axis, points[seen.some], seen.map.project_covariance(seen.covariance), hues)
        title += f"\nellipses: one and two sd of q(z | x), {len(seen.some)} of them"
    if label is not None and isinstance(colours, np.ndarray):
        for value in np.unique(label)[:MOST_LABELS]:
            middle = np.median(points[label == value], 0)
            axis.annotate(f"{value:g}", middle, fontsize=9, ha="center", weight="bold")
    axis.set(xlabel=names[0], ylabel=names[1], title=title)
    axis.set_aspect("equal", adjustable="datalim")


def _colours(label: Array | None) -> Array | str:
    if label is None or len(np.unique(label)) > MOST_LABELS:
        return INK
    return np.asarray(np.unique(label, return_inverse=True)[1])


def _ellipses(axis: Any, centres: Array, covariances: Array, hues: Any) -> None:
    """Points one and two standard deviations from centres ``(E, 2)``, of ``(E, 2, 2)``."""
    from matplotlib.patches import Ellipse

    for centre, covariance, hue in zip(centres, covariances, hues, strict=True):
        variances, ways = np.linalg.eigh(covariance)
        angle = np.degrees(np.arctan2(*ways[::-1, 1]))
        short, long = 2 * np.sqrt(variances.clip(0))
        for sd in (1, 2):
            edge = Ellipse(centre, sd * long, sd * short, angle=angle, fill=False, edgecolor=hue)
            axis.add_patch(edge).set_linewidth(0.9 / sd)


def _bars(axis: Any, seen: LatentOverview) -> None:
    """KL of each element, and what log p(x | z) loses without it."""
    some = slice(0, MOST_BARS)
    places = np.arange(len(seen.units[some]))
    kl = np.array([np.nan if unit.kl is None else unit.kl for unit in seen.units[some]])
    beside = 0.2 if np.isfinite(kl).any() else 0.0  # KL terms of an autoencoder are not there
    if beside:
        axis.bar(places - beside, kl, 0.4, color="0.6", label="KL")
    lost = "log p(x | z) lost without it"
    axis.bar(places + beside, seen.lost[some], 0.4, color=NEW, label=lost)
    axis.set_xticks(places, [unit.name for unit in seen.units[some]], fontsize=7, rotation=90)
    axis.set(ylabel="nats", title=f"{seen.num_active} of {len(seen.units)} elements are active")
    axis.legend(frameon=False, fontsize=8)


def _correlations(figure: Any, axis: Any, seen: LatentOverview) -> None:
    picture = axis.imshow(seen.correlation, cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
    figure.colorbar(picture, ax=axis, shrink=0.8)
    places = range(0, len(seen.units), max(1, len(seen.units) // MOST_BARS))
    names = [seen.units[place].name for place in places]
    axis.set_xticks(places, names, fontsize=7, rotation=90)
    axis.set_yticks(places, names, fontsize=7)
    axis.set(title="correlation of codes")


def _ranges(axis: Any, seen: LatentOverview) -> None:
    """Middle 95 % and median of draws of q, over all data, beside those of the prior."""
    some = slice(0, MOST_BARS)
    low, middle, high = np.quantile(seen.draws[:, some], (0.025, 0.5, 0.975), axis=0)
    places = np.arange(len(middle))
    axis.vlines(places, low, high, color=INK, zorder=3)
    axis.plot(places, middle, "o", color=INK, markersize=3, label="95 % and median of all draws")
    if seen.prior is not None:
        ends = np.quantile(seen.prior[:, some], (0.025, 0.975), axis=0)
        axis.bar(places, ends[1] - ends[0], 0.8, ends[0], color="0.9", label="95 % of the prior")
        low, high = np.minimum(low, ends[0]), np.maximum(high, ends[1])
    room = 0.25 * (high.max() - low.min())  # for the legend
    axis.set_ylim(low.min() - 0.2 * room, high.max() + room)
    axis.set_xticks(places, [unit.name for unit in seen.units[some]], fontsize=7, rotation=90)
    axis.set(title="all codes together, q(z)")
    axis.legend(frameon=False, fontsize=8)
