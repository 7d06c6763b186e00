"""Files of the named data sets: found on disk or downloaded, and verified either way."""

import gzip
import hashlib
import logging
import os
import secrets
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace

from vaezoo.errors import RequestError, RunError

__all__ = ["Remote", "fetch", "locate"]

DATA_VARIABLE = "VAEZOO_DATA"
_CONNECT_AND_READ_SECONDS = (10, 30)
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
        ``sha256:...`` or ``md5:...`` of these bytes.
    size
        Number of bytes.
    folder
        The folder that holds it, below the data folder and in the cache.
    alternatives
        The same content in other formats, with checksums of the same algorithm; the reader tells
        formats apart. On disk, their names do as well. Their addresses are tried last, and what
        comes from there is kept under the name of this one.
    """

    file: str
    urls: tuple[str, ...]
    checksum: str
    size: int
    folder: str = ""
    alternatives: tuple["Remote", ...] = ()

    @property
    def algorithm(self) -> str:
        return self.checksum.partition(":")[0]

    @property
    def forms(self) -> tuple["Remote", ...]:
        return (self, *self.alternatives)

    @property
    def checksums(self) -> tuple[str, ...]:
        return tuple(form.checksum for form in self.forms)


class _TransferError(Exception):
    """An address gave no usable file; ``is_final`` when asking again is pointless."""

    def __init__(self, reason: str, *, is_final: bool) -> None:
        super().__init__(reason)
        self.is_final = is_final


def cache_dir() -> Path:
    """Return the folder that downloads go to."""
    import pooch

    return Path(pooch.os_cache("vaezoo"))


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
    try:
        checksum = _checksum(path, remote.algorithm, is_compressed=is_compressed)
    except (EOFError, gzip.BadGzipFile, zlib.error):
        return "a broken gzip file"
    except OSError as error:
        raise RequestError(f"cannot read {path}: {error.strerror or error}") from error
    if checksum not in remote.checksums:
        return _short(checksum)
    _verified.add(key)
    return ""


def _short(checksum: str) -> str:
    algorithm, _, value = checksum.partition(":")
    return f"{algorithm} {value[:16]}..."


def _checksum(path: Path, algorithm: str, *, is_compressed: bool = False) -> str:
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with gzip.open(path) if is_compressed else path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return f"{algorithm}:{digest.hexdigest()}"


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
            except _TransferError as failure:
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
    """Download to a temporary name beside the target; the final name only ever holds all of it."""
    part = target.with_name(f".{target.name}.{secrets.token_hex(4)}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _get(url, part, remote, progress)
        if (checksum := _checksum(part, remote.algorithm)) != remote.checksum:
            raise _TransferError(f"wrong content, {_short(checksum)}", is_final=True)
        part.replace(target)
    except OSError as error:
        raise RunError(
            f"cannot write {target}: {error.strerror or error}; make room there, or put the file "
            f"in a folder DIR and set {DATA_VARIABLE}=DIR"
        ) from error
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
    return target


def _get(url: str, part: Path, remote: Remote, progress: bool | None) -> None:
    import pooch
    import requests

    _log.info("downloading %s", url)
    with _bar(remote, sys.stderr.isatty() if progress is None else progress) as bar:
        get = pooch.HTTPDownloader(
            progressbar=bar,
            chunk_size=_CHUNK,
            timeout=_CONNECT_AND_READ_SECONDS,
            headers={"Accept-Encoding": "identity"},
        )
        try:
            get(url, str(part), None)
        except requests.RequestException as error:
            raise _explain(error) from error


def _explain(error: Exception) -> _TransferError:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        status = error.response.status_code
        return _TransferError(f"HTTP {status}", is_final=status < 500 and status not in (408, 429))
    if isinstance(error, requests.Timeout):
        return _TransferError("no answer in time", is_final=False)
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return _TransferError("broken off", is_final=False)
    return _TransferError("no connection", is_final=False)


@contextmanager
def _bar(remote: Remote, show: bool) -> Iterator[SimpleNamespace | None]:
    """Yield what pooch calls a progress bar, shown by rich on stderr, or None."""
    if not show:
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task(remote.file, total=remote.size)
        yield SimpleNamespace(
            total=remote.size,
            update=partial(progress.advance, task),
            reset=partial(progress.reset, task),
            close=progress.refresh,
        )
