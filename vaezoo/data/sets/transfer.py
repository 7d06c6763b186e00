"""One download: its bytes as they come, from a server that may be slow, broken or hostile.

How much comes and how long it may take is bounded, whatever the server says and does. A thread asks
it, and is left alone when it gets no further: no limit of a socket holds for an answer that comes
one byte a minute, or whose headers never end.
"""

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from vaezoo.errors import reason_of

if TYPE_CHECKING:
    from requests import PreparedRequest, Response, Session

__all__ = ["TransferError", "stream"]

_CONNECT_AND_READ_SECONDS = (10, 30)
_PATIENCE = 60.0  # seconds for a chunk: at least 1 kB/s
_CHUNK = 2**16
_REDIRECTS = 5
_WAITING = 16  # chunks that have come and are not written yet


class TransferError(Exception):
    """An address gave no usable file; ``is_final`` when asking again is pointless."""

    def __init__(self, reason: str, *, is_final: bool) -> None:
        super().__init__(reason)
        self.is_final = is_final


def stream(url: str, size: int, *, patience: float = _PATIENCE) -> Iterator[bytes]:
    """Yield what lies at an address, chunk by chunk, ``size`` bytes in all.

    Parameters
    ----------
    url
        The address, of http or https; so are those that it may lead to.
    size
        Number of bytes that are wanted; no more are read.
    patience
        Seconds in which a chunk of 64 KiB has to come, the first one with all that precedes it.

    Raises
    ------
    TransferError
        When it gives something else, less, or takes too long.
    """
    source = _Source(url, size)
    source.start()
    try:
        while size:
            chunk = source.next(patience)
            size -= len(chunk)
            yield chunk
    finally:
        source.stopped.set()


class _Source(threading.Thread):
    """Fetches an address in the background; what comes is taken with :meth:`next`."""

    def __init__(self, url: str, size: int) -> None:
        super().__init__(daemon=True, name=f"download of {url}")
        self.url = url
        self.size = size
        self.stopped = threading.Event()
        self._parts: queue.Queue[bytes | TransferError] = queue.Queue(_WAITING)

    def next(self, patience: float) -> bytes:
        """Return the next chunk, which is never empty."""
        try:
            part = self._parts.get(timeout=patience)
        except queue.Empty:
            raise TransferError("no answer in time, or too slow", is_final=False) from None
        if isinstance(part, TransferError):
            raise part
        return part

    def run(self) -> None:
        """Put the content, or why there is none, where :meth:`next` finds it."""
        try:
            self._fetch()
        except Exception as error:  # whatever a server makes of a library
            self._put(_explain(error))

    def _fetch(self) -> None:
        import requests

        with requests.Session() as session, _open(session, self.url) as response:
            _require_form(response, self.size)
            missing = self.size
            while missing and not self.stopped.is_set():
                chunk = response.raw.read(min(missing, _CHUNK), decode_content=False)
                if not chunk:
                    raise TransferError("broken off", is_final=False)
                missing -= len(chunk)
                self._put(chunk)

    def _put(self, part: bytes | TransferError) -> None:
        while not self.stopped.is_set():
            with suppress(queue.Full):
                self._parts.put(part, timeout=0.5)
                return


def _open(session: "Session", url: str) -> "Response":
    """Return the answer of an address, or of where it leads."""
    for _ in range(_REDIRECTS + 1):
        _require_web(url)
        response = session.get(
            url,
            stream=True,
            allow_redirects=False,
            timeout=_CONNECT_AND_READ_SECONDS,
            headers={"Accept-Encoding": "identity"},
            auth=_anonymous,
        )
        if not response.is_redirect:
            return response
        url = urljoin(url, response.headers["location"])
        response.close()
    raise TransferError(f"more than {_REDIRECTS} redirects", is_final=True)


def _anonymous(request: "PreparedRequest") -> "PreparedRequest":
    """Send no password: without this, requests would look for one in the user's ``.netrc``."""
    return request


def _require_web(url: str) -> None:
    try:
        parts = urlsplit(url)
        is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_web = False
    if not is_web:
        raise TransferError("it leads to what is no address of http or https", is_final=True)


def _require_form(response: "Response", size: int) -> None:
    """Refuse an answer that its headers say is not the file."""
    status = response.status_code
    if status != 200:
        is_final = status < 500 and status not in (408, 429)
        raise TransferError(f"HTTP {status}", is_final=is_final)
    if response.headers.get("Content-Encoding", "identity").lower() not in ("", "identity"):
        raise TransferError("wrong content, compressed on the way", is_final=True)
    announced = response.headers.get("Content-Length", "")
    if announced.isdecimal() and announced != str(size):
        raise TransferError(f"wrong content, {announced[:20]} bytes, not {size}", is_final=True)


def _explain(error: Exception) -> TransferError:
    import requests

    if isinstance(error, TransferError):
        return error
    if isinstance(error, requests.Timeout):
        return TransferError("no answer in time, or too slow", is_final=False)
    if isinstance(error, requests.exceptions.InvalidURL | ValueError):
        return TransferError(f"no usable address: {reason_of(error)}", is_final=True)
    if isinstance(error, requests.ConnectionError):
        return TransferError("no connection", is_final=False)
    return TransferError("broken off", is_final=False)
