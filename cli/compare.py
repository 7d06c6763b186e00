"""``vaezoo compare``."""

import csv
import io
from pathlib import Path
from typing import TYPE_CHECKING

import click

import vaezoo
from vaezoo.cli._shared import (
    data_dir_option,
    data_option,
    echo_json,
    json_option,
    limit_option,
    num_samples_option,
    out_option,
    seed_option,
    split_option,
    table,
)
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.predict.comparison.comparing import Compared, Comparison

__all__ = ["compare"]


@click.command()
@click.argument("runs", metavar="RUN RUN...", nargs=-1, type=click.Path(path_type=Path))
@data_option
@data_dir_option
@split_option
@num_samples_option(100, "K, draws for each datum of the bound on log p(x).", "-k")
@limit_option()
@out_option(".png", ".csv", text="A .png with intervals, or a .csv of all data.")
@seed_option
@json_option
def compare(
    runs: tuple[Path, ...],
    data: str | None,
    data_dir: str | None,
    split: str,
    num_samples: int,
    limit: int | None,
    out: Path | None,
    seed: int,
    as_json: bool,
) -> None:
    """Compare runs on the same rows, datum by datum.

    The difference of log p(x) is that of pairs of numbers of one datum, in the units of the
    data. Its interval holds the spread over data and, of the folder of several seeds (OUT of
    train --seeds), over seeds; with many runs it is wider, as Bonferroni asks. "The same within
    noise" says that 0 lies in it. Nested R-hat of seeds is 1 where their guides draw the same
    x, and 1.4 where their means lie as far apart as the draws of one: then a single run is
    surer of x than it may be. What cannot be compared is refused: other rows, bits beside grey
    levels, probabilities beside densities.

    \b
    Examples:
      vaezoo compare runs/my-run runs/another-run
      vaezoo compare runs/seeds-of-a runs/seeds-of-b -k 1000 -o intervals.png
    """
    from vaezoo.cli._progress import rows_bar
    from vaezoo.runtime.memory import keep_freed_memory

    keep_freed_memory()
    with rows_bar() as progress:
        result = vaezoo.compare(
            runs,
            data,
            split=split,
            num_samples=num_samples,
            limit=limit,
            seed=seed,
            data_dir=data_dir,
            progress=progress,
        )
    if out is not None:
        _write(result, out)
    if as_json:
        echo_json(result.to_dict())
        return
    echo(
        f"{result.num_rows} {result.split} rows, log p(x) in nats per {result.unit} in the units "
        f"of the data, K = {result.num_samples}\n"
    )
    table([("run", "seeds", "log p(x)", "less the best", "95 %", ""), *map(_row, result.sides)])
    agreed = [(side.name, side.agreement) for side in result.sides if side.agreement]
    if agreed:
        rows = [(name, f"{of.median:.2f}", f"{of.upper:.2f}") for name, of in agreed]
        echo()
        table([("of several seeds", "nested R-hat of E[x | z]", "95 % below"), *rows])
    if any(len(side.seeds) == 1 for side in result.sides):
        echo("\nof one seed, what another would change is in no interval")
    if result.differing:
        echo()
        names = tuple(side.name for side in result.sides)
        table([("setting", *names), *((n, *values) for n, values in result.differing.items())])
    if out is not None:
        echo(f"\nwrote {out}")


def _row(side: "Compared") -> tuple[str, ...]:
    value = f"{side.value:.2f}" + _error(side.standard_error)
    seeds = str(len(side.seeds)) if len(side.seeds) > 1 else f"seed {side.seeds[0]}"
    if side.difference is None:
        return (side.name, seeds, value, "", "", side.verdict)
    ends = side.difference.interval
    interval = "" if ends is None else f"{ends[0]:.2f} to {ends[1]:.2f}"
    less = f"{side.difference.value:.2f}" + _error(side.difference.standard_error)
    return (side.name, seeds, value, less, interval, side.verdict)


def _error(error: float | None) -> str:
    return "" if error is None else f" +- {error:.2f}"


def _write(result: "Comparison", out: Path) -> None:
    from vaezoo.plots.comparisons import plot_comparison
    from vaezoo.runtime.storage import write_bytes

    if out.suffix == ".png":
        plot_comparison(result, out)
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = {
        f"{side.name} seed {seed}": values
        for side, of_seeds in zip(result.sides, result.values, strict=True)
        for seed, values in zip(side.seeds, of_seeds, strict=True)
    }
    writer.writerow(["row", *columns])
    writer.writerows(
        [row, *values] for row, values in enumerate(zip(*columns.values(), strict=True))
    )
    write_bytes(out, text.getvalue().encode())
