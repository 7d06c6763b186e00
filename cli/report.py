"""``vaezoo report``."""

from typing import TYPE_CHECKING

import click

from vaezoo.cli._shared import data_dir_option, echo_json, echo_note, json_option, takes_run
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.runs import Run

__all__ = ["report"]


@click.command()
@data_dir_option
@json_option
@takes_run
def report(run: "Run", data_dir: str | None, as_json: bool) -> None:
    """Draw the figures of a run that are missing, also of one that was interrupted.

    They are those that training draws at its end: samples, reconstructions, curves
    and the KL of each latent, of the best weights so far.

    \b
    Example:
      vaezoo report runs/my-run
    """
    from vaezoo.plots.figures import plot_run
    from vaezoo.runs import read_metrics

    run.records = read_metrics(run.files or run.folder(), notify=echo_note)
    figures = plot_run(run, data_dir, notify=echo_note, only_missing=True)
    if as_json:
        echo_json({"run": str(run.path), "figures": figures})
    elif figures:
        echo(f"drew {', '.join(figures)} in {run.folder() / 'figures'}")
    else:
        echo(f"nothing to draw: {run.folder() / 'figures'} has what can be drawn")
