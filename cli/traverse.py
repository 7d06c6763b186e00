"""``vaezoo traverse``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import vaezoo
from vaezoo.cli._given import given_option
from vaezoo.cli._shared import (
    Counts,
    Names,
    echo_points,
    out_option,
    seed_option,
    table,
    takes_data,
    takes_run,
    x_option,
)
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.runs import Run


__all__ = ["traverse"]


@click.command()
@takes_data
@click.option(
    "--rows", type=Counts("rows"), default="0", show_default=True, help="Which rows, with commas."
)
@click.option(
    "--latents",
    type=Names(),
    metavar="NAMES",
    help="Which, as 'z[3],z[7]' or '3,7'.  [default: those in use]",
)
@click.option(
    "--most",
    type=click.IntRange(min=1),
    default=10,
    show_default=True,
    help="At most so many, those with the largest KL.",
)
@click.option(
    "--num-values",
    type=click.IntRange(min=1),
    default=9,
    show_default=True,
    help="Values of each.",
)
@x_option
@given_option
@out_option(*(".png", ".npz"), text="A .png or .npz file.  [default: RUN/figures/traversal.png]")
@seed_option
@takes_run
def traverse(
    run: "Run", rows: list[int], latents: list[str] | None, out: Path | None, **options: Any
) -> None:
    """Move each latent along its range, all others as they are in a datum.

    A row of pictures shows one latent between the 2.5 % and 97.5 % quantiles of the codes of data;
    those with the largest KL come first. Of a sequence a latent is moved in all frames.

    \b
    Examples:
      vaezoo traverse runs/my-run
      vaezoo traverse runs/my-run --rows 0,7 --latents 3,5 -o moved.png
    """
    from vaezoo.cli._files import output, write_npz
    from vaezoo.plots.latents.walks import plot_traversal

    moved = vaezoo.traverse(run, rows=rows, latents=latents, **options)
    path = out or run.folder() / "figures" / "traversal.png"
    with output(run, out, "traversal.png") as file:
        if path.suffix == ".npz":
            units = [unit.name for unit in moved.units]
            arrays = {"x": moved.x, "data": moved.data, "values": moved.values}
            write_npz(file, {**arrays, "latents": units})  # type: ignore[dict-item]
        else:
            plot_traversal(run, moved, rows, file)
    table(moved.cells())
    number = len(moved.units)
    latents_of = f"{number} latent{'s' * (number != 1)} of row{'s' * (len(rows) != 1)}"
    of_rows = f"{latents_of} {', '.join(map(str, rows))}"
    echo(f"\n{of_rows}, x: {options['x']} -> {path}")
    echo_points(run, z="mean", x=options["x"])
