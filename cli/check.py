"""``vaezoo check``: does a model/guide pair keep to the rules?"""

import sys

import click

from vaezoo.cli._flags import in_flags
from vaezoo.cli._shared import complete_model, echo_json, json_option
from vaezoo.cli._streams import echo

__all__ = ["check"]


@click.command()
@click.argument("target", shell_complete=complete_model)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of it.")
@click.option("--x-shape", metavar="N,N,...", help="Shape of one made-up datum, or of one frame.")
@json_option
def check(target: str, settings: tuple[str, ...], x_shape: str | None, as_json: bool) -> None:
    """Check the pair TARGET on made-up data, and say which line to change.

    TARGET is a name of the zoo, a file, or package.module:Class. The exit code is 1 when a check
    fails.

    \b
    Examples:
      vaezoo check vae-bernoulli
      vaezoo check ./my_vae.py --set z_dim=2 --x-shape 1,28,28
    """
    from vaezoo.cli._settings import parse_settings
    from vaezoo.registry import get_model
    from vaezoo.testing import check_class

    shape = _parse_shape(x_shape) if x_shape else None
    report = check_class(get_model(target), settings=parse_settings(settings), x_shape=shape)
    if as_json:
        echo_json(report.to_dict())
    else:
        echo(in_flags(str(report)))
    if not report.ok:
        sys.exit(1)


def _parse_shape(text: str) -> tuple[int, ...]:
    from vaezoo.errors import RequestError

    sizes = [size.strip() for size in text.split(",")]
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise RequestError(f"--x-shape '{text}' is no shape; write it as 1,28,28")
    return tuple(int(size) for size in sizes)
