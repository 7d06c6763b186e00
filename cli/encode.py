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
    help="Draws for each datum in a .nc file, a multiple of 4.",
)
@click.option(
    "-o",
    "--out",
    required=True,
    type=click.Path(path_type=Path),
    help="A .npz or .csv file of latents, or .nc: posterior draws for ArviZ.",
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
    out: Path,
    seed: int,
    device: str,
    model: str | None,
) -> None:
    """Write the latents that the guide finds in data.

    A .nc file holds draws of q(z | x) with their log-densities as an ArviZ data tree, by default
    for the first 100 rows.

    \b
    Example:
      vaezoo encode runs/my-run -o z.npz
      vaezoo encode runs/my-run -n 100 -o posterior.nc
    """
    from vaezoo.cli._files import require_ending, write_csv, write_npz
    from vaezoo.draws import posterior, save_netcdf
    from vaezoo.figures import latent_codes
    from vaezoo.runs import load_run

    require_ending(out, (".npz", ".csv", ".nc"))
    loaded = load_run(run, device=device, model=model)
    if out.suffix == ".nc":
        tree = posterior(
            loaded,
            data,
            split=split,
            limit=limit or 100,
            num_samples=draws,
            seed=seed,
            data_dir=data_dir,
        )
        save_netcdf(tree, out)
        click.echo(f"{draws} draws for each of {tree.posterior.sizes['datum']} rows -> {out}")
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
