"""``vaezoo impute``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import vaezoo
from vaezoo.cli._flags import in_flags
from vaezoo.cli._given import given_option
from vaezoo.cli._shared import (
    choice_option,
    data_dir_option,
    data_option,
    limit_option,
    num_samples_option,
    out_option,
    seed_option,
    takes_run,
)
from vaezoo.cli._streams import echo
from vaezoo.options import Split

if TYPE_CHECKING:
    from vaezoo.predict.imputation import Imputation
    from vaezoo.runs import Run

__all__ = ["impute"]

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
@data_option
@data_dir_option
@choice_option(
    "--split",
    Split,
    default=None,
    show_default=False,
    help="Which rows.  [default: test, or all rows of --data]",
)
@click.option("--fraction", type=float, metavar="SHARE", help="Hide this share of the entries.")
@click.option(
    "--gap", type=GapType(), metavar="START:END", help="Hide these frames of each sequence."
)
@limit_option(text="How many rows.  [default: 16, all of --data]")
@num_samples_option(100, "Draws that are kept.")
@click.option(
    "--burn-in",
    type=click.IntRange(min=0),
    default=100,
    show_default=True,
    help="Steps of the chain before them.",
)
@given_option
@out_option(*(".png", ".npz"), text="A .png or .npz file.  [default: RUN/figures/imputed.png]")
@seed_option
@takes_run
def impute(run: "Run", out: Path | None, **options: Any) -> None:
    """Fill in missing entries of data: those that are nan, or that you hide.

    A Markov chain draws them from p(x_missing | x_observed). A .npz file has x, with the means of
    the draws in place of what is missing, their deviation sd, the last draw, and missing.

    \b
    Example:
      vaezoo impute runs/my-run --fraction 0.2
      vaezoo impute runs/my-run --gap 3:6 -n 8 -o filled.png
      vaezoo impute runs/my-run --data with_gaps.npz -o filled.npz
    """
    path = out or run.folder() / "figures" / "imputed.png"
    imputation = vaezoo.impute(run, **options)
    if path.suffix == ".png":
        from vaezoo.cli._files import output
        from vaezoo.plots.predictions import plot_imputation

        with output(run, out, path.name) as file:
            plot_imputation(run, imputation, file)
    else:
        _write_arrays(imputation, path)
    echo(
        f"{int(imputation.missing.sum())} missing entries of {len(imputation.truth)} rows, "
        f"{options['num_samples']} draws, {imputation.acceptance:.0%} of the steps taken -> {path}"
    )
    _say_error(imputation)


def _write_arrays(imputation: "Imputation", path: Path) -> None:
    import numpy as np

    from vaezoo.cli._files import write_npz

    arrays = {
        "x": np.where(imputation.missing, imputation.mean, imputation.truth),
        "sd": imputation.x.std(0),
        "draw": imputation.x[-1],
        "missing": imputation.missing,
    }
    if imputation.length is not None:
        arrays["length"] = imputation.length
    write_npz(path, arrays)


def _say_error(imputation: "Imputation") -> None:
    """Print how far the means are from what is true, where that is known."""
    import numpy as np

    if imputation.acceptance < FEWEST_TAKEN:
        words = in_flags("the chain hardly moves; take more `num_samples` and `burn_in`")
        echo(f"warning: {words}", err=True)
    truth, missing = imputation.truth, imputation.missing
    hidden = missing & ~np.isnan(truth)
    if not hidden.any():
        return
    observed = truth[~missing]
    error = truth[hidden] - imputation.mean[hidden]
    plain = truth[hidden] - (np.nanmean(observed) if len(observed) else 0.0)
    echo(
        f"root mean square error {_root_mean_square(error):.4g}; of the mean of all that is "
        f"observed {_root_mean_square(plain):.4g}"
    )


def _root_mean_square(values: Any) -> float:
    return float((values**2).mean() ** 0.5)
