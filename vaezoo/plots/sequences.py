"""Sequences as pictures: piano-rolls, sound, pen drawings, images row by row, and curves."""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data import SOURCES
from vaezoo.data.dataset import Array
from vaezoo.data.sets.sources import Picture
from vaezoo.runs import Run
from vaezoo.runtime.storage import write_bytes

__all__ = [
    "MOST_PANELS",
    "Band",
    "Panel",
    "Style",
    "draw_bands",
    "draw_pairs",
    "draw_panels",
    "draw_sequences",
    "sequence_style",
    "without_end",
]

MOST_PANELS = {"image": 64, "roll": 12, "sound": 16, "pen": 48, "lines": 12}
_SIZES = {
    "image": (0.9, 0.9),
    "roll": (3.4, 1.9),
    "sound": (3.0, 1.2),
    "pen": (1.1, 1.1),
    "lines": (3.2, 1.6),
}
_COLUMNS = {"image": 12, "roll": 3, "sound": 4, "pen": 12, "lines": 4}
_INK, _NEW, _BAND = "black", "#c44e1f", "#1f77b4"
_SHOWN_BEFORE = 2  # frames of a beginning for each frame of a forecast
_LOWEST_NOTE, _NUM_NOTES = 21, 88  # MIDI numbers of a piano
_PEN_COLUMNS = ("dx", "dy", "pen")


@dataclass(frozen=True)
class Style:
    """How the sequences of a run are drawn.

    Attributes
    ----------
    picture
        ``image`` (a frame is a row of pixels), ``roll``, ``sound``, ``pen`` or ``lines``.
    scale
        The value that is white in an image.
    rate
        Samples a second, of sound.
    names
        Of the elements of a frame.
    """

    picture: Picture
    scale: float = 1.0
    rate: int | None = None
    names: tuple[str, ...] = ()


def sequence_style(run: Run) -> Style | None:
    """Return how the sequences of a run are drawn; None when its data are no sequences.

    Named data sets say it themselves. Of the user's own data, frames of 88 values are piano-rolls,
    and columns ``dx, dy, pen`` a drawing; all others are curves.
    """
    if "length" not in run.shapes:
        return None
    source = SOURCES.get(run.data.name)
    names = tuple(run.info.get("columns", ()))
    picture: Picture = "lines"
    if source and source.picture:
        picture = source.picture
    elif names == _PEN_COLUMNS:
        picture = "pen"
    elif run.shapes["x"][1:] == (_NUM_NOTES,):
        picture = "roll"
    return Style(picture, run.transform.scale, source.rate if source else None, names)


@dataclass(frozen=True)
class Panel:
    """One sequence to draw.

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


def draw_panels(
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
        How to draw them.
    columns
        Pictures in a row.
    note
        A line above all.
    """
    columns = min(columns or _COLUMNS[style.picture], len(panels))
    figure, axes = _sheet(len(panels), columns, _SIZES[style.picture], style, any_title(panels))
    draw = _DRAW[style.picture]
    for index, axis in enumerate(axes):
        if index >= len(panels) or len(panels[index].x) == 0:
            axis.set_axis_off()
            continue
        draw(axis, panels[index], style)
        axis.set_title(panels[index].title, fontsize=8)
    if style.picture == "roll":
        longest = max(len(panel.x) for panel in panels)
        axes[0].set(xlim=(-0.5, longest - 0.5), ylim=_range_of_notes(panels, style))
    _write(figure, path, note)


def _range_of_notes(panels: Sequence[Panel], style: Style) -> tuple[float, float]:
    """The keys that sound somewhere, and three more on either side."""
    loudest = np.max([panel.x.max(0) for panel in panels if len(panel.x)], 0)
    keys = np.flatnonzero(loudest >= 0.2 * style.scale)
    low, high = (keys[0], keys[-1]) if len(keys) else (0, len(loudest) - 1)
    return max(low - 3, 0) - 0.5, min(high + 3, len(loudest) - 1) + 0.5


def _write(figure: Any, path: Path, note: str) -> None:
    if note:
        figure.suptitle(note, fontsize=10)
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_bytes(path, content.getvalue())


def draw_sequences(x: Array, path: Path, style: Style, *, begun: int | None = None) -> None:
    """Write sequences ``(N, T, D)`` as pictures, at most :data:`MOST_PANELS`; nan ends one."""
    shown = x[: MOST_PANELS[style.picture]]
    note = f"the first {len(shown)} of {len(x)}" if len(shown) < len(x) else ""
    if begun is not None:
        note = f"{note}{', ' if note else ''}the first {begun} frames given"
    draw_panels([Panel(without_end(one), begun=begun) for one in shown], path, style, note=note)


def draw_pairs(x: Array, others: Array, path: Path, style: Style) -> None:
    """Write data above their reconstructions, both ``(N, T, D)``, row by row; nan ends one."""
    columns = min(_COLUMNS[style.picture], len(x))
    count = min(len(x), MOST_PANELS[style.picture] // 2)
    panels = []
    for start in range(0, count, columns):
        for part in (x, others):
            row = [Panel(without_end(one)) for one in part[start : min(start + columns, count)]]
            panels += row + [Panel(x[0, :0])] * (columns - len(row))
    note = "data above; below, each frame as made of its latent and the frames before"
    draw_panels(panels, path, style, columns=columns, note=note)


def without_end(x: Array) -> Array:
    """Return the frames ``(T, D)`` of a sequence before those that are nan."""
    is_frame = ~np.isnan(x).all(1)
    return x[: int(is_frame.sum())]


def any_title(panels: Sequence[Panel]) -> bool:
    """Return whether one of the panels has a title, and rows need room for it."""
    return any(panel.title for panel in panels)


def _sheet(
    count: int, columns: int, size: tuple[float, float], style: Style, titled: bool
) -> tuple[Any, Array]:
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


def _image(axis: Any, panel: Panel, style: Style) -> None:
    height, width = panel.x.shape
    axis.imshow(panel.x, cmap="gray", vmin=0, vmax=style.scale, interpolation="nearest")
    if panel.begun is not None:
        axis.axhline(panel.begun - 0.5, color=_NEW, linewidth=1.5)
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
    axis.plot(time, wave, color=_INK, linewidth=0.4)
    changed = panel.new.ravel() if panel.new is not None else None
    if panel.begun is not None:
        changed = np.arange(wave.size) >= panel.begun * width
    if changed is not None:
        axis.plot(time, np.where(changed, wave, np.nan), color=_NEW, linewidth=0.4)
    axis.set_xlabel("seconds" if style.rate else "sample", fontsize=7)
    axis.label_outer()


def _pen(axis: Any, panel: Panel, style: Style) -> None:
    """The path of the pen; a stroke ends where the third element says that it is lifted."""
    points = np.vstack([[0.0, 0.0], np.cumsum(panel.x[:, :2], 0)])
    drawn = np.concatenate([[True], panel.x[:-1, 2] <= 0.5])
    fresh = np.zeros(len(panel.x), bool)
    if panel.begun is not None:
        fresh[panel.begun :] = True
    if panel.new is not None:
        fresh |= panel.new.any(1)
    for colour, chosen in ((_INK, ~fresh), (_NEW, fresh)):
        ends = np.stack([points[:-1], points[1:]], 1)[chosen & drawn]
        segments = np.concatenate([ends, np.full((len(ends), 1, 2), np.nan)], 1).reshape(-1, 2)
        axis.plot(*segments.T, color=colour, linewidth=1.2, solid_capstyle="round")
    axis.set_aspect("equal", adjustable="datalim")
    axis.margins(0.08)
    axis.set_axis_off()


def _lines(axis: Any, panel: Panel, style: Style) -> None:
    for index, values in enumerate(panel.x.T):
        (line,) = axis.plot(values, linewidth=1.0, label=_name(style, index))
        if panel.new is not None:
            filled = np.where(panel.new[:, index], values, np.nan)
            axis.plot(filled, ".", color=line.get_color(), markersize=4)
    _mark_beginning(axis, panel, 1)
    if 1 < panel.x.shape[1] <= 6:
        axis.legend(frameon=False, fontsize=6)
    axis.set_xlabel("frame", fontsize=7)


def _name(style: Style, index: int) -> str:
    return style.names[index] if style.names else f"x{index}"


def _mark_beginning(axis: Any, panel: Panel, width: int) -> None:
    if panel.begun is not None:
        axis.axvline(panel.begun * width - 0.5, color=_NEW, linewidth=1.0)


def _tint(where: Array) -> Array:
    """A transparent picture that is coloured where a mask is true."""
    from matplotlib.colors import to_rgba

    tint = np.zeros((*where.shape, 4))
    tint[where] = to_rgba(_NEW, 0.25)
    return tint


@dataclass(frozen=True)
class Band:
    """A beginning, quantiles of what may follow, and what followed.

    Attributes
    ----------
    begun
        Frames ``(P, D)`` that were given.
    quantiles
        5, 25, 50, 75 and 95 % of the frames behind them, ``(5, H, D)``.
    truth
        The frames that came, ``(H, D)``; nan where there were none.
    """

    begun: Array
    quantiles: Array
    truth: Array


def draw_bands(bands: Sequence[Band], path: Path, style: Style, *, note: str = "") -> None:
    """Write forecasts of real values as bands that hold 50 % and 90 % of the draws.

    A row is a sequence; a column is an element of its frames, the first four, or all of the sound.
    """
    columns = 1 if style.picture == "sound" else min(4, bands[0].begun.shape[1])
    size = (6.0, 1.7) if columns == 1 else (3.4, 1.7)
    figure, axes = _sheet(len(bands) * columns, columns, size, Style("lines"), True)
    for row, band in enumerate(bands):
        for column, axis in enumerate(axes[row * columns : (row + 1) * columns]):
            _band(axis, band, style, column)
            if columns > 1 and row == 0:
                axis.set_title(_name(style, column), fontsize=8)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False, fontsize=8)
    _write(figure, path, note)


def _band(axis: Any, band: Band, style: Style, column: int) -> None:
    """Draw one element against the frame, or the joined frames of a sound against time."""
    begun, truth, quantiles = band.begun, band.truth, band.quantiles
    step = 1.0
    if style.picture == "sound":
        begun, truth = begun.reshape(-1, 1), truth.reshape(-1, 1)
        quantiles = quantiles.reshape(len(quantiles), -1, 1)
        step = 1 / style.rate if style.rate else 1.0
    start = max(0, len(begun) - _SHOWN_BEFORE * len(truth))
    before = np.arange(start, len(begun)) * step
    after = (len(begun) + np.arange(len(truth))) * step
    low, lower, median, upper, high = quantiles[..., column]
    axis.plot(before, begun[start:, column], color="0.45", linewidth=0.7, label="given")
    axis.plot(after, truth[:, column], color=_INK, linewidth=0.7, label="what came")
    axis.fill_between(after, low, high, color=_BAND, alpha=0.25, zorder=3, label="90 %")
    axis.fill_between(after, lower, upper, color=_BAND, alpha=0.45, zorder=3, label="50 %")
    axis.plot(after, median, color=_BAND, linewidth=0.9, zorder=3, label="median")
    axis.set_xlabel("seconds" if step < 1 else "frame", fontsize=7)


_Draw = Callable[[Any, Panel, Style], None]
_DRAW: dict[str, _Draw] = {
    "image": _image,
    "roll": _roll,
    "sound": _sound,
    "pen": _pen,
    "lines": _lines,
}
