"""A figure with what has to be said of it, and the colours that all figures share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.grading import VERDICTS

__all__ = [
    "CHECKED",
    "COLOURS",
    "GREY",
    "GUIDE",
    "LIGHT",
    "MODEL",
    "MODES",
    "Figure",
    "add_legend",
    "by_verdict",
]

COLOURS = {"trusted": "#2a7f62", "repaired": "#d99a1c", "not trusted": "#b3321b"}
# Blue is of the guide, purple is checked, dark grey is the model, light grey only helps to read.
GUIDE, LIGHT, CHECKED, MODEL, GREY = "#1f5fa8", "#9cc3e6", "#8a3fa0", "0.25", "0.6"
MODES = ("#1b9e9e", "#8c6d46", "#c2569b", "#6b7f2a", "#444444", "#e07b5a")


@dataclass(frozen=True)
class Figure:
    """A figure: its short name, title, caption, and the picture, matplotlib's."""

    name: str
    title: str
    caption: str
    picture: Any


def by_verdict(verdict: Tensor) -> Iterator[tuple[str, Array]]:
    """Yield the name of each verdict that there is, and whose it is, ``(B,)``."""
    places = verdict.numpy()
    for i, name in enumerate(VERDICTS):
        if (places == i).any():
            yield name, places == i


def add_legend(axis: Any) -> None:
    """Add a legend below, where it covers nothing, if anything has a label."""
    handles, labels = axis.get_legend_handles_labels()
    if not labels:
        return
    longest = max(map(len, labels))
    columns = min(len(labels), 4 if longest < 14 else 2 if longest < 32 else 1)
    legend = axis.figure.legend(
        handles, labels, loc="outside lower center", ncols=columns, frameon=False, fontsize=9
    )
    for handle in legend.legend_handles:
        if handle is not None and getattr(handle, "get_marker", lambda: "")() == ".":
            handle.set_markersize(9)
