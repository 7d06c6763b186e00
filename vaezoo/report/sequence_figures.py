"""The figures of the filters of sequences: what happens frame by frame."""

from collections.abc import Iterator

import torch
from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.sequences import CLOSE, SequenceCheck
from vaezoo.inference.importance import largest_good_k
from vaezoo.plots.paper import new_figure
from vaezoo.report.canvas import COLOURS, GREY, GUIDE, LIGHT, Figure, add_legend, by_verdict
from vaezoo.report.captions import captioned
from vaezoo.report.words import rates_of

__all__ = ["sequence_figures"]

FEWEST = 5


def sequence_figures(check: SequenceCheck) -> Iterator[Figure]:
    """Yield ESS and k-hat by frame, the bounds, the agreement of the filters, log p by frame."""
    yield _ess(check)
    yield _k_hat(check)
    yield _bounds(check)
    yield _filters(check)
    yield _predictive(check)


def _band(values: Tensor) -> tuple[Array, Array]:
    """Return frames that some sequences have, and quartiles over these ``(3, frames)``."""
    frames = torch.nonzero((~values.isnan()).sum(0) >= min(FEWEST, len(values))).flatten()
    levels = torch.tensor([0.25, 0.5, 0.75], dtype=values.dtype)
    return frames.numpy(), values[:, frames].nanquantile(levels, 0).numpy()


def _by_frame(values: Tensor, label: str, heights: tuple[float, ...]) -> tuple[object, object]:
    picture, axis = new_figure()
    frames, (low, middle, high) = _band(values)
    axis.fill_between(frames, low, high, color=LIGHT, alpha=0.6, linewidth=0)
    axis.plot(frames, middle, color=GUIDE)
    for height in heights:
        axis.axhline(height, color=GREY, linestyle="--", linewidth=0.8)
    axis.set(xlabel="frame", ylabel=label)
    return picture, axis


def _ess(check: SequenceCheck) -> Figure:
    picture, axis = _by_frame(check.ess, "particles that count", (0.1, 0.5))
    axis.set_ylim(0, 1.02)  # type: ignore[attr-defined]
    return captioned("ess", picture, {"num_particles": check.num_particles})


def _k_hat(check: SequenceCheck) -> Figure:
    limit = largest_good_k(check.num_particles)
    picture, _ = _by_frame(check.k_hat, "k-hat", (limit, 1.0))
    return captioned("khat_of_frames", picture, {"limit": limit}, name="khat")


def _bounds(check: SequenceCheck) -> Figure:
    picture, axis = new_figure()
    rates = rates_of(check)
    values = list(rates.values())
    axis.plot(range(len(values)), values, "o-", color=GUIDE)
    axis.set_xticks(range(len(values)), list(rates))
    axis.margins(0.2)
    for place, value in enumerate(values):
        text = f"{value:.3f}"
        axis.annotate(text, (place, value), (0, 6), textcoords="offset points", ha="center")
    axis.set(ylabel="nats per frame")
    number = int((check.verdict < 2).sum()) or len(check.verdict)
    filled = {"num_particles": check.num_particles, "number": number, "total": len(check.verdict)}
    return captioned("bounds", picture, filled)


def _filters(check: SequenceCheck) -> Figure:
    picture, axis = new_figure()
    length, difference = check.length.numpy(), check.difference.numpy().clip(1e-3)
    for name, chosen in by_verdict(check.verdict):
        axis.plot(length[chosen], difference[chosen], ".", color=COLOURS[name], label=name)
    axis.axhline(CLOSE, color=GREY, linestyle="--", linewidth=0.8)
    axis.set(yscale="log", xlabel="length", ylabel="difference of filters, nats")
    add_legend(axis)
    return captioned("filters", picture)


def _predictive(check: SequenceCheck) -> Figure:
    picture, _ = _by_frame(check.log_predictive, "log p(x_t | x before), nats", ())
    return captioned("predictive", picture)
