"""``vaezoo push``."""

from typing import TYPE_CHECKING

import click

from vaezoo.cli._shared import echo_json, json_option, licence_option, takes_run
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from vaezoo.runs import Run

__all__ = ["push"]


@click.command()
@click.option("--private", is_flag=True, help="Make a repository that nobody else can see.")
@licence_option
@json_option
@takes_run
@click.argument("repository", metavar="OWNER/NAME")
def push(run: "Run", repository: str, private: bool, licence: str | None, as_json: bool) -> None:
    """Put RUN on the Hugging Face Hub as OWNER/NAME.

    It takes settings, weights, records, evaluations and the card, which is
    made when there is none, and the source of a pair of your own; no data.
    Needs pip install 'vaezoo[hub]', and a login: hf auth login.

    \b
    Example:
      vaezoo push runs/my-run me/my-run --licence apache-2.0
    """
    import vaezoo

    address = vaezoo.push(run, repository, private=private, licence=licence)
    if as_json:
        echo_json({"run": str(run.path), "address": address})
    else:
        echo(f"pushed {run.name} to {address}")
