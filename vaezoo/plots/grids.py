"""Figures: grids of data, learning curves, latents in use, the importance-weighted bound."""

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.runtime.storage import write_bytes

__all__ = ["curves", "grid", "iwae_curve", "latents", "new_figure", "pairs_grid"]

_GRID_PIXELS = 640
_LARGEST_ZOOM = 8
_STYLES = {"train": "--", "validation": "-"}


def grid(x: Array, path: Path, *, columns: int | None = None, scale: float = 1.0) -> None:
    """Write data as a grid of pictures.

    Parameters
    ----------
    x
        Images ``(N, H, W)`` or ``(N, C, H, W)``, sequences ``(N, T, D)`` (one row per step), or
        vectors ``(N, D)``, which become one picture with a row per datum.
    path
        A ``.png`` file.
    columns
        Pictures in a row; by default the grid is about square.
    scale
        Value that is white; values outside [0, scale] are cut. Data that are no grey levels, lying
        far outside, go from black to white over their own range, that of each element.
    """
    tiles = _tiles(x, scale)
    if tiles.ndim == 2:
        _save(tiles, path)
        return
    columns = columns or math.ceil(math.sqrt(len(tiles)))
    rows = math.ceil(len(tiles) / columns)
    height, width = tiles.shape[1:3]
    canvas = np.full((rows * (height + 1) + 1, columns * (width + 1) + 1, *tiles.shape[3:]), 96)
    for index, tile in enumerate(tiles):
        top, left = (index // columns) * (height + 1) + 1, (index % columns) * (width + 1) + 1
        canvas[top : top + height, left : left + width] = tile
    _save(canvas, path)


def pairs_grid(data: Array, others: Array, path: Path, *, scale: float = 1.0) -> None:
    """Write data and their reconstructions as alternating rows of a grid."""
    columns = min(len(data), 16)
    rows = []
    for start in range(0, len(data), columns):
        for part in (data[start : start + columns], others[start : start + columns]):
            missing = columns - len(part)
            rows.append(np.concatenate([part, np.zeros_like(part[:1]).repeat(missing, 0)]))
    grid(np.concatenate(rows), path, columns=columns, scale=scale)


def _tiles(x: Array, scale: float) -> Array:
    """Grey ``(N, H, W)`` or colour ``(N, H, W, 3)`` pictures; ``(N, D)`` for vectors."""
    values = np.clip(_levels(np.nan_to_num(x), scale), 0, 1) * 255
    pictures = values.round().astype(np.uint8)
    if pictures.ndim == 4:
        pictures = pictures.transpose(0, 2, 3, 1)
        if pictures.shape[3] == 1:
            return pictures[..., 0]
        if pictures.shape[3] != 3:
            raise RequestError(f"cannot draw images of {pictures.shape[3]} channels; write a .npz")
    if pictures.ndim > 4:
        raise RequestError(f"cannot draw data of shape {x.shape[1:]}; write a .npz")
    return pictures


def _levels(x: Array, scale: float) -> Array:
    if x.min() >= -0.5 * scale and x.max() <= 1.5 * scale:
        return x / scale
    elements = tuple(range(x.ndim - 1)) if x.ndim <= 3 else None
    low, high = x.min(elements, keepdims=True), x.max(elements, keepdims=True)
    return (x - low) / np.where(high > low, high - low, 1.0)


def _save(canvas: Array, path: Path) -> None:
    zoom = max(1, min(_LARGEST_ZOOM, _GRID_PIXELS // max(canvas.shape[:2])))
    image = Image.fromarray(canvas.astype(np.uint8))
    image = image.resize((image.width * zoom, image.height * zoom), Image.Resampling.NEAREST)
    content = io.BytesIO()
    image.save(content, "png")
    write_bytes(path, content.getvalue())


def new_figure(rows: int = 1, columns: int = 1) -> tuple[Any, Any]:
    """Return a figure and its axes, without spines at the top and to the right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5 * columns, 3.2 * rows), layout="constrained", dpi=120)
    axes = figure.subplots(rows, columns)
    for axis in np.ravel(axes):
        axis.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _write(figure: Any, path: Path) -> None:
    content = io.BytesIO()
    figure.savefig(content, format="png")
    write_bytes(path, content.getvalue())


def curves(metrics: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write ELBO, reconstruction and KL of training and validation by epoch."""
    figure, axes = new_figure(1, 3)
    epochs = [record["epoch"] for record in metrics]
    for axis, (key, title) in zip(
        axes, [("elbo", "ELBO"), ("recon", "log p(x | z)"), ("kl", "KL(q || p)")], strict=True
    ):
        for split, style in _STYLES.items():
            values = [record[split][key] for record in metrics]
            axis.plot(epochs, values, style, label=split, linewidth=1.2)
        axis.set(title=title, xlabel="epoch", ylabel="nats")
        tail = [record[s][key] for record in metrics[len(metrics) // 20 :] for s in _STYLES]
        low, high = min(tail), max(tail)
        axis.set_ylim(low - 0.05 * (high - low) - 1e-3, high + 0.05 * (high - low) + 1e-3)
    axes[0].legend(frameon=False)
    _write(figure, path)


def latents(kl_per_latent: Mapping[str, Sequence[float]], path: Path) -> None:
    """Write the KL of every latent, the largest first; a bar near zero is a latent not in use."""
    figure, axes = new_figure(1, max(1, len(kl_per_latent)))
    for axis, (name, values) in zip(np.ravel(axes), kl_per_latent.items(), strict=False):
        axis.bar(range(len(values)), sorted(values, reverse=True), width=0.8)
        axis.set(title=f"KL of each element of '{name}'", xlabel="latent, by KL", ylabel="nats")
        axis.xaxis.get_major_locator().set_params(integer=True)
    _write(figure, path)


def iwae_curve(bounds: Sequence[Any], elbo: float, path: Path) -> None:
    """Write the importance-weighted bound against the number of draws."""
    figure, axis = new_figure()
    ks = [bound.num_samples for bound in bounds]
    values = [bound.value for bound in bounds]
    errors = [bound.standard_error or 0.0 for bound in bounds]
    axis.errorbar(ks, values, errors, marker="o", capsize=3, label="IWAE bound")
    axis.axhline(elbo, linestyle="--", color="grey", label="ELBO")
    axis.set(xscale="log", xlabel="draws K", ylabel="nats", title="log p(x), from below")
    axis.legend(frameon=False)
    _write(figure, path)
