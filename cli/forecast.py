"""``vaezoo forecast``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import vaezoo
from vaezoo.cli._given import given_option
from vaezoo.cli._shared import (
    limit_option,
    num_samples_option,
    out_option,
    seed_option,
    takes_data,
    takes_run,
)
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    import xarray as xr

    from vaezoo.runs import Run


__all__ = ["forecast"]


class PrefixType(click.ParamType):  # type: ignore[type-arg]
    """A number of frames, or ``half`` or ``all`` of each sequence."""

    name = "frames"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        if value in ("half", "all"):
            return value
        try:
            return click.IntRange(min=1).convert(value, param, ctx)
        except click.BadParameter:
            self.fail(f"'{value}' is no number of frames from 1 on; nor half or all", param, ctx)


@click.command()
@click.option(
    "--horizon",
    type=click.IntRange(min=1),
    required=True,
    help="How many frames to forecast.",
)
@num_samples_option(100, "Draws for each sequence.")
@click.option(
    "--prefix",
    type=PrefixType(),
    metavar="FRAMES",
    default="half",
    show_default=True,
    help="Frames that are given of each sequence: a number, half or all.",
)
@takes_data
@limit_option(8, "How many rows.")
@given_option
@out_option(
    *(".png", ".npz", ".nc"),
    text="A .png, .npz or .nc (ArviZ) file.  [default: RUN/figures/forecast.png]",
)
@seed_option
@takes_run
def forecast(run: "Run", out: Path | None, **options: Any) -> None:
    """Forecast the next frames of sequences.

    Real values become bands that hold 50 % and 90 % of the draws, piano-rolls a map of
    probabilities, drawings several continuations. A .nc file has all draws, what came, and the
    scores of each frame.

    \b
    Example:
      vaezoo forecast runs/my-run --horizon 8 --num-samples 100
      vaezoo forecast runs/my-run --horizon 8 --prefix 20 -n 100 -o next.nc
    """
    from vaezoo.cli._files import output
    from vaezoo.plots.predictions import plot_forecast

    path = out or run.folder() / "figures" / "forecast.png"
    tree = vaezoo.forecast(run, **options)
    if path.suffix == ".png":
        with output(run, out, "forecast.png") as file:
            plot_forecast(run, tree, file)
    elif path.suffix == ".nc":
        vaezoo.save_tree(tree, path)
    else:
        _write_arrays(tree, path)
    rows = tree["predictions"].sizes["datum"]
    frames = f"the next {options['horizon']} frames of {rows} {options['split']} rows"
    echo(f"{options['num_samples']} draws of {frames} -> {path}")
    if number := tree.attrs["num_filtered"]:
        echo(f"the guide reads {number} of {rows} beginnings badly: went on from filtered states")
    _say_scores(tree)


def _write_arrays(tree: "xr.DataTree", path: Path) -> None:
    from vaezoo.cli._files import write_npz
    from vaezoo.predict.forecasting import values_of

    arrays = {"prefix": values_of(tree, "predictions_constant_data", "prefix")}
    for name in map(str, tree["truth"].data_vars):
        before = "" if name == "x" else f"{name}_"
        arrays |= {
            name: values_of(tree, "predictions", name)[0],
            f"{before}begun": values_of(tree, "observed_data", name),
            f"{before}truth": values_of(tree, "truth", name),
        }
    write_npz(path, arrays)


def _say_scores(tree: "xr.DataTree") -> None:
    """Print the mean scores over the frames that are known."""
    import numpy as np

    scores = tree["scores"].to_dataset()
    num_frames = max(int(np.isfinite(values).sum()) for values in scores.values())
    if num_frames == 0:
        echo("no frame that came is known: no scores")
        return
    means = {str(name): float(values.mean()) for name, values in scores.items()}
    said = [f"{n} {v:.4g}{' nats a frame' * n.startswith('log_loss')}" for n, v in means.items()]
    echo(f"over the {num_frames} frames that are known: {', '.join(said)}")
