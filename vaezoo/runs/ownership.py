"""Who trains a run: a folder that appears whole, and is owned for as long as it is trained."""

import json
import os
import secrets
import shutil
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from errno import EEXIST, ENOTDIR, ENOTEMPTY
from itertools import count
from pathlib import Path
from typing import Any

from vaezoo.errors import RequestError, RunError, refusing, source_of
from vaezoo.runs.run import Run
from vaezoo.runtime.locks import (
    LOCK,
    Ownership,
    TakenError,
    is_left,
    last_owner,
    owner_of,
    refuse_owned,
    take,
)
from vaezoo.runtime.storage import sweep

__all__ = ["begun", "made", "owned", "require_free"]

Notify = Callable[[str], object]

NEW = ".new"  # ending of a folder that is being made
A_DAY = 86400.0
LONGEST_NAME = 40
SECONDS_FOR_A_BEGINNING = 1.0


@contextmanager
def owned(folder: Path, *, notify: Notify = print) -> Iterator[None]:
    """Own a run folder that is there, for as long as it is trained.

    Parameters
    ----------
    folder
        The run folder; one that is none is left alone.
    notify
        Is told when the disk has no locks, as some of a network: then nobody is kept out.

    Raises
    ------
    RequestError
        When another process trains it.
    RunError
        When it cannot be written to.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / "config.toml").touch()
    >>> with owned(folder):
    ...     owner_of(folder).pid == os.getpid()
    True
    >>> owner_of(folder), [path.name for path in folder.iterdir()]
    (None, ['config.toml'])
    """
    if not (folder / "config.toml").is_file():
        yield
        return
    ownership = take(folder)
    try:
        ownership.say()
        sweep(folder)
        _tell_of_locks(ownership, notify)
        yield
    finally:
        ownership.release()


def _tell_of_locks(ownership: Ownership, notify: Notify) -> None:
    if not ownership.has_locks:
        notify(
            f"{ownership.folder} is on a disk without locks; see to it that no second process "
            "trains it at the same time"
        )


def require_free(path: Path) -> None:
    """Refuse a path that cannot become a new run folder.

    Raises
    ------
    RequestError
        When there is something already; a run that is being trained is named with its process.

    Examples
    --------
    >>> import tempfile
    >>> require_free(Path(tempfile.mkdtemp()))
    >>> require_free(Path(tempfile.mkdtemp()) / "run")
    """
    if not os.path.lexists(path):
        return
    if path.is_dir():
        refuse_owned(path)
        if not [file for file in path.iterdir() if file.name != LOCK] or _is_half_made(path):
            return
    raise _taken(path)


def _is_half_made(path: Path) -> bool:
    """Whether a process died while it made a run of this folder, which was empty before."""
    owner = last_owner(path)
    return owner is not None and owner.is_making


def _taken(path: Path) -> TakenError:
    if (path / "config.toml").is_file():
        go_on = f"go on with `vaezoo.resume({source_of(str(path))})`, or choose another `out`"
        return TakenError(f"{path} exists already; {go_on}")
    what = "is a folder that is not empty" if path.is_dir() else "exists already, and is no folder"
    return TakenError(f"{path} {what}; choose another `out`")


def begun(folder: Path, name: str, what: str) -> dict[str, Any] | None:
    """Return what a file says of the many runs of a folder; None where there are none yet.

    The folder is made where it is not there. Another process may be about to write the file.

    Parameters
    ----------
    folder
        That of a sweep, or a study, whose runs lie below it.
    name
        Of the file.
    what
        What the folder is to be, in a refusal.

    Raises
    ------
    RequestError
        When other things lie in the folder, or the file cannot be read.

    Examples
    --------
    >>> import tempfile
    >>> begun(Path(tempfile.mkdtemp()), "study.json", "study") is None
    True
    """
    file = folder / name
    if folder.is_dir() and any(folder.iterdir()) and not _appears(file):
        raise RequestError(f"{folder} is not empty, and holds no {what}; choose another `out`")
    with refusing(f"{folder} cannot be made", "choose another `out`"):
        folder.mkdir(parents=True, exist_ok=True)
    if not file.is_file():
        return None
    with suppress(ValueError):
        stored = json.loads(file.read_text(encoding="utf-8"))
        if isinstance(stored, dict):
            return stored
    raise RequestError(f"{file} cannot be read; choose another `out`")


def _appears(file: Path) -> bool:
    until = time.monotonic() + SECONDS_FOR_A_BEGINNING
    while not file.is_file() and time.monotonic() < until:
        time.sleep(0.1)
    return file.is_file()


@contextmanager
def made(run: Run, *, numbered: bool = False, notify: Notify = print) -> Iterator[None]:
    """Make the folder of a run with what is settled before training, and own it.

    A new folder is made beside, under another name, and renamed when it is whole: a process that
    dies meanwhile leaves nothing that is in the way. A run without a folder needs none.

    Parameters
    ----------
    run
        At its start; its path becomes that of the folder.
    numbered
        When the path is taken, take ``path-2``, ``path-3`` and so on, instead of a refusal.
    notify
        Is told when the disk has no locks.

    Raises
    ------
    RequestError
        When the path is taken, or cannot be made.
    """
    if run.path is None:
        yield
        return
    ownership = _make(run, run.path, numbered=numbered)
    try:
        _tell_of_locks(ownership, notify)
        yield
    finally:
        ownership.release()


def _make(run: Run, path: Path, *, numbered: bool) -> Ownership:
    for number in count(1):
        run.path = path if number == 1 else path.with_name(f"{path.name}-{number}")
        try:
            require_free(run.path)
            return _fill(run, run.path) if run.path.is_dir() else _make_beside(run, run.path)
        except TakenError:
            if not numbered:
                raise
    raise AssertionError


def _fill(run: Run, path: Path) -> Ownership:
    """Make a run of a folder that is empty, or was when a process began with it and died."""
    ownership = take(path)
    others = [file for file in path.iterdir() if file.name != LOCK]
    if others and not (ownership.before and ownership.before.is_making):
        ownership.release(keep=True)
        raise _taken(path)
    try:
        ownership.say(is_making=True)
        sweep(path)
        _write(run)
        ownership.say()
    except BaseException:
        ownership.release(keep=True)  # what there is of it is in nobody's way
        raise
    return ownership


def _make_beside(run: Run, path: Path) -> Ownership:
    with _refusing_to_make(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        ownership = _take_new(path)
    temporary = ownership.folder
    try:
        run.path = temporary
        ownership.say()
        _write(run)
        with _refusing_to_make(path):
            ownership.move(path)
    except BaseException as error:
        ownership.release(keep=True)
        shutil.rmtree(temporary, ignore_errors=True)
        if isinstance(error, RunError):
            raise _of(path, temporary, error) from error
        raise
    finally:
        run.path = path
    return ownership


def _take_new(path: Path) -> Ownership:
    """Make an empty folder beside a path, and lock it before anybody takes it for left."""
    while True:
        # Not by tempfile: the mode is that which the umask gives.
        name = f".{path.name[:LONGEST_NAME]}.{secrets.token_hex(8)}{NEW}"
        folder = path.with_name(name)
        folder.mkdir()
        try:
            return take(folder)
        except RunError as error:
            if folder.is_dir():  # else somebody took it for left, and it is made again
                shutil.rmtree(folder, ignore_errors=True)
                raise _of(path, folder, error) from error


def _of(path: Path, temporary: Path, error: RunError) -> RunError:
    """Return a failure that names the folder to be: nobody has heard of the other name."""
    return RunError(str(error).replace(temporary.name, path.name))


def _write(run: Run) -> None:
    run.save_config()
    run.save_info()


@contextmanager
def _refusing_to_make(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError) as error:  # a name may hold what no name can
        reason = getattr(error, "strerror", None) or error
        if getattr(error, "errno", None) in (EEXIST, ENOTEMPTY, ENOTDIR) and os.path.lexists(path):
            refuse_owned(path)
            raise _taken(path) from error
        raise RequestError(f"cannot create {path}: {reason}; choose another `out`") from error


def _sweep(folder: Path) -> None:
    """Remove folders that were being made by processes which are dead."""
    for path in folder.glob(f".*{NEW}"):
        with suppress(OSError):
            status = path.lstat()
            if not stat.S_ISDIR(status.st_mode):
                continue
            is_old = time.time() - status.st_mtime > A_DAY and owner_of(path) is None
            if is_old or is_left(path):
                shutil.rmtree(path)
            else:
                path.rmdir()  # when it is empty: its process died before it could lock it
