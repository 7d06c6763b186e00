"""``vaezoo impute``."""

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
)

if TYPE_CHECKING:
    from vaezoo.predict.imputation import Imputation

FEWEST_TAKEN = 0.02


class GapType(click.ParamType):  # type: ignore[type-arg]
    """Frames ``START:END``."""

    name = "start:end"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        start, colon, end = str(value).partition(":")
        if not (colon and start.isdecimal() and end.isdecimal()):
            self.fail(f"'{value}' is no START:END, as 10:20", param, ctx)
        return int(start), int(end)


@click.command()
@run_argument
@data_option
@data_dir_option
@click.option(
    "--split",
    type=click.Choice(["train", "validation", "test"]),
    help="Which rows.  [default: test, or all rows of --data]",
)
@click.option(
    "--missing", "fraction", type=float, metavar="SHARE", help="Hide this share of the entries."
)
@click.option(
    "--gap", type=GapType(), metavar="START:END", help="Hide these frames of each sequence."
)
@click.option(
    "-n", "limit", type=click.IntRange(min=1), help="How many rows.  [default: 16, all of --data]"
)
@click.option(
    "--draws",
    type=click.IntRange(min=1),
    default=100,
    show_default=True,
    help="Draws that are kept.",
)
@click.option(
    "--burn-in",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Steps of the chain before them.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path),
    help="A .png or .npz file.  [default: RUN/figures/imputed.png]",
)
@seed_option
@device_option
@model_option
def impute(
    run: Path,
    data: str | None,
    data_dir: str | None,
    split: str | None,
    fraction: float | None,
    gap: tuple[int, int] | None,
    limit: int | None,
    draws: int,
    burn_in: int,
    out: Path | None,
    seed: int,
    device: str,
    model: str | None,
) -> None:
    """Fill in missing entries of data: those that are nan, or that you hide.

    A Markov chain draws them from p(x_missing | x_observed). A .npz file has x, with the means of
    the draws in place of what is missing, their deviation sd, the last draw, and missing.

    \b
    Example:
      vaezoo impute runs/my-run --missing 0.2
      vaezoo impute runs/my-run --gap 3:6 -n 8 -o filled.png
      vaezoo impute runs/my-run --data with_gaps.npz -o filled.npz
    """
    from vaezoo.cli._files import require_ending
    from vaezoo.predict.imputation import impute as impute_run
    from vaezoo.runs import load_run

    loaded = load_run(run, device=device, model=model)
    path = out or loaded.folder() / "figures" / "imputed.png"
    require_ending(path, (".png", ".npz"))
    found = impute_run(
        loaded,
        data,
        split=split,
        fraction=fraction,
        gap=gap,
        num_samples=draws,
        burn_in=burn_in,
        limit=limit,
        seed=seed,
        data_dir=data_dir,
    )
    if path.suffix == ".png":
        from vaezoo.plots.predictions import plot_imputation

        plot_imputation(loaded, found, path)
    else:
        _write_arrays(found, path)
    click.echo(
        f"{int(found.missing.sum())} missing entries of {len(found.truth)} rows, "
        f"{draws} draws, {found.acceptance:.0%} of the steps taken -> {path}"
    )
    _say_error(found)


def _write_arrays(found: "Imputation", path: Path) -> None:
    import numpy as np

    from vaezoo.cli._files import write_npz

    arrays = {
        "x": np.where(found.missing, found.mean, found.truth),
        "sd": found.x.std(0),
        "draw": found.x[-1],
        "missing": found.missing,
    }
    write_npz(path, arrays if found.length is None else {**arrays, "length": found.length})


def _say_error(found: "Imputation") -> None:
    """Print how far the means are from what is true, where that is known."""
    import numpy as np

    if found.acceptance < FEWEST_TAKEN:
        click.echo("warning: the chain hardly moves; take more --draws and --burn-in", err=True)
    known = found.missing & ~np.isnan(found.truth)
    if not known.any():
        return
    observed = found.truth[~found.missing]
    error = found.truth[known] - found.mean[known]
    plain = found.truth[known] - np.nanmean(observed) if len(observed) else found.truth[known]
    click.echo(
        f"root mean square error {_root_mean_square(error):.4g}; of the mean of all that is "
        f"observed {_root_mean_square(plain):.4g}"
    )


def _root_mean_square(values: Any) -> float:
    return float((values**2).mean() ** 0.5)
