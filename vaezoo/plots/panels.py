"""One sequence as a picture: a piano-roll, sound, a pen drawing, an image row by row, or curves."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.plots.paper import INK, NEW, new_sheet, write_figure
from vaezoo.plots.style import Style

__all__ = ["COLUMNS", "Panel", "plot_panels"]

COLUMNS = {"image": 12, "roll": 3, "sound": 4, "pen": 12, "lines": 4}
_SIZES = {
    "image": (0.9, 0.9),
    "roll": (3.4, 1.9),
    "sound": (3.0, 1.2),
    "pen": (1.1, 1.1),
    "lines": (3.2, 1.6),
}
MOST_NAMED = 6  # curves in a panel
WIDEST, LOWEST = 14.0, 1.4  # inches, of a sheet and of a panel in it
_LOWEST_NOTE, _NUM_NOTES = 21, 88  # MIDI numbers of a piano


@dataclass(frozen=True)
class Panel:
    """One sequence to plot.

    Attributes
    ----------
    x
        Frames ``(T, D)``, in units of the data; none, ``(0, D)``, leave the panel empty.
    title
        What stands above it.
    begun
        How many of the first frames were given; those behind them are set apart.
    new
        Which entries ``(T, D)`` were filled in; they are set apart.
    """

    x: Array
    title: str = ""
    begun: int | None = None
    new: Array | None = None


def plot_panels(
    panels: Sequence[Panel], path: Path, style: Style, *, columns: int | None = None, note: str = ""
) -> None:
    """Write sequences as a grid of pictures.

    Parameters
    ----------
    panels
        Row by row.
    path
        A ``.png`` file.
    style
        How to plot them.
    columns
        Pictures in a row.
    note
        A line above all.
    """
    columns = min(columns or COLUMNS[style.picture], len(panels))
    titled = any(panel.title for panel in panels)
    width, height = _SIZES[style.picture]
    shrunk = min(1.0, WIDEST / (columns * width))  # what is wider has words that nobody can read
    size = (width * shrunk, max(height * shrunk, min(height, LOWEST)))
    figure, axes = new_sheet(len(panels), columns, size, style, titled)
    plot = _PLOT[style.picture]
    for index, axis in enumerate(axes):
        if style.picture == "lines" and index:
            axis.sharey(axes[0])
        if index >= len(panels) or len(panels[index].x) == 0:
            axis.set_axis_off()
            continue
        plot(axis, panels[index], style)
        axis.set_title(panels[index].title, fontsize=8)
    if style.picture == "roll":
        longest = max(len(panel.x) for panel in panels)
        axes[0].set(xlim=(-0.5, longest - 0.5), ylim=_range_of_notes(panels, style))
    handles, labels = axes[0].get_legend_handles_labels()
    if 1 < len(handles) <= MOST_NAMED:
        place = {"loc": "outside lower center", "ncols": MOST_NAMED, "frameon": False}
        figure.legend(handles, labels, fontsize=7, **place)
    write_figure(figure, path, note)


def _range_of_notes(panels: Sequence[Panel], style: Style) -> tuple[float, float]:
    """The keys that sound somewhere, and three more on either side."""
    loudest = np.max([panel.x.max(0) for panel in panels if len(panel.x)], 0)
    keys = np.flatnonzero(loudest >= 0.2 * style.scale)
    low, high = (keys[0], keys[-1]) if len(keys) else (0, len(loudest) - 1)
    return max(low - 3, 0) - 0.5, min(high + 3, len(loudest) - 1) + 0.5


def _image(axis: Any, panel: Panel, style: Style) -> None:
    height, width = panel.x.shape
    axis.imshow(panel.x, cmap="gray", vmin=0, vmax=style.scale, interpolation="nearest")
    if panel.begun is not None:
        axis.axhline(panel.begun - 0.5, color=NEW, linewidth=1.5)
    if panel.new is not None:
        axis.imshow(_tint(panel.new), interpolation="nearest")
    axis.set(xticks=[], yticks=[], xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axis.spines[:].set_visible(False)


def _roll(axis: Any, panel: Panel, style: Style) -> None:
    """Time to the right, pitch upwards, black on white; the octaves as lines."""
    notes = panel.x.T / style.scale
    axis.imshow(
        notes, cmap="Greys", vmin=0, vmax=1, aspect="auto", origin="lower", interpolation="nearest"
    )
    if panel.new is not None:
        axis.imshow(_tint(panel.new.T), aspect="auto", origin="lower", interpolation="nearest")
    _mark_beginning(axis, panel, 1)
    if len(notes) == _NUM_NOTES:
        octaves = range(3, _NUM_NOTES, 12)  # C1 is the fourth key
        axis.set_yticks(octaves, [_note(key) for key in octaves])
        for key in octaves:
            axis.axhline(key - 0.5, color="0.9", linewidth=0.5)
    axis.set_xlabel("frame", fontsize=7)
    axis.label_outer()


def _note(key: int) -> str:
    """Name of a key of the piano: 0 is A0, 39 is C4."""
    number = key + _LOWEST_NOTE
    names = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
    return f"{names[number % 12]}{number // 12 - 1}"


def _sound(axis: Any, panel: Panel, style: Style) -> None:
    """The frames, joined, against time."""
    width = panel.x.shape[1]
    seconds = 1 / style.rate if style.rate else 1.0
    time = np.arange(panel.x.size) * seconds
    wave = panel.x.ravel()
    axis.plot(time, wave, color=INK, linewidth=0.4)
    changed = panel.new.ravel() if panel.new is not None else None
    if panel.begun is not None:
        changed = np.arange(wave.size) >= panel.begun * width
    if changed is not None:
        axis.plot(time, np.where(changed, wave, np.nan), color=NEW, linewidth=0.4)
    axis.set_xlabel("seconds" if style.rate else "sample", fontsize=7)
    axis.label_outer()


def _pen(axis: Any, panel: Panel, style: Style) -> None:
    """The path of the pen; a stroke ends where the third element says that it is lifted."""
    points = np.vstack([[0.0, 0.0], np.cumsum(panel.x[:, :2], 0)])
    is_down = np.concatenate([[True], panel.x[:-1, 2] <= 0.5])
    fresh = np.zeros(len(panel.x), bool)
    if panel.begun is not None:
        fresh[panel.begun :] = True
    if panel.new is not None:
        fresh |= panel.new.any(1)
    for colour, chosen in ((INK, ~fresh), (NEW, fresh)):
        ends = np.stack([points[:-1], points[1:]], 1)[chosen & is_down]
        segments = np.concatenate([ends, np.full((len(ends), 1, 2), np.nan)], 1).reshape(-1, 2)
        axis.plot(*segments.T, color=colour, linewidth=1.2, solid_capstyle="round")
    axis.set_aspect("equal", adjustable="datalim")
    axis.margins(0.08)
    axis.set_axis_off()


def _lines(axis: Any, panel: Panel, style: Style) -> None:
    for index, values in enumerate(panel.x.T):
        (line,) = axis.plot(values, linewidth=1.0, label=style.name_of(index))
        if panel.new is not None:
            filled = np.where(panel.new[:, index], values, np.nan)
            axis.plot(filled, ".", color=line.get_color(), markersize=4)
    _mark_beginning(axis, panel, 1)
    axis.set_xlabel("frame", fontsize=7)
    axis.tick_params(labelleft=axis.get_subplotspec().is_first_col())


def _mark_beginning(axis: Any, panel: Panel, width: int) -> None:
    if panel.begun is not None:
        axis.axvline(panel.begun * width - 0.5, color=NEW, linewidth=1.0)


def _tint(where: Array) -> Array:
    """A transparent picture that is coloured where a mask is true."""
    from matplotlib.colors import to_rgba

    tint = np.zeros((*where.shape, 4))
    tint[where] = to_rgba(NEW, 0.25)
    return tint


_Plot = Callable[[Any, Panel, Style], None]
_PLOT: dict[str, _Plot] = {
    "image": _image,
    "roll": _roll,
    "sound": _sound,
    "pen": _pen,
    "lines": _lines,
}
