"""``vaezoo analyse``."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli._flags import in_flags
from vaezoo.cli._given import given_option
from vaezoo.cli._shared import (
    choice_option,
    echo_json,
    json_option,
    limit_option,
    seed_option,
    takes_data,
    takes_run,
)
from vaezoo.cli._streams import echo
from vaezoo.options import Level

if TYPE_CHECKING:
    from vaezoo.report import Report
    from vaezoo.runs import Run

__all__ = ["analyse"]

EXIT_POOR = 3


@click.command()
@takes_data
@limit_option(100)
@choice_option(
    "--level",
    Level,
    default="standard",
    help="quick looks at draws of the guide only; standard checks each posterior by scouts "
    "and a mixture; full adds long chains, annealing and a classifier.",
)
@click.option(
    "--budget",
    type=click.FloatRange(min=0, min_open=True),
    metavar="SECONDS",
    help="Look at fewer rows, so that it takes no longer.",
)
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the results.  [default: RUN/analysis]",
)
@click.option(
    "--fail-on",
    type=click.Choice(["poor", "fair"]),
    help=f"Exit with code {EXIT_POOR} if the posteriors are poor, or no better than fair.",
)
@given_option
@seed_option
@json_option
@takes_run
def analyse(
    run: "Run", out: Path | None, fail_on: str | None, as_json: bool, **options: Any
) -> int | None:
    """Check the posteriors of a trained model, and repair them.

    Says of each datum whether draws of the guide can be trusted, and writes draws that can:
    q.nc (guide), mcmc.nc (chains) and checked.nc (posterior) for ArviZ, diagnostics.nc,
    report.json, and report.html with figures.

    \b
    Example:
      vaezoo analyse runs/my-run
      vaezoo analyse runs/my-run -n 500 --level quick
      vaezoo analyse runs/my-run --budget 30 --fail-on poor
    """
    from vaezoo.cli._progress import steps_bar
    from vaezoo.report import prepare, save_report, to_dict, verdict
    from vaezoo.runtime.memory import keep_freed_memory
    from vaezoo.runtime.storage import inside

    keep_freed_memory()
    analysis = prepare(run, **options)
    plan = analysis.plan
    echo(
        f"{plan.num_data} rows at level {plan.level}: about {max(1, plan.seconds):.0f} s", err=True
    )
    with steps_bar() as progress:
        report = analysis.run_checks(progress)
    written = save_report(report, out or inside(run.folder(), "analysis/report.json").parent)
    if as_json:
        echo_json(to_dict(report))
    else:
        echo(in_flags(verdict(report)))
        echo(f"wrote {' '.join(path.name for path in written)} -> {written[0].parent}")
    return EXIT_POOR if _fails(report, fail_on) else None


def _fails(report: "Report", fail_on: str | None) -> bool:
    if fail_on is None:
        return False
    return report.quality in (("poor",) if fail_on == "poor" else ("poor", "fair"))
