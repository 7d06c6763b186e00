"""``vaezoo sample``."""

from pathlib import Path
from typing import TYPE_CHECKING

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
)

if TYPE_CHECKING:
    from vaezoo.data.dataset import Array
    from vaezoo.runs import Run

PRIOR = "z: sample (prior)"


@click.command()
@run_argument
@click.option(
    "-n", "num_samples", type=click.IntRange(min=1), default=64, show_default=True, help="How many."
)
@x_option
@click.option(
    "--steps",
    type=click.IntRange(min=1),
    help="Frames of a sequence.  [default: as the data usually have]",
)
@click.option(
    "--prefix",
    type=click.IntRange(min=1),
    metavar="FRAMES",
    help="Continue the first so many frames of data; --steps come after them.",
)
@data_option
@data_dir_option
@split_option
@click.option("--rate", type=click.IntRange(min=1), help="Samples a second of a .wav file.")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="A .png, .npz or (sound) .wav file.  [default: RUN/figures/samples.png]",
)
@seed_option
@device_option
@model_option
def sample(
    run: Path,
    num_samples: int,
    x: str,
    steps: int | None,
    prefix: int | None,
    data: str | None,
    data_dir: str | None,
    split: str,
    rate: int | None,
    out: Path | None,
    seed: int,
    device: str,
    model: str | None,
) -> None:
    """Draw new data from a trained model.

    z is drawn from the prior p(z); --x says whether the mean of p(x | z) is shown or a draw. A
    sequence goes on from draws of its own frames, whatever is shown.

    \b
    Example:
      vaezoo sample runs/my-run -n 64 -o samples.png
      vaezoo sample runs/my-run --prefix 20 --steps 40 -n 12 --x sample
      vaezoo sample runs/my-speech --x sample -n 4 -o drawn.wav
    """
    from vaezoo.cli._files import require_ending
    from vaezoo.plots.audio import sampling_rate
    from vaezoo.predict.sampling import sample as sample_run
    from vaezoo.runs import load_run

    loaded = load_run(run, device=device, model=model)
    path = out or loaded.folder() / "figures" / "samples.png"
    require_ending(path, (".png", ".npz", ".wav"))
    if path.suffix == ".wav":
        rate = sampling_rate(loaded, rate)
    values = sample_run(
        loaded,
        num_samples,
        x=x,  # type: ignore[arg-type]  # one of the choices
        steps=steps,
        prefix=prefix,
        data=data,
        split=split,
        seed=seed,
        data_dir=data_dir,
    )
    origin = f"the first {prefix} frames of {split} rows, continued" if prefix else PRIOR
    _write(loaded, values, path, prefix, rate)
    click.echo(f"{len(values)} samples, {origin}, x: {x}, seed {seed} -> {path}")


def _write(run: "Run", values: "Array", path: Path, prefix: int | None, rate: int | None) -> None:
    from vaezoo.cli._files import write_data
    from vaezoo.plots.audio import write_wav

    if path.suffix == ".wav" and rate:
        write_wav(values, path, rate)
    else:
        write_data(path, {"x": values}, run, begun=prefix)
