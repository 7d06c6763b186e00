"""``vaezoo reconstruct``."""

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
    x_option,
    z_option,
)


@click.command()
@run_argument
@data_option
@data_dir_option
@split_option
@click.option(
    "-n", "limit", type=click.IntRange(min=1), default=64, show_default=True, help="How many."
)
@z_option
@x_option
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="A .png or .npz file.  [default: RUN/figures/reconstructions.png]",
)
@seed_option
@device_option
@model_option
def reconstruct(
    run: Path,
    data: str | None,
    data_dir: str | None,
    split: str,
    limit: int,
    z: str,
    x: str,
    out: Path | None,
    seed: int,
    device: str,
    model: str | None,
) -> None:
    """Reconstruct data: rows of data above rows of what the model makes of them.

    \b
    Example:
      vaezoo reconstruct runs/my-run --split test -o reconstructions.png
    """
    from vaezoo.cli._files import write_data
    from vaezoo.predict.encoding import reconstruct as reconstruct_run
    from vaezoo.runs import load_run

    loaded = load_run(run, device=device, model=model)
    path = out or loaded.folder() / "figures" / "reconstructions.png"
    pairs = reconstruct_run(
        loaded,
        data,
        split=split,
        limit=limit,
        z=z,  # type: ignore[arg-type]
        x=x,  # type: ignore[arg-type]
        seed=seed,
        data_dir=data_dir,
    )
    write_data(path, pairs._asdict(), loaded)
    click.echo(f"{len(pairs.x)} reconstructions of {split} rows, z: {z}, x: {x} -> {path}")
