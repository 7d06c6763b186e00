"""Folders that nobody but the user can write to, where what is read may be believed."""

import os
import stat
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["is_private_file", "is_private_folder", "make_private"]


def make_private(folder: Path) -> bool:
    """Make a folder for the user alone, unless it is there; return whether it is the user's own.

    In a folder that all can write to, as that for temporary files, somebody else may have made one
    of that name, or a link.

    Examples
    --------
    >>> import tempfile
    >>> make_private(Path(tempfile.mkdtemp()) / "mine")
    True
    """
    with suppress(OSError):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return is_private_folder(folder)


def is_private_folder(path: Path) -> bool:
    """Return whether a folder is no link, the user's, and writable by nobody else."""
    return _is_private(path, stat.S_ISDIR)


def is_private_file(path: Path) -> bool:
    """Return whether a file is no link, the user's, and writable by nobody else."""
    return _is_private(path, stat.S_ISREG)


def _is_private(path: Path, is_kind: Callable[[int], bool]) -> bool:
    try:
        status = path.lstat()
    except (OSError, ValueError):
        return False
    if not is_kind(status.st_mode):
        return False
    if os.name == "nt":  # has neither numbers of users nor these bits
        return True
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
