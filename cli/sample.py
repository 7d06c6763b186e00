"""``vaezoo sample``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import click

import vaezoo
from vaezoo.cli._given import given_option
from vaezoo.cli._shared import (
    echo_points,
    num_samples_option,
    out_option,
    seed_option,
    shown_option,
    takes_data,
    takes_run,
)
from vaezoo.cli._streams import echo
from vaezoo.errors import RequestError
from vaezoo.options import LatentSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from vaezoo.data.dataset import Array
    from vaezoo.runs import Run
    from vaezoo.runs.conditions import Given

__all__ = ["sample"]

ORIGINS = {
    "prior": "z: sample (prior)",
    "gmm": "z: sample (Gaussian mixture of codes)",
    "flow": "z: sample (flow of codes)",
}


@click.command()
@num_samples_option(64, "How many.", "-n")
@shown_option
@click.option(
    "--from",
    "--latents",
    "latents",
    type=click.Choice(get_args(LatentSource)),
    default="prior",
    show_default=True,
    help="Where z is drawn from: p(z), or a density fitted to codes of the training rows.",
)
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
@given_option
@takes_data
@click.option("--rate", type=click.IntRange(min=1), help="Samples a second of a .wav file.")
@out_option(
    *(".png", ".npz", ".wav"),
    text="A .png, .npz or (sound) .wav file.  [default: RUN/figures/samples.png]",
)
@seed_option
@takes_run
def sample(run: "Run", rate: int | None, out: Path | None, **options: Any) -> None:
    """Draw new data from a trained model.

    z is drawn from the prior p(z), or --from a mixture or a flow that is fitted to codes, as an
    autoencoder needs it; --x says whether the mean of p(x | z) is shown or a draw. A
    sequence goes on from draws of its own frames, whatever is shown.

    \b
    Example:
      vaezoo sample runs/my-run -n 64 -o samples.png
      vaezoo sample runs/my-run -n 8 --x both -o mean-and-draw.png
      vaezoo sample runs/my-ae --from gmm -n 64
      vaezoo sample runs/my-cvae --given label=3 -o threes.png
      vaezoo sample runs/my-run --prefix 20 --steps 40 -n 12 --x sample
      vaezoo sample runs/my-speech --x sample -n 4 -o drawn.wav
    """
    from vaezoo.cli._files import output, write_several
    from vaezoo.plots.audio import sampling_rate

    path = out or run.folder() / "figures" / "samples.png"
    rate = sampling_rate(run, rate) if path.suffix == ".wav" else None
    if rate is not None and options["x"] == "both":
        raise RequestError("a .wav file holds one sound each; use --x mean or --x sample")
    samples = vaezoo.sample(run, **options)
    arrays = samples if isinstance(samples, dict) else {"x": samples}
    with output(run, out, "samples.png") as file:
        if options["x"] == "both":
            titles, note = ["mean", "sample"], f"{run.name}: z: sample"
            write_several(file, None, samples, run, titles, note=note, given=options["given"])
        else:
            _write(run, arrays, options["given"], file, options["prefix"], rate)
    echo(
        f"{options['num_samples']} samples, {_origin(**options)}, x: {options['x']}, "
        f"seed {options['seed']} -> {path}"
    )
    echo_points(run, x=options["x"])


def _origin(prefix: int | None, split: str, latents: str, **_: Any) -> str:
    continued = f"the first {prefix} frames of {split} rows, continued"
    return continued if prefix else ORIGINS[latents]


def _write(
    run: "Run",
    arrays: "Mapping[str, Array]",
    given: "Given | None",
    path: Path,
    prefix: int | None,
    rate: int | None,
) -> None:
    from vaezoo.cli._files import write_data
    from vaezoo.plots.audio import write_wav

    if rate is not None:
        write_wav(arrays["x"], path, rate)
    else:
        write_data(path, arrays, run, given=given, begun=prefix)
