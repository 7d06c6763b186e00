"""``vaezoo encode``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import vaezoo
from vaezoo.cli._given import given_option
from vaezoo.cli._shared import (
    echo_points,
    limit_option,
    num_samples_option,
    out_option,
    seed_option,
    takes_data,
    takes_run,
    z_option,
)
from vaezoo.cli._streams import echo
from vaezoo.errors import RequestError

if TYPE_CHECKING:
    from vaezoo.runs import Run


__all__ = ["encode"]


@click.command()
@takes_data
@limit_option(text="Only the first so many rows.  [default: all; 100 in a .nc or .zarr file]")
@z_option
@num_samples_option(1000, "Draws for each datum in a .nc or .zarr file, a multiple of 4.", least=4)
@click.option(
    "--groups",
    metavar="NAMES",
    help="What a .nc or .zarr file holds: names of groups with commas, or all.  [default: all but "
    "prior, prior_predictive, posterior_predictive]",
)
@click.option(
    "--max-gib",
    type=click.FloatRange(min=0, min_open=True),
    default=2.0,
    show_default=True,
    help="Refuse to write a .nc or .zarr of more GiB.",
)
@out_option(
    *(".npz", ".csv", ".nc", ".zarr"),
    text="A .npz or .csv file of latents, or .nc or .zarr: posterior draws for ArviZ.",
    required=True,
)
@given_option
@seed_option
@takes_run
def encode(
    run: "Run",
    z: str,
    num_samples: int,
    groups: str | None,
    max_gib: float,
    out: Path,
    **rows: Any,
) -> None:
    """Write the latents that the guide finds in data.

    A .nc file or .zarr folder holds draws of q(z | x) with their log-densities as an ArviZ data
    tree. It is written in pieces.

    \b
    Example:
      vaezoo encode runs/my-run -o z.npz
      vaezoo encode runs/my-run -n 100 -o posterior.nc
      vaezoo encode runs/my-run --groups posterior,prior -o posterior.zarr
    """
    if out.suffix in (".nc", ".zarr"):
        _write_draws(run, rows, out, num_samples, groups, max_gib)
    elif groups:
        raise RequestError(f"'{out}' has no groups; drop --groups, or write a .nc or .zarr")
    else:
        _write_codes(run, rows, out, z)


def _write_draws(
    run: "Run", rows: dict[str, Any], out: Path, num_samples: int, groups: str | None, cap: float
) -> None:
    from vaezoo.trees.files import require_writable
    from vaezoo.trees.groups import DEFAULT_GROUPS
    from vaezoo.trees.posterior import plan_draws

    require_writable(out)
    names = [name.strip() for name in groups.split(",")] if groups else DEFAULT_GROUPS
    rows = {**rows, "limit": rows["limit"] or 100}
    draws = plan_draws(run, **rows, num_samples=num_samples, groups=names)
    draws.check_size(cap)
    vaezoo.save_tree(draws.pieces(), out)
    echo(f"{num_samples} draws for each of {len(draws.rows)} rows -> {out}")


def _write_codes(run: "Run", rows: dict[str, Any], out: Path, z: str) -> None:
    from vaezoo.cli._files import write_csv, write_npz
    from vaezoo.predict.points import shared_latents

    codes = vaezoo.encode(run, **rows, z=z)  # type: ignore[arg-type]
    shared = shared_latents(run)
    of_rows = {name: values for name, values in codes.items() if name not in shared}
    if not of_rows and out.suffix == ".csv":
        raise RequestError(
            f"all data share the latents of {run.name}, and a .csv has rows; write a .npz"
        )
    if out.suffix == ".npz":
        write_npz(out, codes)
    else:
        write_csv(out, of_rows)
    count = f"{len(next(iter(of_rows.values())))} {rows['split']}" if of_rows else "all"
    echo(f"latents of {count} rows, z: {z} -> {out}")
    for name in sorted(shared):
        echo(f"{name}: shared by all data" + (", left out" if out.suffix == ".csv" else ""))
    echo_points(run, z=z)
