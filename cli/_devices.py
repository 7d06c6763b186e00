"""Commands that several processes run together: who starts them, and who speaks."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import click

from vaezoo.distributed.places import Place, leave, place_of
from vaezoo.errors import RequestError

__all__ = ["devices_option", "launched", "one_speaks"]

devices_option = click.option(
    "--devices",
    type=click.IntRange(min=1),
    metavar="N",
    help="Processes of this machine that train together, one for each GPU.  [default: 1]",
)


def launched(devices: int | None) -> bool:
    """Run this command in several processes, where that was asked for; they have done it then."""
    place = place_of()
    if place is not None and devices == 1:
        leave()
        return False
    if place is not None or devices in (None, 1):
        _check(place, devices)
        return False
    from vaezoo.distributed.launcher import launch

    if code := launch(int(devices or 1), sys.argv[1:]):
        raise click.exceptions.Exit(code)
    return True


def _check(place: Place | None, devices: int | None) -> None:
    if place is not None and devices not in (None, place.num_local):
        raise RequestError(
            f"{place.launcher} has started {place.num_local} processes on this machine, and "
            f"`devices={devices}` asks for others; leave it out"
        )


@contextmanager
def one_speaks() -> Iterator[bool]:
    """Silence all processes but the first; yield whether this is the one that speaks."""
    place = place_of()
    if place is None:
        yield True
        return
    from vaezoo.distributed.launcher import noting_failure

    if place.rank > 0:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
            os.dup2(nowhere, stream.fileno())
        yield False
        return
    with noting_failure():
        yield True
