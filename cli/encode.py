"""``vaezoo encode``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli._shared import (
    data_dir_option,
    data_option,
    device_option,
    model_option,
    run_argument,
    seed_option,
    split_option,
    z_option,
)

if TYPE_CHECKING:
    from vaezoo.runs import Run


@click.command()
@run_argument
@data_option
@data_dir_option
@split_option
@click.option("-n", "limit", type=click.IntRange(min=1), help="Only the first so many rows.")
@z_option
@click.option(
    "--draws",
    type=click.IntRange(min=4),
    default=1000,
    show_default=True,
    help="Draws for each datum in a .nc or .zarr file, a multiple of 4.",
)
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
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="A .npz or .csv file of latents, or .nc or .zarr: posterior draws for ArviZ.",
)
@seed_option
@device_option
@model_option
def encode(
    run: Path,
    data: str | None,
    data_dir: str | None,
    split: str,
    limit: int | None,
    z: str,
    draws: int,
    groups: str | None,
    max_gib: float,
    out: Path,
    seed: int,
    device: str,
    model: str | None,
) -> None:
    """Write the latents that the guide finds in data.

    A .nc file or .zarr folder holds draws of q(z | x) with their log-densities as an ArviZ data
    tree, by default for the first 100 rows. It is written in pieces.

    \b
    Example:
      vaezoo encode runs/my-run -o z.npz
      vaezoo encode runs/my-run -n 100 -o posterior.nc
      vaezoo encode runs/my-run --groups posterior,prior -o posterior.zarr
    """
    from vaezoo.cli._files import require_ending
    from vaezoo.errors import RequestError
    from vaezoo.runs import load_run
    from vaezoo.trees.files import require_writable

    require_ending(out, (".npz", ".csv", ".nc", ".zarr"))
    as_tree = out.suffix in (".nc", ".zarr")
    if as_tree:
        require_writable(out)
    elif groups:
        raise RequestError(f"'{out}' has no groups; drop --groups, or write a .nc or .zarr")
    loaded = load_run(run, device=device, model=model)
    rows = {"data": data, "split": split, "seed": seed, "data_dir": data_dir}
    if as_tree:
        _write_draws(loaded, {**rows, "limit": limit or 100}, out, draws, groups, max_gib)
    else:
        _write_codes(loaded, {**rows, "limit": limit}, out, z)


def _write_draws(
    run: "Run", rows: dict[str, Any], out: Path, num_samples: int, groups: str | None, cap: float
) -> None:
    from vaezoo.trees.files import save_tree
    from vaezoo.trees.groups import DEFAULT_GROUPS
    from vaezoo.trees.posterior import plan_draws

    names = [name.strip() for name in groups.split(",")] if groups else DEFAULT_GROUPS
    draws = plan_draws(run, **rows, num_samples=num_samples, groups=names)
    draws.check_size(cap)
    save_tree(draws.pieces(), out)
    click.echo(f"{num_samples} draws for each of {len(draws.rows)} rows -> {out}")


def _write_codes(run: "Run", rows: dict[str, Any], out: Path, z: str) -> None:
    from vaezoo.cli._files import write_csv, write_npz
    from vaezoo.predict.encoding import encode as encode_run

    codes = encode_run(run, **rows, z=z)  # type: ignore[arg-type]
    (write_npz if out.suffix == ".npz" else write_csv)(out, codes)
    count = len(next(iter(codes.values())))
    click.echo(f"latents of {count} {rows['split']} rows, z: {z} -> {out}")
