"""Files of the named data sets: found on disk or downloaded, and verified either way."""

import gzip
import hashlib
import logging
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO

from vaezoo.data.sets.transfer import TransferError, stream
from vaezoo.errors import RequestError, RunError
from vaezoo.runtime.reading import open_plain
from vaezoo.runtime.storage import cache_folder, writing

__all__ = ["Remote", "cache_dir", "fetch", "locate"]

DATA_VARIABLE = "VAEZOO_DATA"
_CHUNK = 2**16
_ROUNDS = 3
_BACKOFF_SECONDS = 1.0

_log = logging.getLogger(__name__)
_verified: set[tuple[Path, int, int, str]] = set()


@dataclass(frozen=True)
class Remote:
    """A published file.

    Attributes
    ----------
    file
        Its usual name; on disk, ``file.gz`` does as well.
    urls
        Addresses of the same bytes, tried in turn.
    checksum
        ``sha256:...`` of these bytes.
    size
        Number of bytes.
    folder
        The folder that holds it, below the data folder and in the cache.
    alternatives
        The same content in other formats; the reader tells formats apart. On disk, their names do
        as well. Their addresses are tried last, and what
        comes from there is kept under the name of this one.
    """

    file: str
    urls: tuple[str, ...]
    checksum: str
    size: int
    folder: str = ""
    alternatives: tuple["Remote", ...] = ()

    @property
    def forms(self) -> tuple["Remote", ...]:
        return (self, *self.alternatives)

    @property
    def checksums(self) -> tuple[str, ...]:
        return tuple(form.checksum for form in self.forms)


def cache_dir() -> Path:
    """Return the folder that downloads go to."""
    return cache_folder()


def fetch(
    remote: Remote, *, data_dir: str | Path | None = None, progress: bool | None = None
) -> Path:
    """Return the path of a file, after a download when it is not on disk.

    Looked for in ``data_dir``, in the folder that the environment variable ``VAEZOO_DATA`` names
    (in both as ``<dir>/<folder>/<file>``, then ``<dir>/<file>``), and in the user's cache.

    Parameters
    ----------
    remote
        The file.
    data_dir
        Where the file may lie already.
    progress
        Show a bar on stderr; by default when that is a terminal.

    Raises
    ------
    RequestError
        When a data folder does not exist, or its file has the wrong checksum.
    RunError
        When no address gives the file. Nothing is left behind.
    """
    path = _in_data_folders(remote, data_dir)
    if path is not None:
        _require_checksum(path, remote)
        return path
    target = cache_dir() / remote.folder / remote.file
    if target.is_file():
        if not _mismatch(target, remote):
            return target
        _log.warning("%s is damaged; downloading it again", target)
        target.unlink()
    return _download(remote, target, data_dir, progress)


def locate(remote: Remote, *, data_dir: str | Path | None = None) -> Path | None:
    """Return where a file lies on disk, unverified, or None."""
    cached = cache_dir() / remote.folder / remote.file
    return _in_data_folders(remote, data_dir) or (cached if cached.is_file() else None)


def _in_data_folders(remote: Remote, data_dir: str | Path | None) -> Path | None:
    named = {"`data_dir`": data_dir, DATA_VARIABLE: os.environ.get(DATA_VARIABLE)}
    for origin, folder in named.items():
        if not folder:
            continue
        root = Path(folder).expanduser()
        if not root.is_dir():
            raise RequestError(f"no folder '{root}', which {origin} names as the data folder")
        for name in (f"{form.file}{end}" for form in remote.forms for end in ("", ".gz")):
            for path in (root / remote.folder / name, root / name):
                if path.is_file():
                    return path
    return None


def _require_checksum(path: Path, remote: Remote) -> None:
    content = _mismatch(path, remote)
    if content:
        expected = " or ".join(_short(checksum) for checksum in remote.checksums)
        raise RequestError(
            f"{path}: expected {expected}, found {content}; it is damaged or another file: "
            f"remove it, or put the right {remote.file} there"
        )


def _mismatch(path: Path, remote: Remote) -> str:
    """Return what was found instead of the right content; a right file is read once per process."""
    status = path.stat()
    key = (path, status.st_mtime_ns, status.st_size, remote.checksum)
    if key in _verified:
        return ""
    is_compressed = path.name not in [form.file for form in remote.forms]
    limit = max(form.size for form in remote.forms)
    try:
        checksum = _checksum(path, limit, is_compressed=is_compressed)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return "a broken gzip file"
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror or error}") from error
    if checksum not in remote.checksums:
        return _short(checksum) if checksum else f"more than {limit} bytes"
    _verified.add(key)
    return ""


def _short(checksum: str) -> str:
    algorithm, _, value = checksum.partition(":")
    return f"{algorithm} {value[:16]}..."


def _checksum(path: Path, limit: int, *, is_compressed: bool = False) -> str:
    """Return the checksum of a content; nothing if that has more bytes, as a little gzip may."""
    digest = hashlib.sha256()
    with open_plain(path) as file, gzip.GzipFile(fileobj=file) as inflated:
        content = inflated if is_compressed else file
        while chunk := content.read(_CHUNK):
            limit -= len(chunk)
            if limit < 0:
                return ""
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _download(
    remote: Remote, target: Path, data_dir: str | Path | None, progress: bool | None
) -> Path:
    pending = [(form, url) for form in remote.forms for url in form.urls]
    reasons: dict[str, str] = {}
    for attempt in range(_ROUNDS):
        if attempt and pending:
            time.sleep(_BACKOFF_SECONDS * attempt)
        for form, url in list(pending):
            try:
                return _transfer(form, url, target, progress)
            except TransferError as failure:
                reasons[url] = str(failure)
                if failure.is_final:
                    pending.remove((form, url))
    tried = ", ".join(f"{url} ({reason})" for url, reason in reasons.items()) or "no address"
    folder = data_dir or os.environ.get(DATA_VARIABLE) or "DIR"
    raise RunError(
        f"cannot download {remote.file}; tried {tried}; put {remote.file} in "
        f"{Path(folder) / remote.folder} and set {DATA_VARIABLE}={folder}"
    )


def _transfer(remote: Remote, url: str, target: Path, progress: bool | None) -> Path:
    """Download beside the target; the final name only ever holds all of it."""
    _log.info("downloading %s", url)
    try:
        with writing(target) as file:
            checksum = _receive(remote, url, file, progress)
            if checksum != remote.checksum:
                raise TransferError(f"wrong content, {_short(checksum)}", is_final=True)
    except RunError as error:
        raise RunError(
            f"{error}; make room there, or put the file in a folder DIR and set {DATA_VARIABLE}=DIR"
        ) from error
    return target


def _receive(remote: Remote, url: str, file: BinaryIO, progress: bool | None) -> str:
    """Write what lies at an address, and return its checksum."""
    digest = hashlib.sha256()
    with _bar(remote, sys.stderr.isatty() if progress is None else progress) as advance:
        for chunk in stream(url, remote.size):
            digest.update(chunk)
            file.write(chunk)
            advance(len(chunk))
    return f"sha256:{digest.hexdigest()}"


@contextmanager
def _bar(remote: Remote, show: bool) -> Iterator[Callable[[int], object]]:
    """Yield what is told how many bytes have come, and shows it on stderr."""
    if not show:
        yield lambda size: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(remote.file, total=remote.size)
        yield partial(progress.advance, task)
