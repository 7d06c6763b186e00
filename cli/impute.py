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
    from vaezoo.predict.imputation import Filled, Imputation
    from vaezoo.runs import Run

__all__ = ["impute"]

FEWEST_TAKEN, LARGEST_R_HAT = 0.02, 1.1


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
@click.option(
    "--fraction", type=float, metavar="SHARE", help="Hide this share of the entries of x."
)
@click.option(
    "--gap", type=GapType(), metavar="START:END", help="Hide these frames of each sequence."
)
@click.option(
    "--hide",
    multiple=True,
    metavar="NAME",
    help="Hide all of an observed argument, as of one of two modalities; repeatable.",
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
    the draws in place of what is missing, their deviation sd, the last draw, and missing; of
    another observed argument w it has w (labels by the most frequent draw), w_sd, w_draw and
    w_missing.

    \b
    Example:
      vaezoo impute runs/my-run --fraction 0.2
      vaezoo impute runs/my-run --gap 3:6 -n 8 -o filled.png
      vaezoo impute runs/my-run --data with_gaps.npz -o filled.npz
      vaezoo impute runs/my-pair --hide w -o from_x.npz
    """
    path = out or run.folder() / "figures" / "imputed.png"
    imputation = vaezoo.impute(run, **options)
    if path.suffix == ".png":
        from vaezoo.cli._files import output
        from vaezoo.plots.predictions import plot_imputation

        with output(run, out, "imputed.png") as file:
            plot_imputation(run, imputation, file)
    else:
        _write_arrays(imputation, path)
    echo(
        f"{_count(imputation)} of {len(imputation.truth)} rows, {options['num_samples']} draws, "
        f"{imputation.acceptance:.0%} of the steps taken, R-hat {imputation.r_hat:.2f} -> {path}"
    )
    _say_error(imputation)


def _count(imputation: "Imputation") -> str:
    numbers = {name: int(part.missing.sum()) for name, part in imputation.arguments.items()}
    if numbers.keys() == {"x"}:
        return f"{numbers['x']} missing entries"
    return "missing entries: " + ", ".join(f"{n} of {name}" for name, n in numbers.items() if n)


def _write_arrays(imputation: "Imputation", path: Path) -> None:
    import numpy as np

    from vaezoo.cli._files import write_npz

    arrays: dict[str, Any] = {}
    for name, part in imputation.arguments.items():
        before = "" if name == "x" else f"{name}_"
        arrays |= {
            name: np.where(part.missing, part.point, part.truth),
            f"{before}sd": part.draws.std(0),
            f"{before}draw": part.draws[-1],
            f"{before}missing": part.missing,
        }
    if imputation.length is not None:
        arrays["length"] = imputation.length
    write_npz(path, arrays)


def _say_error(imputation: "Imputation") -> None:
    """Print how far the draws are from what is true, where that is known."""
    if imputation.acceptance < FEWEST_TAKEN:
        words = in_flags("the chain hardly moves; take more `num_samples` and `burn_in`")
        echo(f"warning: {words}", err=True)
    elif imputation.r_hat > LARGEST_R_HAT:
        words = in_flags("the chains have not mixed; take more `num_samples` and `burn_in`")
        echo(f"warning: {words}", err=True)
    several = len(imputation.arguments) > 1
    for name, part in imputation.arguments.items():
        if line := _error(part):
            echo(f"{name}: {line}" if several else line)


def _error(part: "Filled") -> str:
    """Return how far what was hidden is from its points; nothing where none is known."""
    import numpy as np

    hidden = part.missing & ~np.isnan(part.truth)
    if not hidden.any():
        return ""
    error = part.truth[hidden] - part.point[hidden]
    observed = part.truth[~part.missing]
    if part.draws.dtype.kind != "f":
        return f"{np.mean(error == 0):.0%} of what was hidden is the most frequent draw"
    line = f"root mean square error {_root_mean_square(error):.4g}"
    if not len(observed):
        return line
    plain = part.truth[hidden] - np.nanmean(observed)
    return f"{line}; of the mean of all that is observed {_root_mean_square(plain):.4g}"


def _root_mean_square(values: Any) -> float:
    return float((values**2).mean() ** 0.5)
