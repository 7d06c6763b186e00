"""``vaezoo pull``."""

from pathlib import Path

import click

from vaezoo.cli._shared import echo_json, json_option
from vaezoo.cli._streams import echo

__all__ = ["pull"]


@click.command()
@click.argument("address", metavar="hf://OWNER/NAME@REVISION")
@click.option(
    "-o",
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    help="The new run folder.  [default: NAME]",
)
@json_option
def pull(address: str, out: Path | None, as_json: bool) -> None:
    """Fetch a run from the Hugging Face Hub into a folder of yours.

    Only files that a run is known to have are fetched, and nothing in them is
    run. Without a revision (a branch, a tag or a commit) it is what is there
    now. Commands that take a run take such an address, too. Needs
    pip install 'vaezoo[hub]'.

    \b
    Example:
      vaezoo pull hf://me/my-run@v1 -o runs/my-run
    """
    import vaezoo

    path = vaezoo.pull(address, out)
    if as_json:
        echo_json({"address": address, "run": str(path)})
    else:
        echo(f"fetched {address} -> {path}")
