"""Ways through a latent space as pictures: traversals, interpolations, moved codes."""

from collections.abc import Sequence
from pathlib import Path

from vaezoo.plots.decoder.strips import Strip, plot_strips
from vaezoo.predict.latents.arithmetic import Arithmetic
from vaezoo.predict.latents.interpolation import Interpolation
from vaezoo.predict.latents.traversal import Traversal
from vaezoo.runs import Run

__all__ = ["plot_arithmetic", "plot_interpolation", "plot_traversal"]

MOST_MOVED = 12  # data whose codes were moved that a picture shows


def plot_traversal(run: Run, traversal: Traversal, rows: Sequence[int], path: Path) -> None:
    """Write a row of pictures for each latent that was moved; of several data one below another."""
    strips = []
    for place, row in enumerate(rows):
        for number, unit in enumerate(traversal.units):
            kl = "" if unit.kl is None else f"  {unit.kl:.2f} nats"
            datum = f"row {row}: " if len(rows) > 1 else ""
            strips.append(Strip(f"{datum}{unit.name}{kl}", traversal.x[place, number]))
    values = traversal.values.shape[1]
    ends = ["2.5 %", *[""] * (values - 2), "97.5 %"]
    plot_strips(run, strips, ends, path, f"{run.name}: each latent over the range of the codes")


def plot_interpolation(run: Run, way: Interpolation, where: str, path: Path) -> None:
    """Write the way through the latent space above the straight one; ``where`` says from and to."""
    strips = [Strip("between codes", way.x), Strip("between data", way.straight)]
    titles = [f"{position:.2g}" for position in way.positions]
    plot_strips(run, strips, titles, path, f"{run.name}: {where}")


def plot_arithmetic(run: Run, moved: Arithmetic, path: Path) -> None:
    """Write what becomes of codes as they are above what becomes of them when they are moved."""
    by = moved.direction
    some = slice(0, MOST_MOVED)
    strips = [
        Strip(f"label {by.minus:g}", moved.data[some]),
        Strip(f"moved to {by.plus:g}", moved.x[some]),
    ]
    note = f"{run.name}: codes of label {by.minus:g}, and moved by what tells {by.plus:g} from it"
    plot_strips(run, strips, [""] * len(moved.data[some]), path, note)
