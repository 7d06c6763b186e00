"""The server of a page: this machine only, a secret in its address, nothing but the page's own.

Any page that a browser has open may send requests to a server on the same machine. What keeps
others out: it listens on the loopback address; each address holds a random token; the header
``Host`` must be its own, so that no name can be made to point here (DNS rebinding); it sends no
header that lets another origin read its answers; and it reads no file.
"""

import json
import os
import secrets
import socketserver
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from vaezoo.errors import RequestError, RunError, VaezooError

__all__ = ["Answers", "PageServer"]

ADDRESS = "127.0.0.1"
LONGEST_BODY = 1 << 18  # bytes; thousands of latents
MOST_DISCARDED = 1 << 24  # bytes that are read of a request that is too long
SECONDS = 20  # that a connection may be silent
HEADERS = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Cross-Origin-Resource-Policy": "same-origin",
}

Answers = Mapping[str, Callable[[Mapping[str, Any]], Any]]


class PageServer(ThreadingHTTPServer):
    """Serves a page, and answers what it asks.

    Parameters
    ----------
    page
        The HTML.
    reading, posted
        What is asked for by an address with arguments, and by a JSON object: functions by the last
        word of the address, each from its arguments to what becomes JSON.
    port
        By default any that is free.

    Raises
    ------
    RunError
        When the port is taken.

    Examples
    --------
    >>> with PageServer("<p>", {}, {}) as server:
    ...     server.url.startswith("http://127.0.0.1:")
    True
    """

    daemon_threads = True
    allow_reuse_address = os.name == "posix"  # on Windows it would let others share the port

    def __init__(self, page: str, reading: Answers, posted: Answers, port: int = 0) -> None:
        self.page, self.reading, self.posted = page, reading, posted
        self.token = secrets.token_urlsafe(24)
        try:
            super().__init__((ADDRESS, port), _Handler)
        except (OSError, OverflowError) as error:
            raise RunError(
                f"port {port} of {ADDRESS} cannot be had ({error}); leave out `port`"
            ) from error

    def server_bind(self) -> None:
        """Bind without the name of the machine, which HTTPServer asks a name server for."""
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, self.server_address[1]

    @property
    def url(self) -> str:
        """The address of the page, with its token."""
        return f"http://{ADDRESS}:{self.server_port}/{self.token}/"

    @property
    def hosts(self) -> set[str]:
        """What a browser on this machine calls it."""
        return {f"{name}:{self.server_port}" for name in (ADDRESS, "localhost")}

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has left."""


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = SECONDS
    server_version, sys_version = "vaezoo", ""

    def do_GET(self) -> None:
        if (name := self._name()) is None:
            return
        if not name:
            self._send(200, self.server.page.encode(), "text/html; charset=utf-8")
            return
        query = parse_qs(urlsplit(self.path).query)
        arguments = {key: values[-1] for key, values in query.items()}
        self._answer(self.server.reading, name, lambda: arguments)

    def do_POST(self) -> None:
        sent = self._sent()
        if (name := self._name()) is not None:
            self._answer(self.server.posted, name, lambda: _parsed(sent))

    def _name(self) -> str | None:
        """Return what is asked for; None when it was refused."""
        token, _, name = urlsplit(self.path).path.lstrip("/").partition("/")
        origin = self.headers.get("Origin")
        is_own = self.headers.get("Host") in self.server.hosts
        is_own &= origin is None or origin.removeprefix("http://") in self.server.hosts
        if is_own and secrets.compare_digest(token.encode(), self.server.token.encode()):
            return name
        self._refuse(403, "not for you: open the address that vaezoo explore printed")
        return None

    def _sent(self) -> bytes | None:
        """Return what was sent, of a request that is refused as well; None for too much of it.

        A connection that is closed before all was read is reset, and the answer lost with it.
        """
        text = self.headers.get("Content-Length", "")
        length = int(text) if text.isdecimal() and len(text) < 12 else 0
        if length <= LONGEST_BODY:
            return self.rfile.read(length)
        for _ in range(0, min(length, MOST_DISCARDED), LONGEST_BODY):
            self.rfile.read(min(length, LONGEST_BODY))
            length -= LONGEST_BODY
        return None

    def _answer(self, answers: Answers, name: str, body: Callable[[], Mapping[str, Any]]) -> None:
        if name not in answers:
            self._refuse(404, f"there is no such thing here as {name[:40]!r}")
            return
        try:
            content = json.dumps(answers[name](body()), allow_nan=False).encode()
        except RequestError as error:
            self._refuse(400, str(error))
        except Exception as error:  # of a user's pair, on any point it was not made for
            of = "" if isinstance(error, VaezooError) else f"{type(error).__name__}: "
            self._refuse(500, f"{of}{error}")
        else:
            self._send(200, content, "application/json")

    def _refuse(self, status: int, message: str) -> None:
        text = " ".join(message.split())
        self._send(status, json.dumps({"error": text}).encode(), "application/json")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        for name, value in HEADERS.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:
        """Print no line for each request."""


def _parsed(sent: bytes | None) -> Mapping[str, Any]:
    """Return the object that a request holds as JSON."""
    if sent is None:
        raise RequestError(f"a request has at most {LONGEST_BODY} bytes")
    try:
        body = json.loads(sent)
    except (ValueError, RecursionError) as error:
        raise RequestError(f"a request is no JSON: {error}") from None
    if not isinstance(body, dict):
        raise RequestError("a request is a JSON object")
    return body
