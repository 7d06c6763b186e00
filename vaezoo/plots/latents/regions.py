"""A plane of codes as a picture: what is decoded there, and which class is seen in it."""

from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.plots.grids import black_and_white
from vaezoo.plots.paper import INK, new_figure, write_figure
from vaezoo.predict.latents.regions import Regions
from vaezoo.runs import Run

__all__ = ["plot_regions"]

MOST_LABELS = 10  # that have a colour each
BOX = {"boxstyle": "round,pad=0.15", "fc": "white", "lw": 0}
DARKEST = 0.18  # how much of its colour a black pixel has


def plot_regions(run: Run, seen: Regions, path: Path) -> None:
    """Write the decoded plane, tinted by the class that is seen, and codes of data over regions.

    What is no picture has the probability of the class in place of it. Regions have borders and
    names, so that no colour is needed to tell them apart.
    """
    figure, axes = new_figure(1, 2)
    figure.set_size_inches(13, 6.6)
    colours = _colours(seen)
    if seen.x.ndim in (4, 5):
        axes[0].imshow(
            _sheet(run, seen, colours), interpolation="nearest", extent=_extent(seen), aspect="auto"
        )
        axes[0].set_title("decoded, tinted by the class that a classifier sees")
    else:
        picture = axes[0].imshow(
            seen.probability,
            cmap="cividis",
            vmin=0,
            vmax=1,
            origin="lower",
            extent=_extent(seen),
            aspect="auto",
        )
        figure.colorbar(picture, ax=axes[0], shrink=0.8)
        axes[0].set_title("probability of the class that is seen")
    axes[1].imshow(colours, origin="lower", extent=_extent(seen), aspect="auto", alpha=0.35)
    axes[1].scatter(*seen.plane.points.T, s=9, color=INK, alpha=0.4, linewidths=0)
    _name_regions(axes[0], seen)
    for label in seen.labels if len(seen.labels) <= MOST_LABELS else ():
        middle = np.median(seen.plane.points[seen.label == label], 0)
        axes[1].annotate(
            f"{label:g}",
            middle,
            fontsize=10,
            ha="center",
            weight="bold",
            bbox=BOX,
        )
    axes[1].set_title(
        f"codes of data, named by label: {seen.agreement:.0%} lie in their own region"
    )
    for axis in axes:
        _borders(axis, seen)
        axis.set(xlabel=seen.plane.names[0], ylabel=seen.plane.names[1])
        axis.set(xlim=_extent(seen)[:2], ylim=_extent(seen)[2:])
    write_figure(figure, path, f"{run.name}: what regions of the codes mean")


def _colours(seen: Regions) -> Array:
    """Return the colour of the class of each place, ``(S, S, 3)``."""
    from matplotlib import colormaps

    few = len(seen.labels) <= MOST_LABELS
    places = np.searchsorted(seen.labels, seen.region)
    chosen = colormaps["tab10"](places) if few else colormaps["viridis"](places / len(seen.labels))
    return np.asarray(chosen)[..., :3]


def _sheet(run: Run, seen: Regions, colours: Array) -> Array:
    """Return all pictures side by side, the low end of the second direction at the bottom."""
    x = seen.x if seen.x.ndim == 4 else seen.x.mean(2)  # of channels the mean: the colour is taken
    low, high = black_and_white(x, run.transform.scale)
    grey = ((np.nan_to_num(x) - low) / max(high - low, 1e-12)).clip(0, 1)[..., None]
    tint = colours[:, :, None, None]
    dark, light = DARKEST * tint, 0.25 * tint + 0.75
    tiles = dark + grey * (light - dark)  # (S, S, H, W, 3)
    return np.concatenate([np.concatenate(list(row), 1) for row in tiles[::-1]])


def _name_regions(axis: Any, seen: Regions) -> None:
    """Write the class that is seen where most places around have it, too."""
    for label in seen.labels if len(seen.labels) <= MOST_LABELS else ():
        mine = seen.region == label
        if not mine.any():
            continue
        padded = np.pad(mine.astype(float), 2)
        around = sum(
            padded[i : i + len(mine), j : j + len(mine)] for i in range(5) for j in range(5)
        )
        row, column = np.unravel_index(np.argmax(mine * around), mine.shape)
        place = (seen.values[0, column], seen.values[1, row])
        axis.annotate(f"{label:g}", place, ha="center", va="center", weight="bold", bbox=BOX)


def _borders(axis: Any, seen: Regions) -> None:
    """Draw a line wherever the class of two neighbours differs."""
    (left, right, bottom, top), number = _extent(seen), len(seen.region)
    across, up = np.linspace(left, right, number + 1), np.linspace(bottom, top, number + 1)
    for row, column in np.argwhere(seen.region[:, 1:] != seen.region[:, :-1]):
        axis.plot([across[column + 1]] * 2, up[row : row + 2], color="0.95", linewidth=2.2)
        axis.plot([across[column + 1]] * 2, up[row : row + 2], color=INK, linewidth=0.9)
    for row, column in np.argwhere(seen.region[1:] != seen.region[:-1]):
        axis.plot(across[column : column + 2], [up[row + 1]] * 2, color="0.95", linewidth=2.2)
        axis.plot(across[column : column + 2], [up[row + 1]] * 2, color=INK, linewidth=0.9)


def _extent(seen: Regions) -> tuple[float, float, float, float]:
    """Return the ends of the plane: half a place beyond the outermost ones."""
    (left, right), (bottom, top) = ((v[0], v[-1]) for v in seen.values)
    half = [max((v[-1] - v[0]) / max(1, len(v) - 1), 1e-9) / 2 for v in seen.values]
    return left - half[0], right + half[0], bottom - half[1], top + half[1]
