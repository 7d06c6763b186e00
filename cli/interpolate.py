"""``vaezoo interpolate``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import vaezoo
from vaezoo.cli._given import given_option
from vaezoo.cli._shared import (
    choice_option,
    echo_points,
    out_option,
    seed_option,
    table,
    takes_data,
    takes_run,
    x_option,
)
from vaezoo.cli._streams import echo
from vaezoo.options import InterpolationPath

if TYPE_CHECKING:
    from vaezoo.runs import Run


__all__ = ["interpolate"]


@click.command()
@click.option("--from", "start", type=click.IntRange(min=0), required=True, help="A row.")
@click.option("--to", "end", type=click.IntRange(min=0), required=True, help="Another row.")
@takes_data
@choice_option("--path", InterpolationPath, help="A straight way, or one along a great circle.")
@click.option(
    "--num-values",
    type=click.IntRange(min=3),
    default=11,
    show_default=True,
    help="Points on the way, both ends included.",
)
@x_option
@given_option
@out_option(
    *(".png", ".npz"), text="A .png or .npz file.  [default: RUN/figures/interpolation.png]"
)
@seed_option
@takes_run
def interpolate(run: "Run", out: Path | None, **options: Any) -> None:
    """Go from the code of one row to that of another, and show what the model makes on the way.

    Below it is the straight way between the two in the data. Two numbers tell them apart: the
    largest step beside the mean one (a decoder that jumps), and the distance from points on the way
    to the nearest row of the training.

    \b
    Examples:
      vaezoo interpolate runs/my-run --from 3 --to 8
      vaezoo interpolate runs/my-run --from 3 --to 8 --path spherical -o way.png
    """
    from vaezoo.cli._files import output, write_npz
    from vaezoo.plots.latents.walks import plot_interpolation

    way = vaezoo.interpolate(run, **options)
    path = out or run.folder() / "figures" / "interpolation.png"
    where = f"row {options['start']} to row {options['end']} of {options['split']}"
    where = f"{where}, {options['path']}"
    with output(run, out, "interpolation.png") as file:
        if path.suffix == ".npz":
            arrays = {"x": way.x, "straight": way.straight, "positions": way.positions}
            write_npz(file, arrays)
        else:
            plot_interpolation(run, way, where, file)
    table(way.cells())
    echo(f"\n{where}, x: {options['x']} -> {path}")
    echo_points(run, z="mean", x=options["x"])
