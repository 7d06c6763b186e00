"""``vaezoo report``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaezoo.cli._shared import (
    data_dir_option,
    echo_json,
    echo_note,
    json_option,
    out_option,
    takes_run,
)
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.runs import Run

__all__ = ["report"]


@click.command()
@data_dir_option
@out_option(".html", text="A .html file.  [default: RUN/report.html]")
@json_option
@takes_run
def report(run: "Run", data_dir: str | None, out: Path | None, as_json: bool) -> None:
    """Write one page of a run: numbers, figures, verdict, how it is made again.

    The page needs no other file. Its numbers are those of the latest evaluation, or else of the
    validation; what analyse said is a part of it. Figures that are missing are drawn first, also
    those of a run that was interrupted, of the best weights so far.

    \b
    Example:
      vaezoo report runs/my-run
      vaezoo report runs/my-run -o my-run.html
    """
    from vaezoo import write_page
    from vaezoo.runs import read_metrics

    run.records = read_metrics(run.files or run.folder(), notify=echo_note)
    page, *figures = write_page(run, out, data_dir=data_dir, notify=echo_note)
    names = [path.name for path in figures]
    if as_json:
        echo_json({"run": str(run.path), "figures": names, "page": str(page)})
        return
    folder = run.folder() / "figures"
    drew = f"drew {', '.join(names)} in {folder}" if names else f"nothing to draw: {folder} has it"
    echo(f"{drew}\nwrote {page}")
