"""The eight pictures of the documentation's first page, each of a model trained here.

They need ``mnist``, ``dsprites``, ``jsb`` and ``pendigits``, from a folder or from the network.
"""

import argparse
import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image
from scipy.stats import norm

import vaezoo
from vaezoo.data import from_arrays
from vaezoo.plots.paper import INK, NEW, as_png
from vaezoo.report import per_datum
from vaezoo.runs import Run

PICTURES = Path(__file__).parents[1] / "docs" / "_static" / "first"

parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
parser.add_argument("pictures", nargs="*", help="Those named only, as 'notes'.")
parser.add_argument("--runs", type=Path, help="A folder that keeps the runs, and has some already.")


def main() -> None:
    arguments = parser.parse_args()
    PICTURES.mkdir(exist_ok=True)
    for name in arguments.pictures or TILES:
        figure = Figure(figsize=(3.2, 3.2), dpi=120)
        axis = figure.add_axes((0.03, 0.03, 0.94, 0.94))
        axis.set_axis_off()
        TILES[name](axis, arguments.runs)
        with Image.open(io.BytesIO(as_png(figure))) as picture:
            picture.convert("RGB").quantize(48).save(PICTURES / f"{name}.png", optimize=True)
        print(name, flush=True)


def _run(
    folder: Path | None,
    name: str,
    model: str,
    data: Any,
    *,
    training: Mapping[str, Any],
    config: Mapping[str, Any] | None = None,
) -> Run:
    """Return the run of that name in a folder, or train it."""
    out = None if folder is None else folder / name
    if out is not None and out.is_dir():
        return vaezoo.load_run(out)
    return vaezoo.fit(model, data, config=config, training=training, out=out)


def _digits(axis: Any, runs: Path | None) -> None:
    run = _run(runs, "digits", "vae-bernoulli", "mnist", training={"steps": 4000})
    _show(axis, _grid(vaezoo.sample(run, 36) / 255))


def _plane_run(runs: Path | None) -> Run:
    config = {"z_dim": 2, "hidden": (300, 300)}
    training = {"steps": 4000}
    return _run(runs, "plane", "vae-bernoulli", "mnist", config=config, training=training)


def _plane(axis: Any, runs: Path | None) -> None:
    """The means of p(x | z) over the quantiles of the prior, as Kingma & Welling draw them."""
    pair = _plane_run(runs).pair
    ticks = torch.as_tensor(norm.ppf(np.linspace(0.03, 0.97, 12)), dtype=torch.float32)
    z = torch.cartesian_prod(ticks.flip(0), ticks)
    with torch.no_grad():
        x = pair.decoder(z).mean.numpy()
    _show(axis, _grid(x, gap=0))


def _codes(axis: Any, runs: Path | None) -> None:
    """Codes of test rows, in ten colours by their label."""
    seen = vaezoo.latents(_plane_run(runs), limit=3000)
    colours = colormaps["tab10"](seen.label)
    axis.scatter(*seen.codes[:, :2].T, c=colours, s=4, alpha=0.7, linewidths=0)


def _shapes(axis: Any, runs: Path | None) -> None:
    """Six latents along their ranges; each row changes one thing."""
    data = vaezoo.load_data("dsprites")
    rows = np.sort(np.random.default_rng(0).choice(len(data.x), 20_000, replace=False))
    few = from_arrays(np.asarray(data.x[rows, ::2, ::2], np.float32))  # a quarter of the pixels
    config, training = {"z_dim": 10, "hidden": (300, 300)}, {"steps": 3000}
    run = _run(runs, "shapes", "vae-bernoulli", few, config=config, training=training)
    largest = int(few.x[few.splits["test"]].sum((1, 2)).argmax())
    moved = vaezoo.traverse(run, few, rows=(largest,), most=6, num_values=6)
    _show(axis, _grid(moved.x[0].reshape(-1, 32, 32)))


def _waves(axis: Any, runs: Path | None) -> None:
    """A noisy swing, and what is forecast from its first half, with what came."""
    rng = np.random.default_rng(0)
    time = np.arange(60)
    phase, period = rng.uniform(0, 2 * np.pi, (400, 1)), rng.uniform(12, 16, (400, 1))
    x = np.sin(2 * np.pi * time / period + phase) + 0.15 * rng.standard_normal((400, 60))
    data = from_arrays(x[..., None].astype("float32"), length=np.full(400, 60))
    run = _run(runs, "waves", "lgssm", data, config={"z_dim": 4}, training={"steps": 1500})
    tree = vaezoo.forecast(run, data, prefix=30, horizon=30, num_samples=400, limit=1)
    draws = tree["predictions"]["x"].values.reshape(400, 30)
    for low, high in ((0.05, 0.95), (0.25, 0.75)):
        band = np.quantile(draws, (low, high), axis=0)
        axis.fill_between(time[30:], *band, color=NEW, alpha=0.3, linewidth=0)
    seen, came = tree["observed_data"]["x"].values.ravel(), tree["truth"]["x"].values.ravel()
    axis.plot(time[:30], seen, color=INK)
    axis.plot(time[30:], came, ".", color=INK, markersize=4)


def _notes(axis: Any, runs: Path | None) -> None:
    run = _run(runs, "notes", "vrnn", "jsb", training={"epochs": 60})
    x = vaezoo.sample(run, 1, x="sample", steps=80, seed=1)[0]
    _show(axis, x.T[20:65], aspect="auto", origin="lower")


def _pen(axis: Any, runs: Path | None) -> None:
    training = {"epochs": 6}
    config = {"likelihood": "handwriting"}
    run = _run(runs, "pen", "vrnn", "pendigits", config=config, training=training)
    drawings = vaezoo.sample(run, 16, x="sample", seed=0)
    for index, drawing in enumerate(drawings):
        _draw(axis, drawing, 4.0 * (index % 4), 4.0 * (index // 4))
    axis.set_aspect("equal")


def _draw(axis: Any, drawing: Any, right: float, up: float) -> None:
    """Draw strokes in a square of side 3 whose corner is there."""
    drawing = drawing[~np.isnan(drawing).any(-1)]
    points = np.cumsum(drawing[:, :2], 0)
    points = 3 * (points - points.min(0)) / np.ptp(points, 0).max()
    for stroke in np.split(points, np.flatnonzero(drawing[:, 2] > 0.5) + 1):
        axis.plot(stroke[:, 0] + right, stroke[:, 1] + up, color=INK, linewidth=1.5)


def _posterior(axis: Any, runs: Path | None) -> None:
    """Draws of the guide of the datum that it misses by most, and those that repair it."""
    config, training = {"z_dim": 2}, {"epochs": 60}
    run = _run(runs, "posterior", "vae-bernoulli", "digits", config=config, training=training)
    report = vaezoo.analyse(run, limit=40)
    worst = int(per_datum(report)["mean_shift"].argmax("datum"))
    for name, colour in (("q", "0.55"), ("checked", NEW)):
        z = report.trees[name]["posterior"]["z"].isel(datum=worst).values.reshape(-1, 2)
        axis.plot(*z[:800].T, ".", markersize=2.5, color=colour, alpha=0.7)


def _grid(x: Any, gap: int = 2) -> Any:
    """Return square pictures (N, H, W) as one, row by row."""
    side = round(len(x) ** 0.5)
    padded = np.pad(x, ((0, 0), (gap, gap), (gap, gap)))
    height, width = padded.shape[1:]
    rows = padded.reshape(side, -1, height, width).transpose(0, 2, 1, 3)
    return rows.reshape(side * height, -1)


def _show(axis: Any, picture: Any, **options: Any) -> None:
    axis.imshow(picture, cmap="Greys", vmin=0, vmax=1, interpolation="nearest", **options)


TILES: dict[str, Callable[[Any, Path | None], None]] = {
    "digits": _digits,
    "plane": _plane,
    "codes": _codes,
    "shapes": _shapes,
    "waves": _waves,
    "notes": _notes,
    "pen": _pen,
    "posterior": _posterior,
}


if __name__ == "__main__":
    main()
