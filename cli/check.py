"""``vaezoo check``: does a model/guide pair keep to the rules?"""

import sys
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli._flags import in_flags
from vaezoo.cli._reading import READING, reading_options, reading_settings
from vaezoo.cli._settings import setting_options, typed_settings
from vaezoo.cli._shared import (
    complete_data,
    complete_model,
    data_dir_option,
    echo_json,
    json_option,
)
from vaezoo.cli._streams import echo
from vaezoo.errors import RequestError
from vaezoo.settings import DataSettings, checked

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["check"]


@click.command()
@click.argument("target", shell_complete=complete_model)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A setting of it.")
@click.option("--x-shape", metavar="N,N,...", help="Shape of one made-up datum, or of one frame.")
@click.option(
    "--data",
    metavar="NAME|PATH",
    shell_complete=complete_data,
    help="Check it on these data, as training does.  [default: made-up data]",
)
@data_dir_option
@setting_options(DataSettings, leave_out=("name", "dir", "split_seed", *READING))
@reading_options
@json_option
def check(
    target: str,
    settings: tuple[str, ...],
    x_shape: str | None,
    data: str | None,
    data_dir: str | None,
    as_json: bool,
    **reading: Any,
) -> None:
    """Check the pair TARGET, on your data or on made-up ones, and say which line to change.

    TARGET is a name of the zoo, a file, or package.module:Class. The exit code is 1 when a check
    fails.

    \b
    Examples:
      vaezoo check vae-bernoulli
      vaezoo check ./my_vae.py --data my_data.npz
      vaezoo check ./my_vae.py --set z_dim=2 --x-shape 1,28,28
    """
    from vaezoo.cli._settings import parse_settings
    from vaezoo.registry import get_model
    from vaezoo.testing import check_class

    how = typed_settings(DataSettings) | reading_settings(reading)
    report = check_class(
        get_model(target),
        settings=parse_settings(settings),
        x_shape=_parse_shape(x_shape) if x_shape else None,
        data=_data_settings(data, data_dir, how),
    )
    if as_json:
        echo_json(report.to_dict())
    else:
        echo(in_flags(str(report)))
    if not report.ok:
        sys.exit(1)


def _data_settings(
    data: str | None, data_dir: str | None, how: "Mapping[str, Any]"
) -> DataSettings | None:
    if data is not None:
        return checked(DataSettings, {**how, "name": data, "dir": data_dir})
    if data_dir or how:
        words = in_flags(f"`{next(iter(how), 'data_dir')}`")
        raise RequestError(f"{words} is about data; name them with --data")
    return None


def _parse_shape(text: str) -> tuple[int, ...]:
    sizes = [size.strip() for size in text.split(",")]
    if not all(size.isdecimal() and int(size) > 0 for size in sizes):
        raise RequestError(f"--x-shape '{text}' is no shape; write it as 1,28,28")
    return tuple(int(size) for size in sizes)
