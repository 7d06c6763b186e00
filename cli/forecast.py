"""``vaezoo forecast``."""

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
)

if TYPE_CHECKING:
    import xarray as xr


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
@run_argument
@click.option(
    "--horizon",
    type=click.IntRange(min=1),
    required=True,
    help="How many frames to forecast.",
)
@click.option(
    "--draws",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Draws for each sequence.",
)
@click.option(
    "--prefix",
    type=PrefixType(),
    metavar="FRAMES",
    default="half",
    show_default=True,
    help="Frames that are given of each sequence: a number, half or all.",
)
@data_option
@data_dir_option
@split_option
@click.option(
    "-n", "limit", type=click.IntRange(min=1), default=8, show_default=True, help="How many rows."
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="A .png, .npz or .nc (ArviZ) file.  [default: RUN/figures/forecast.png]",
)
@seed_option
@device_option
@model_option
def forecast(
    run: Path,
    horizon: int,
    draws: int,
    prefix: Any,
    data: str | None,
    data_dir: str | None,
    split: str,
    limit: int,
    out: Path | None,
    seed: int,
    device: str,
    model: str | None,
) -> None:
    """Forecast the next frames of sequences.

    Real values become bands that hold 50 % and 90 % of the draws, piano-rolls a map of
    probabilities, drawings several continuations. A .nc file has all draws, what came, and the
    scores of each frame.

    \b
    Example:
      vaezoo forecast runs/my-run --horizon 8 --draws 100
      vaezoo forecast runs/my-run --horizon 8 --prefix 20 -n 100 -o next.nc
    """
    from vaezoo.cli._files import require_ending
    from vaezoo.plots.predictions import plot_forecast
    from vaezoo.predict.forecasting import forecast as forecast_run
    from vaezoo.runs import load_run
    from vaezoo.trees.files import save_netcdf

    loaded = load_run(run, device=device, model=model)
    path = out or loaded.folder() / "figures" / "forecast.png"
    require_ending(path, (".png", ".npz", ".nc"))
    tree = forecast_run(
        loaded,
        data,
        split=split,
        prefix=prefix,
        horizon=horizon,
        num_samples=draws,
        limit=limit,
        seed=seed,
        data_dir=data_dir,
    )
    if path.suffix == ".png":
        plot_forecast(loaded, tree, path)
    elif path.suffix == ".nc":
        save_netcdf(tree, path)
    else:
        _write_arrays(tree, path)
    rows = tree["predictions"].sizes["datum"]
    click.echo(f"{draws} draws of the next {horizon} frames of {rows} {split} rows -> {path}")
    _say_scores(tree)


def _write_arrays(tree: "xr.DataTree", path: Path) -> None:
    from vaezoo.cli._files import write_npz
    from vaezoo.predict.forecasting import values_of

    write_npz(
        path,
        {
            "x": values_of(tree, "predictions", "x")[0],
            "begun": values_of(tree, "observed_data", "x"),
            "prefix": values_of(tree, "predictions_constant_data", "prefix"),
            "truth": values_of(tree, "truth", "x"),
        },
    )


def _say_scores(tree: "xr.DataTree") -> None:
    """Print the mean scores over the frames that are known."""
    import numpy as np

    from vaezoo.predict.forecasting import values_of

    known = int((~np.isnan(values_of(tree, "truth", "x"))).all(-1).sum())
    if known == 0:
        click.echo("no frame that came is known: no scores")
        return
    units = {"crps": "", "brier": "", "log_loss": " nats a frame"}
    means = tree["scores"].to_dataset().mean()
    scores = ", ".join(f"{name} {means[name]:.4g}{units[name]}" for name in map(str, means))
    click.echo(f"over the {known} frames that are known: {scores}")
