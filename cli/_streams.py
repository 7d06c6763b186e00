"""Standard output and error: what a command prints is text, and reaches who listens."""

import errno
import os
import sys
from contextlib import suppress
from io import TextIOWrapper

import click

from vaezoo.errors import RunError, printable

__all__ = ["LONGEST", "OutputClosedError", "discard_output", "echo", "is_closed", "prepare_streams"]

LONGEST = 1000  # characters of a message
_KEPT = "\n\t"
_CLOSED = (errno.EPIPE, errno.ESHUTDOWN, *([errno.EINVAL] if os.name == "nt" else []))


class OutputClosedError(RunError):
    """Nobody reads what is printed any more, as behind ``vaezoo list | head -1``."""

    exit_code = 141  # what a shell says of a process that SIGPIPE ended


def prepare_streams() -> None:
    """Let no character fail to be printed, and no file that is opened become the output.

    A file gets the lowest number that is free, so that of a standard stream which is closed: what a
    library prints there would be written into it.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            with suppress(OSError, ValueError):  # a stream that tells a place it cannot go to
                stream.reconfigure(errors="backslashreplace")


def echo(text: str = "", *, err: bool = False, limit: int | None = None) -> None:
    """Print a text, its control characters as escapes: names and messages may be a stranger's.

    Parameters
    ----------
    text
        One or more lines.
    err
        Print on standard error; where nobody reads that, the work goes on.
    limit
        The most characters.

    Raises
    ------
    OutputClosedError
        When nobody reads standard output any more.
    RunError
        When it cannot be written, as on a full disk.
    """
    try:
        click.echo(printable(text, limit, _KEPT), err=err)
    except OSError as error:
        discard_output(err=err)
        if err:
            return
        if is_closed(error):
            raise OutputClosedError from error
        raise RunError(f"cannot write to standard output: {error.strerror}") from error


def is_closed(error: BaseException | None) -> bool:
    """Return whether an exception says that nobody reads what is printed."""
    return isinstance(error, OSError) and error.errno in _CLOSED


def discard_output(*, err: bool = False) -> None:
    """Send what is still to be written nowhere, so that the end of the process is quiet."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, (sys.stderr if err else sys.stdout).fileno())
        os.close(nowhere)
