"""Sequences as pictures, each kind of data as its own."""

from pathlib import Path

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.plots.panels import COLUMNS, Panel, plot_panels
from vaezoo.plots.style import Style

__all__ = ["plot_sequence_pairs", "plot_sequences", "without_end"]

MOST_PANELS = {"image": 64, "roll": 12, "sound": 16, "pen": 48, "lines": 12}


def plot_sequences(x: Array, path: Path, style: Style, *, begun: int | None = None) -> None:
    """Write sequences ``(N, T, D)`` as pictures, at most :data:`MOST_PANELS`; nan ends one.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     plot_sequences(np.zeros((2, 5, 3)), Path(folder, "x.png"), Style("lines"), begun=2)
    ...     [path.name for path in Path(folder).iterdir()]
    ['x.png']
    """
    shown = x[: MOST_PANELS[style.picture]]
    note = f"the first {len(shown)} of {len(x)}" if len(shown) < len(x) else ""
    if begun is not None:
        note = f"{note}{', ' if note else ''}the first {begun} frames given"
    plot_panels([Panel(without_end(one), begun=begun) for one in shown], path, style, note=note)


def plot_sequence_pairs(x: Array, others: Array, path: Path, style: Style) -> None:
    """Write data above their reconstructions, both ``(N, T, D)``, row by row; nan ends one."""
    columns = min(COLUMNS[style.picture], len(x))
    count = min(len(x), MOST_PANELS[style.picture] // 2)
    panels = []
    for start in range(0, count, columns):
        for part in (x, others):
            row = [Panel(without_end(one)) for one in part[start : min(start + columns, count)]]
            panels += row + [Panel(x[0, :0])] * (columns - len(row))
    note = "data above; below, each frame as made of its latent and the frames before"
    plot_panels(panels, path, style, columns=columns, note=note)


def without_end(x: Array) -> Array:
    """Return the frames ``(T, D)`` of a sequence before those that are nan.

    Examples
    --------
    >>> len(without_end(np.array([[1.0, np.nan], [2.0, 3.0], [np.nan, np.nan]])))
    2
    """
    is_frame = ~np.isnan(x).all(1)
    return x[: int(is_frame.sum())]
