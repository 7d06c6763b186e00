"""A figure with what has to be said of it, and the colours that all figures share."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.grading import VERDICTS

__all__ = ["CHECKED", "COLOURS", "GREY", "GUIDE", "LIGHT", "Figure", "add_legend", "by_verdict"]

COLOURS = {"trusted": "#2a7f62", "repaired": "#d99a1c", "not trusted": "#b3321b"}
GUIDE, CHECKED, GREY, LIGHT = "#1f5fa8", "#2a7f62", "0.6", "#9cc3e6"


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
    """Add a legend if anything has a label."""
    _, labels = axis.get_legend_handles_labels()
    if any(labels):
        axis.legend(frameon=False, fontsize=7, markerscale=2)
