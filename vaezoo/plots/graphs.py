"""The graph of a pair: sites, what each needs, and the plate of the data."""

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vaezoo.pairs.anatomy import Anatomy, SiteFacts
from vaezoo.runtime.storage import write_bytes

__all__ = ["plot_graph"]

OBSERVED, LATENT = "#d9d9d9", "white"
RADIUS, STEP = 0.32, 1.5  # in inches, as all lengths here
LEFT, RIGHT, BELOW = 0.6 * STEP, 1.3 * STEP, 0.45 * STEP  # of the plate, around its sites


def plot_graph(anatomy: Anatomy, path: Path, title: str = "") -> None:
    """Draw the sites of a pair: model solid, guide dashed, what is observed grey.

    Parameters
    ----------
    anatomy
        Of the pair.
    path
        File to write, of a kind that matplotlib writes, as ``.svg`` and ``.png``.
    title
        Above it.
    """
    import matplotlib.pyplot as plt

    places = _places(anatomy)
    left, right = -LEFT - 0.1, max(x for x, _ in places.values()) + RIGHT + 0.1
    low, high = -BELOW - 0.3, max(y for _, y in places.values()) + 0.6
    figure, axes = plt.subplots(figsize=(right - left, high - low))
    axes.set_xlim(left, right)
    axes.set_ylim(low, high)
    axes.set_aspect("equal")
    axes.axis("off")
    axes.set_title(title)
    _plate(axes, places, repeats=any(site.steps for site in anatomy.sites))
    for site in anatomy.sites:
        _node(axes, site, places[site.name])
    for edge in anatomy.edges:
        _arrow(axes, places, edge, curve=0.15)
    for edge in _of_guide(anatomy):
        _arrow(axes, places, edge, curve=0.4, style="dashed")
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix[1:], bbox_inches="tight", dpi=150)
    plt.close(figure)
    write_bytes(path, content.getvalue())


def _places(anatomy: Anatomy) -> dict[str, tuple[float, float]]:
    """Return where each site stands: those of the model's top above what needs them."""
    levels: dict[str, int] = {}
    for site in anatomy.sites:
        above = [levels[a] for a, b in anatomy.edges if b == site.name and a in levels]
        levels[site.name] = max(above) + 1 if above else 0
    deepest = max(levels.values())
    rows: dict[int, list[str]] = {}
    for name, level in levels.items():
        rows.setdefault(level, []).append(name)
    return {
        name: (STEP * (index - (len(row) - 1) / 2 + _half(rows)), STEP * (deepest - level))
        for level, row in rows.items()
        for index, name in enumerate(row)
    }


def _half(rows: Mapping[int, Sequence[str]]) -> float:
    """Return half the width of the widest row, in steps."""
    return (max(map(len, rows.values())) - 1) / 2


def _of_guide(anatomy: Anatomy) -> list[tuple[str, str]]:
    """Return the arrows of the guide: from the data to each latent, and among latents."""
    latents = [site.name for site in anatomy.sites if site.guide]
    observed = [site.name for site in anatomy.sites if not site.guide]
    return [(x, z) for x in observed[-1:] for z in latents] + [*anatomy.guide_edges]


def _plate(axes: Any, places: Mapping[str, tuple[float, float]], *, repeats: bool) -> None:
    from matplotlib.patches import FancyBboxPatch

    xs, ys = zip(*places.values(), strict=True)
    left, right = min(xs) - LEFT, max(xs) + RIGHT
    low, high = min(ys) - BELOW, max(ys) + 0.5
    box = FancyBboxPatch((left, low), right - left, high - low, boxstyle="round,pad=0.05")
    box.set(facecolor="none", edgecolor="black", linewidth=0.8)
    axes.add_patch(box)
    label = "steps of each datum" if repeats else "data"
    axes.text(right, low, label, ha="right", va="bottom", fontsize=8)
    axes.text(left, low - 0.1, "solid: model, dashed: guide", va="top", fontsize=7)


def _node(axes: Any, site: SiteFacts, place: tuple[float, float]) -> None:
    from matplotlib.patches import Circle

    color = LATENT if site.guide else OBSERVED
    axes.add_patch(Circle(place, RADIUS, facecolor=color, edgecolor="black", zorder=2))
    axes.text(*place, site.name, ha="center", va="center", zorder=3)
    shape = "x".join(map(str, site.shape)) or "1"
    x, y = place
    axes.text(x + 1.2 * RADIUS, y, f"{site.model}\n{shape}", fontsize=7, va="center", zorder=3)


def _arrow(
    axes: Any,
    places: Mapping[str, tuple[float, float]],
    edge: tuple[str, str],
    *,
    curve: float,
    style: str = "solid",
) -> None:
    from matplotlib.patches import FancyArrowPatch

    start, end = places[edge[0]], places[edge[1]]
    if edge[0] == edge[1]:  # the next step: a loop on the left
        x, y = start
        start, end, curve = (
            (x - 0.7 * RADIUS, y - 0.7 * RADIUS),
            (x - 0.7 * RADIUS, y + RADIUS),
            -1.6,
        )
        shrink = 0.0
    else:
        shrink = 72 * RADIUS  # in points
    arrow = FancyArrowPatch(
        start,
        end,
        connectionstyle=f"arc3,rad={curve}",
        arrowstyle="-|>",
        mutation_scale=12,
        shrinkA=shrink,
        shrinkB=shrink,
        linestyle=style,
        color="black",
        zorder=1,
    )
    axes.add_patch(arrow)
