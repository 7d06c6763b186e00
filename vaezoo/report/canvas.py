"""A figure with what has to be said of it, and the colours that all figures share."""

from dataclasses import dataclass
from typing import Any

__all__ = ["CHECKED", "COLOURS", "GREY", "GUIDE", "Figure", "add_legend"]

COLOURS = {"trusted": "#2a7f62", "repaired": "#d99a1c", "not trusted": "#b3321b"}
GUIDE, CHECKED, GREY = "#1f5fa8", "#2a7f62", "0.6"


@dataclass(frozen=True)
class Figure:
    """A figure: its short name, title, caption, and the picture, matplotlib's."""

    name: str
    title: str
    caption: str
    picture: Any


def add_legend(axis: Any) -> None:
    """Add a legend if anything has a label."""
    _, labels = axis.get_legend_handles_labels()
    if any(labels):
        axis.legend(frameon=False, fontsize=7, markerscale=2)
