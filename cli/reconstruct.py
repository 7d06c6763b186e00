"""``vaezoo reconstruct``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import vaezoo
from vaezoo.cli._given import given_option
from vaezoo.cli._shared import (
    echo_points,
    limit_option,
    out_option,
    seed_option,
    shown_option,
    takes_data,
    takes_run,
    z_option,
)
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.data.dataset import Array
    from vaezoo.runs import Run


__all__ = ["reconstruct"]


@click.command()
@takes_data
@limit_option(64, "How many rows.")
@z_option
@shown_option
@click.option(
    "--draws",
    type=click.IntRange(min=1),
    metavar="S",
    help="Reconstruct each row so many times, with --z sample or --x sample.",
)
@given_option
@out_option(
    *(".png", ".npz"),
    text="A .png or .npz file.  [default: RUN/figures/reconstructions.png]",
)
@seed_option
@takes_run
def reconstruct(run: "Run", out: Path | None, **options: Any) -> None:
    """Reconstruct data: rows of data above rows of what the model makes of them.

    With --draws, or --x both, a row has a datum at its left and all that is made of it beside; in a
    .npz file x is then (N, S, ...), and `columns` names the S.

    \b
    Example:
      vaezoo reconstruct runs/my-run --split test -o reconstructions.png
      vaezoo reconstruct runs/my-run -n 8 --z sample --draws 16
      vaezoo reconstruct runs/my-run -n 8 --x both
    """
    from vaezoo.cli._files import output, write_pairs, write_several

    path = out or run.folder() / "figures" / "reconstructions.png"
    data, x = vaezoo.reconstruct(run, **options)
    titles = _titles(options["x"], options["draws"])
    sides = f"z: {options['z']}, x: {options['x']}"
    with output(run, out, "reconstructions.png") as file:
        if titles:
            write_several(file, data, x, run, titles, note=f"{run.name}: {sides}")
        else:
            write_pairs(file, data, x, run)
    values = next(iter(x.values())) if isinstance(x, dict) else x
    draws = f"{options['draws']} each, " if options["draws"] else ""
    echo(
        f"{len(values)} reconstructions of {options['split']} rows, {draws}{sides}, "
        f"seed {options['seed']} -> {path}"
    )
    if (options["draws"] or 1) > 1 and _are_alike(values):
        echo("all draws of a row are alike: q(z | x) is a point")
    echo_points(run, **{side: options[side] for side in ("z", "x")})


def _titles(x: str, draws: int | None) -> list[str]:
    """Return what the columns beside a datum show; none where there is one by itself."""
    if draws is None:
        return ["mean", "sample"] if x == "both" else []
    names = [f"draw {number + 1}" for number in range(draws)]
    return [f"{n}: {side}" for n in names for side in ("mean", "sample")] if x == "both" else names


def _are_alike(values: "Array") -> bool:
    """Return whether draws ``(N, S, ...)`` are the same for each datum; nan is behind an end."""
    import numpy as np

    return bool((np.nan_to_num(values) == np.nan_to_num(values[:, :1])).all())
