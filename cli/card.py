"""``vaezoo card``."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from vaezoo.cli._shared import echo_json, json_option, licence_option, out_option, takes_run
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.runs import Run

__all__ = ["card"]


@click.command()
@licence_option
@out_option(".md", text="A .md file.  [default: RUN/README.md]")
@json_option
@takes_run
def card(run: "Run", licence: str | None, out: Path | None, as_json: bool) -> None:
    """Write the card of a run, README.md: what it is, how good, and how it is made again.

    It has the formulas of the pair, the data and their licence, the latest
    evaluation, what analyse said, settings, limits and a citation, and a block of
    metadata that the Hugging Face Hub reads. What a person wrote is never
    overwritten.

    \b
    Example:
      vaezoo card runs/my-run --licence apache-2.0
      vaezoo card vrnn.jsb -o vrnn.md
    """
    from vaezoo import write_card

    path = write_card(run, out, licence=licence)
    if as_json:
        echo_json({"run": str(run.path), "card": str(path)})
    else:
        echo(f"wrote {path}")
