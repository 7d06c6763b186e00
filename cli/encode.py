"""``vaezoo encode``."""

from pathlib import Path

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
    from vaezoo.cli._files import require_ending, write_csv, write_npz
    from vaezoo.draws import DEFAULT_GROUPS, plan
    from vaezoo.figures import latent_codes
    from vaezoo.runs import load_run
    from vaezoo.trees import require_writable, save_tree

    require_ending(out, (".npz", ".csv", ".nc", ".zarr"))
    if out.suffix in (".nc", ".zarr"):
        require_writable(out)
    loaded = load_run(run, device=device, model=model)
    if out.suffix in (".nc", ".zarr"):
        names = tuple(name.strip() for name in groups.split(",")) if groups else DEFAULT_GROUPS
        planned = plan(
            loaded,
            data,
            split=split,
            limit=limit or 100,
            num_samples=draws,
            seed=seed,
            data_dir=data_dir,
            groups=names,
        )
        planned.check_size(max_gib)
        save_tree(planned.pieces(), out)
        click.echo(f"{draws} draws for each of {planned.num_rows} rows -> {out}")
        return
    codes = latent_codes(
        loaded,
        data,
        split=split,
        z=z,  # type: ignore[arg-type]
        limit=limit,
        seed=seed,
        data_dir=data_dir,
    )
    (write_npz if out.suffix == ".npz" else write_csv)(out, codes)
    rows = len(next(iter(codes.values())))
    click.echo(f"latents of {rows} {split} rows, z: {z} -> {out}")
