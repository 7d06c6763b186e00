"""``vaezoo sample``."""

from pathlib import Path

import click

from vaezoo.cli._shared import (
    device_option,
    model_option,
    run_argument,
    seed_option,
    x_option,
)


@click.command()
@run_argument
@click.option(
    "-n", "num_samples", type=click.IntRange(min=1), default=64, show_default=True, help="How many."
)
@x_option
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="A .png or .npz file.  [default: RUN/figures/samples.png]",
)
@seed_option
@device_option
@model_option
def sample(
    run: Path,
    num_samples: int,
    x: str,
    out: Path | None,
    seed: int,
    device: str,
    model: str | None,
) -> None:
    """Draw new data from a trained model.

    z is drawn from the prior p(z); --x says whether the mean of p(x | z) is shown or a draw.

    \b
    Example:
      vaezoo sample runs/my-run -n 64 -o samples.png
    """
    from vaezoo.cli._files import write_data
    from vaezoo.figures import samples
    from vaezoo.runs import load_run

    loaded = load_run(run, device=device, model=model)
    path = out or loaded.folder() / "figures" / "samples.png"
    write_data(path, {"x": samples(loaded, num_samples, x=x, seed=seed)}, loaded)  # type: ignore[arg-type]
    click.echo(f"{num_samples} samples, z: sample (prior), x: {x}, seed {seed} -> {path}")
