"""Files that are never half written, and never written where a link points.

All that vaezoo writes goes through here. A file is made beside its target under a name that nobody
can guess, exclusively, so that neither a link nor a file that lies there already is opened; it is
flushed to the disk, and renamed when it is whole. A target that is itself a link is replaced, not
followed: a folder from a stranger cannot aim what is written at a file outside of it.
"""

import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from vaezoo.errors import RunError

__all__ = [
    "append_bytes",
    "cache_folder",
    "inside",
    "make_folder",
    "sweep",
    "write_bytes",
    "write_json",
    "writing",
    "writing_path",
]

_ENDING = ".part"
_LONGEST_NAME = 40  # of a target, in the name of what is written beside it
# Windows has neither links that need no privilege, nor most of these.
_NO_LINKS = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
_NO_WAITING = getattr(os, "O_NONBLOCK", 0)  # for the reader of a FIFO


def cache_folder() -> Path:
    """Return the user's folder for what is downloaded, compiled, or remembered on this machine."""
    import pooch  # with what downloads

    return Path(pooch.os_cache("vaezoo"))


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """Yield a file to write to, which has its name when all is written.

    Readers see the old content or the new, also after a crash. A new file has the mode that the
    umask gives, another keeps the one of the file that it replaces.

    Parameters
    ----------
    path
        The file; folders above it are made.

    Raises
    ------
    RunError
        When the disk is full, the folder read-only, or the name that of something else than a
        file; the old content stays.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with writing(Path(folder, "notes.txt")) as file:
    ...         _ = file.write(b"whole")
    ...     Path(folder, "notes.txt").read_bytes(), len(os.listdir(folder))
    (b'whole', 1)
    """
    with _failing_to_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        mode = _mode_of(path)
        temporary = _name_beside(path)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINKS
        descriptor = os.open(temporary, flags, 0o666 if mode is None else mode)
    try:
        with _failing_to_write(path):
            with os.fdopen(descriptor, "wb") as file:
                _set_mode(file, mode)
                yield file
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
            _remember_names(path.parent)
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def writing_path(path: Path) -> Iterator[Path]:
    """Yield a path for what can write to paths only; the file or folder made there is moved.

    It lies in a folder of its own beside the target, which nobody else can look into.

    Raises
    ------
    RunError
        When it cannot be made or moved; what fails within passes as it is.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     with writing_path(Path(folder, "x.txt")) as temporary:
    ...         _ = temporary.write_text("whole")
    ...     Path(folder, "x.txt").read_text(), len(os.listdir(folder))
    ('whole', 1)
    """
    with _failing_to_write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        private = _name_beside(path)
        # Windows would keep what is made in a folder of this mode from others for ever.
        private.mkdir(mode=0o700 if os.name == "posix" else 0o777)
    try:
        yield private / path.name
        with _failing_to_write(path):
            _move(private / path.name, path, private)
            _remember_names(path.parent)
    finally:
        shutil.rmtree(private, ignore_errors=True)


def _move(new: Path, path: Path, private: Path) -> None:
    """Put a file or a folder in the place of another; a folder cannot be replaced at once."""
    if not new.is_dir():
        with new.open("rb+") as file:
            _set_mode(file, _mode_of(path))
            os.fsync(file.fileno())
        new.replace(path)
        return
    if not path.is_dir() or path.is_symlink():
        if path.is_symlink():
            path.unlink()
        new.replace(path)
        return
    old = private / "old"
    path.replace(old)
    try:
        new.replace(path)
    except OSError:
        old.replace(path)
        raise


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file at once: readers see the old content or the new, also after a crash.

    Raises
    ------
    RunError
        When the disk is full or the folder read-only; the old content stays.
    """
    with writing(path) as file:
        file.write(content)


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, at once."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def append_bytes(path: Path, content: bytes, *, flush: bool = True) -> None:
    """Add to the end of a file, all or nothing, and to no file that a link points to.

    Parameters
    ----------
    path
        The file, which is made if need be.
    content
        What is added.
    flush
        Wait until the whole file is on the disk.

    Raises
    ------
    RunError
        When the disk is full, the folder read-only, or the name that of something else than a
        file, a link included.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     append_bytes(Path(folder, "log"), b"one ")
    ...     append_bytes(Path(folder, "log"), b"two")
    ...     Path(folder, "log").read_bytes()
    b'one two'
    """
    with _failing_to_write(path):
        if path.is_symlink():
            raise OSError("it is a link")
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _NO_LINKS | _NO_WAITING
        with os.fdopen(os.open(path, flags, 0o666), "ab") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise OSError("it is no file")
            try:
                file.write(content)
                file.flush()
                if flush:
                    os.fsync(file.fileno())
            except OSError:
                with suppress(OSError):  # half a record would spoil the next one
                    os.ftruncate(file.fileno(), status.st_size)
                raise


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file in a folder that is there, and in no place that a link leads to.

    Parameters
    ----------
    folder
        The folder of a run, say; it may be reached through links itself.
    name
        Relative to it, as ``"last/state.safetensors"``; folders on the way are made.

    Raises
    ------
    RunError
        When the folder is gone, or what is on the way is no folder.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     path = inside(Path(folder), "last/state.safetensors")
    ...     path.parent.is_dir()
    True
    """
    path = folder / name
    with _failing_to_write(path):
        if not folder.is_dir():
            raise OSError("its folder is gone")
        below = path.parent.relative_to(folder).parts
        for number in range(1, len(below) + 1):
            place = folder.joinpath(*below[:number])
            place.mkdir(exist_ok=True)
            if stat.S_ISLNK(place.lstat().st_mode) or not place.is_dir():
                raise OSError(f"{place} is a link or no folder; remove it")
    return path


def make_folder(path: Path) -> Path:
    """Make a folder where there is none, and return its path.

    Raises
    ------
    RunError
        When it cannot be made.

    Examples
    --------
    >>> from tempfile import TemporaryDirectory
    >>> with TemporaryDirectory() as folder:
    ...     make_folder(Path(folder, "vrnn.jsb")).is_dir()
    True
    """
    with _failing_to_write(path):
        path.mkdir(exist_ok=True)
    return path


def sweep(folder: Path) -> None:
    """Remove what a process that was killed has left half written, in a folder and those in it.

    Where a link leads, nothing is removed.
    """
    own = [place for place in folder.iterdir() if place.is_dir() and not place.is_symlink()]
    for path in [path for place in (folder, *own) for path in place.glob(f".*{_ENDING}")]:
        with suppress(OSError):
            if stat.S_ISDIR(path.lstat().st_mode):
                shutil.rmtree(path)
            else:
                path.unlink()


@contextmanager
def _failing_to_write(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error


def _name_beside(path: Path) -> Path:
    name = f".{path.name[:_LONGEST_NAME]}.{secrets.token_hex(8)}{_ENDING}"
    return path.with_name(name)


def _mode_of(path: Path) -> int | None:
    """Return the mode of a file that is there; a device or a FIFO must not be replaced by one."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISLNK(mode):
        return None
    if stat.S_ISDIR(mode):
        raise OSError("it is a folder")
    if not stat.S_ISREG(mode):
        raise OSError("it is no file")
    return stat.S_IMODE(mode) & 0o777


def _set_mode(file: BinaryIO, mode: int | None) -> None:
    if mode is not None and hasattr(os, "fchmod"):
        with suppress(OSError):  # some file systems have none
            os.fchmod(file.fileno(), mode)


def _remember_names(folder: Path) -> None:
    """Flush the names in a folder to the disk, where a system can: the rename outlives a crash."""
    if os.name != "posix":
        return
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
