"""``vaezoo list``."""

from dataclasses import asdict

import click

from vaezoo.cli._shared import echo_json, json_option, table
from vaezoo.errors import RequestError, nearest
from vaezoo.registry import entries

__all__ = ["list"]


@click.command()
@click.argument("pattern", default="*")
@json_option
def list(pattern: str, as_json: bool) -> None:
    """List the models of the zoo, all or those whose name matches PATTERN.

    \b
    Example:
      vaezoo list
      vaezoo list 'vae-*'
    """
    matching = entries(pattern)
    if not matching:
        names = [entry.name for entry in entries()]
        raise RequestError(f"no model matches '{pattern}'; {nearest(pattern, names)}")
    if as_json:
        echo_json([asdict(entry) for entry in matching])
        return
    rows = ((e.name, e.data, e.reference, e.summary) for e in matching)
    table([("model", "data", "reference", ""), *rows])
