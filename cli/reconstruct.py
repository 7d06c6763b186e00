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
    takes_data,
    takes_run,
    x_option,
    z_option,
)
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.runs import Run


__all__ = ["reconstruct"]


@click.command()
@takes_data
@limit_option(64, "How many rows.")
@z_option
@x_option
@given_option
@out_option(
    *(".png", ".npz"),
    text="A .png or .npz file.  [default: RUN/figures/reconstructions.png]",
)
@seed_option
@takes_run
def reconstruct(run: "Run", out: Path | None, **options: Any) -> None:
    """Reconstruct data: rows of data above rows of what the model makes of them.

    \b
    Example:
      vaezoo reconstruct runs/my-run --split test -o reconstructions.png
    """
    from vaezoo.cli._files import output, write_pairs

    path = out or run.folder() / "figures" / "reconstructions.png"
    data, x = vaezoo.reconstruct(run, **options)
    with output(run, out, path.name) as file:
        write_pairs(file, data, x, run)
    number = len(next(iter(x.values())) if isinstance(x, dict) else x)
    echo(
        f"{number} reconstructions of {options['split']} rows, z: {options['z']}, "
        f"x: {options['x']} -> {path}"
    )
    echo_points(run, **{side: options[side] for side in ("z", "x")})
