"""Empty figures, and figures on disk."""

import io
import math
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.plots.style import Style
from vaezoo.runtime.storage import write_bytes

__all__ = ["INK", "NEW", "as_png", "new_figure", "new_sheet", "write_figure"]

INK, NEW = "black", "#c44e1f"  # what is in the data, and what the model added


def new_figure(rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """Return a figure and its axes, without spines at the top and to the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * columns, 3.2 * rows), layout="constrained", dpi=120)
    axes = figure.subplots(rows, columns)
    for axis in np.ravel(axes):
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def new_sheet(
    count: int, columns: int, size: tuple[float, float], style: Style, titled: bool
) -> tuple[Any, Array]:
    """Return a figure with room for so many pictures, and their axes row by row."""
    from matplotlib.figure import Figure

    rows = math.ceil(count / columns)
    width, height = size[0] * columns, size[1] * rows + 0.2 * titled + 0.4
    figure = Figure(figsize=(max(width, 3.0), height), layout="constrained", dpi=120)
    shared = style.picture in ("roll", "sound")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=shared, sharey=shared)
    for axis in axes.flat:
        axis.spines[["top", "right"]].set_visible(False)
        axis.tick_params(labelsize=7)
    return figure, axes.ravel()


def write_figure(figure: Any, path: Path, note: str = "") -> None:
    """Write a figure as ``.png``, with a line above all if there is a note."""
    if note:
        figure.suptitle(note, fontsize=10)
    write_bytes(path, as_png(figure))


def as_png(figure: Any) -> bytes:
    """Return a figure as the content of a ``.png`` file.

    It is drawn without LaTeX, which a ``matplotlibrc`` in the working directory can ask for: that
    may be a stranger's, and LaTeX a program that does what its preamble says.
    """
    from matplotlib import rc_context
    from matplotlib.text import Text

    content = io.BytesIO()
    with rc_context({"text.usetex": False}):
        for text in figure.findobj(Text):
            text.set_usetex(False)
        figure.savefig(content, format="png")
    return content.getvalue()
