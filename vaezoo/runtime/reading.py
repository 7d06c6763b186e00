"""Files of strangers: looked at before they are read.

A name may lead to a pipe that never ends, to a device, or to a file that is larger than all memory.
"""

import os
import stat
from pathlib import Path
from typing import BinaryIO

from vaezoo.errors import RequestError

__all__ = ["open_plain", "read_plain", "require_plain"]

_NO_WAITING = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)  # Windows has none that need no privilege


def open_plain(path: Path, *, follow: bool = True) -> BinaryIO:
    """Open a file to read; a refusal for what is none, as a pipe, which is not waited for.

    Parameters
    ----------
    path
        The file.
    follow
        Whether it may be a link.

    Raises
    ------
    RequestError
        When there is no such file, it cannot be opened, or it is a folder, a pipe or a device.

    Examples
    --------
    >>> open_plain(Path("/"))
    Traceback (most recent call last):
    vaezoo.errors.RequestError: cannot read '/': it is a folder, not a file
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | _NO_WAITING | (0 if follow else _NO_LINKS))
    except (OSError, ValueError) as error:
        if path.is_dir():  # Windows opens no folder
            raise RequestError(f"cannot read '{path}': it is a folder, not a file") from error
        reason = getattr(error, "strerror", None) or error
        raise RequestError(f"cannot read '{path}': {reason}") from error
    mode = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(mode):
        os.close(descriptor)
        raise RequestError(f"cannot read '{path}': it is {_kind(mode)}, not a file")
    return os.fdopen(descriptor, "rb")


def require_plain(path: Path) -> None:
    """Refuse what :func:`open_plain` refuses, for libraries that open a path themselves."""
    open_plain(path).close()


def read_plain(path: Path, limit: int, *, follow: bool = True) -> bytes:
    """Return what a file holds; a refusal when that is more than so many bytes.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "a.txt"
    >>> _ = path.write_bytes(b"abc")
    >>> read_plain(path, 3)
    b'abc'
    """
    with open_plain(path, follow=follow) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise RequestError(f"cannot read '{path}': it has more than {limit} bytes")
    return content


def _kind(mode: int) -> str:
    if stat.S_ISDIR(mode):
        return "a folder"
    return "a pipe" if stat.S_ISFIFO(mode) else "a device or a socket"
