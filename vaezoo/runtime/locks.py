"""A folder has one owner: a lock of the operating system, which ends with its process.

The lock is on the file ``.lock`` of the folder; none is ever stale. The file says who holds it.
"""

import json
import os
import socket
import stat
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from errno import EACCES, EAGAIN, EDEADLK, EWOULDBLOCK
from pathlib import Path

from vaezoo.errors import RequestError, RunError

__all__ = [
    "LOCK",
    "Owner",
    "Ownership",
    "TakenError",
    "is_left",
    "last_owner",
    "owner_of",
    "refuse_owned",
    "take",
]

LOCK = ".lock"
LONGEST_RECORD = 1000
ATTEMPTS, SECONDS_BETWEEN = 5, 0.02  # somebody may just be looking whether it is held
CONTENDED = {EACCES, EAGAIN, EDEADLK, EWOULDBLOCK}
# Windows has neither links that need no privilege, nor most of these.
_FLAGS = (
    os.O_RDWR
    | getattr(os, "O_NOFOLLOW", 0)
    | getattr(os, "O_NONBLOCK", 0)
    | getattr(os, "O_CLOEXEC", 0)
    | getattr(os, "O_BINARY", 0)
)

if sys.platform == "win32":
    import msvcrt

    def _lock(descriptor: int) -> None:
        os.lseek(descriptor, 1 << 30, os.SEEK_SET)  # what is locked cannot be read
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _lock(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@dataclass(frozen=True)
class Owner:
    """Who trains a run.

    Attributes
    ----------
    pid
        Number of the process; 0 for one that has not said it yet.
    host
        Name of its machine.
    since
        When it began, in the time of that machine.
    is_making
        Whether it has not yet written what a run folder needs.

    Examples
    --------
    >>> str(Owner(4711, socket.gethostname(), "2026-11-28 10:45:52"))
    'process 4711 since 2026-11-28 10:45:52'
    """

    pid: int
    host: str
    since: str
    is_making: bool = False

    def __str__(self) -> str:
        if not self.pid:
            return "another process"
        here = self.host == socket.gethostname()
        return f"process {self.pid}{'' if here else f' on {self.host}'} since {self.since}"


class TakenError(RequestError):
    """A folder that is in use."""


def _is_locked(descriptor: int) -> bool | None:
    """Whether a file could be locked; None where the disk has no locks."""
    try:
        _lock(descriptor)
    except OSError as error:
        return False if error.errno in CONTENDED else None
    return True


class Ownership:
    """An open lock of a folder; see :func:`take`.

    Attributes
    ----------
    folder
        The folder.
    has_locks
        Whether its disk has locks; some of a network have none, and nobody is kept out there.
    before
        Who held it last and died with it.
    """

    def __init__(self, folder: Path, descriptor: int, *, has_locks: bool) -> None:
        self.folder = folder
        self.descriptor = descriptor
        self.has_locks = has_locks
        self.before = _read(descriptor)

    def say(self, *, is_making: bool = False) -> None:
        """Write who holds it; a full disk is no reason not to hold it."""
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        owner = Owner(os.getpid(), socket.gethostname(), now, is_making)
        with suppress(OSError):
            os.lseek(self.descriptor, 0, os.SEEK_SET)
            # At once, and over what was there: a death meanwhile leaves the one or the other.
            os.write(self.descriptor, json.dumps(asdict(owner)).ljust(LONGEST_RECORD).encode())

    def move(self, path: Path) -> None:
        """Rename the folder; an open file in it keeps Windows from that, so it is closed before."""
        if os.name == "nt":
            os.close(self.descriptor)
        try:
            os.rename(self.folder, path)  # noqa: PTH104 (replaces nothing but an empty folder)
            self.folder = path
        finally:
            if os.name == "nt":
                self.descriptor = take(self.folder).descriptor

    def release(self, *, keep: bool = False) -> None:
        """End it; the file goes while it is held, so that nobody locks one that has no name."""
        with suppress(OSError):
            file = self.folder / LOCK  # of another run, when this folder was removed meanwhile
            if not keep and os.name != "nt" and _has_name(self.descriptor, file):
                file.unlink()
        os.close(self.descriptor)
        with suppress(OSError):
            if not keep and os.name == "nt":  # fails while somebody else has it open
                (self.folder / LOCK).unlink()


def _read(descriptor: int) -> Owner | None:
    os.lseek(descriptor, 0, os.SEEK_SET)
    content = os.read(descriptor, LONGEST_RECORD)
    try:
        values = json.loads(content)
        return Owner(
            int(values["pid"]),
            str(values["host"]),
            str(values["since"]),
            values["is_making"] is True,
        )
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def _open(file: Path, flags: int = 0) -> int:
    descriptor = os.open(file, _FLAGS | flags, 0o666)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError("it is no file; remove it")
    return descriptor


def take(folder: Path) -> Ownership:
    """Lock a folder.

    Raises
    ------
    TakenError
        When another process trains it, which is named.
    RunError
        When its lock cannot be written.
    """
    owner = None
    try:
        for _ in range(ATTEMPTS):
            descriptor = _open(folder / LOCK, os.O_CREAT)
            locked = _is_locked(descriptor)
            if locked is None or (locked and _has_name(descriptor, folder / LOCK)):
                return Ownership(folder, descriptor, has_locks=locked is not None)
            owner = _read(descriptor)
            os.close(descriptor)
            if not locked:
                time.sleep(SECONDS_BETWEEN)
    except OSError as error:
        raise RunError(f"cannot write {folder / LOCK}: {error.strerror or error}") from error
    raise TakenError(_in_use(folder, owner))


def _has_name(descriptor: int, file: Path) -> bool:
    """Whether a file that was opened by its name still has it, and was not released since."""
    try:
        return os.path.samestat(os.fstat(descriptor), file.lstat())
    except OSError:
        return False


def _in_use(folder: Path, owner: Owner | None) -> str:
    who = owner or Owner(0, "", "")
    return f"{folder} is being trained by {who}; wait for its end, or stop that process"


def refuse_owned(folder: Path) -> None:
    """Refuse a folder that is being trained.

    Raises
    ------
    TakenError
        With the process, and since when.
    """
    if owner := owner_of(folder):
        raise TakenError(_in_use(folder, owner))


def owner_of(folder: Path) -> Owner | None:
    """Return who trains a run just now; None if nobody does, or if the disk has no locks.

    Examples
    --------
    >>> import tempfile
    >>> owner_of(Path(tempfile.mkdtemp())) is None
    True
    """
    owner, locked = _look(folder)
    return (owner or Owner(0, "", "")) if locked is False else None


def last_owner(folder: Path) -> Owner | None:
    """Return who holds a folder, or held it last and died with it."""
    return _look(folder)[0]


def is_left(folder: Path) -> bool:
    """Whether a folder has a lock that nobody holds now, as its process is dead."""
    return _look(folder)[1] is True


def _look(folder: Path) -> tuple[Owner | None, bool | None]:
    """Return what a lock says, and whether it could be had: None if not even that is clear."""
    try:
        descriptor = _open(folder / LOCK)
    except OSError:
        return None, None
    try:
        return _read(descriptor), _is_locked(descriptor)
    finally:
        os.close(descriptor)
