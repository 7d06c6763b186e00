"""Servers of strangers, on this machine: whatever they answer, one line, no file, no waiting."""

import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path

from attacks.bench import called, misbehaviour
from attacks.table import Attack

__all__ = ["attacks"]

ESCAPES = "\x1b[2J\x1b]0;evil\x07"
SIZE = 4096
OK = b"HTTP/1.1 200 OK\r\n"
Answer = Callable[[socket.socket], None]


def _sends(*parts: bytes, pause: float = 0.0, times: int = 1) -> Answer:
    def answer(connection: socket.socket) -> None:
        for _ in range(times):
            for part in parts:
                connection.sendall(part)
                time.sleep(pause)

    return answer


def _endless(head: bytes, piece: bytes, pause: float = 0.0) -> Answer:
    def answer(connection: socket.socket) -> None:
        connection.sendall(head)
        while True:
            connection.sendall(piece)
            time.sleep(pause)

    return answer


def _leads(to: bytes) -> Answer:
    return _sends(b"HTTP/1.1 302 Found\r\nLocation: " + to + b"\r\nContent-Length: 0\r\n\r\n")


ANSWERS: dict[str, Answer] = {
    "says nothing": _sends(pause=0.0, times=0),
    "says nothing, and stays": _endless(b"", b"", 0.1),
    "an endless body": _endless(OK + b"\r\n", bytes(65536)),
    "an endless body of the right length": _endless(
        OK + b"Content-Length: 4096\r\n\r\n", bytes(65536)
    ),
    "endless headers": _endless(OK, b"X-A: " + b"b" * 1000 + b"\r\n"),
    "one endless header": _endless(OK + b"X-A: ", b"b" * 65536),
    "endless informational answers": _endless(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "a byte now and then": _endless(OK + b"Content-Length: 4096\r\n\r\n", b"x", 0.2),
    "a header now and then": _endless(OK, b"X-A: b\r\n", 0.2),
    "a body cut short": _sends(OK + b"Content-Length: 4096\r\n\r\n" + bytes(10)),
    "another length": _sends(OK + b"Content-Length: 10\r\n\r\n" + bytes(10)),
    "a negative length": _sends(OK + b"Content-Length: -5\r\n\r\n" + bytes(SIZE)),
    "a length of 10^30": _sends(OK + b"Content-Length: 1" + b"0" * 30 + b"\r\n\r\n" + bytes(SIZE)),
    "a length that is a word": _sends(OK + b"Content-Length: many\r\n\r\n" + bytes(SIZE)),
    "two lengths": _sends(OK + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n" + bytes(SIZE)),
    "other bytes": _sends(OK + b"Content-Length: 4096\r\n\r\n" + b"x" * SIZE),
    "compressed": _sends(OK + b"Content-Encoding: gzip\r\n\r\n" + b"\x1f\x8b" + bytes(SIZE)),
    "of an unknown encoding": _sends(OK + b"Content-Encoding: evil\r\n\r\n" + bytes(SIZE)),
    "wrong chunks": _sends(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n" + bytes(SIZE)),
    "endless chunks": _endless(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + bytes(65536) + b"\r\n"
    ),
    "a chunk of 10^18": _sends(OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 15 + b"\r\nx"),
    "no HTTP": _sends(b"SSH-2.0-OpenSSH_9.0\r\n"),
    "HTTP of nonsense": _sends(b"HTTP/9.9 -1 \xff\xfe\r\n\r\n"),
    "status 999": _sends(b"HTTP/1.1 999 X\r\n\r\n"),
    "status 206": _sends(b"HTTP/1.1 206 Partial\r\nContent-Length: 1\r\n\r\nx"),
    "status 401": _sends(b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=x\r\n\r\n"),
    "status with escapes": _sends(b"HTTP/1.1 500 " + ESCAPES.encode() + b"\r\n\r\n"),
    "leads to itself": _leads(b"/"),
    "leads to a file": _leads(b"file:///etc/passwd"),
    "leads to ftp": _leads(b"ftp://127.0.0.1/x"),
    "leads to nothing": _leads(b""),
    "leads to //": _leads(b"//"),
    "leads to [": _leads(b"http://[/"),
    "leads to a port": _leads(b"http://127.0.0.1:99999/"),
    "leads to bytes": _leads(b"\xff\xfe\x00"),
    "leads to 100 kB": _leads(b"/" + b"a" * 60_000),
    "leads to escapes": _leads(b"http://" + ESCAPES.encode()),
    "null bytes in headers": _sends(OK + b"X\x00: \x00\r\n\r\n"),
}


def attacks(home: Path) -> Iterator[Attack]:
    """Yield every answer of a server."""
    for name, answer in ANSWERS.items():
        yield Attack("hostile servers", name, partial(_asked, answer))


def _asked(answer: Answer, place: Path) -> str:
    """A fetch of a small file from a server that answers like this: one line, and no file."""
    listening = socket.create_server(("127.0.0.1", 0))
    port = listening.getsockname()[1]
    server = os.fork()
    if server == 0:
        _serve(listening, answer)
    listening.close()
    try:
        outcome = called(place, "data", "fetch", "frey", before=partial(_aim, port, place))
    finally:
        os.kill(server, 9)
        os.waitpid(server, 0)
    kept = [path for path in (place / "cache").rglob("*") if path.is_file()]
    if kept:
        return f"left {kept[0].name} of {kept[0].stat().st_size} bytes"
    return misbehaviour(outcome, codes=(1, 2))


def _serve(listening: socket.socket, answer: Answer) -> None:
    try:
        while True:
            connection, _ = listening.accept()
            with suppress(OSError), connection:
                connection.recv(65536)
                answer(connection)
    finally:
        os._exit(0)


def _aim(port: int, place: Path) -> None:
    """Let a named data set come from a server on this machine, with little patience."""
    from vaezoo.data.sets import download, sources, transfer

    os.environ["NO_PROXY"] = "127.0.0.1"
    remote = download.Remote("frey", (f"http://127.0.0.1:{port}/",), f"sha256:{'0' * 64}", SIZE)
    sources.SOURCES["frey"] = replace(sources.SOURCES["frey"], remotes=(remote,))
    download.cache_dir = lambda: place / "cache"
    download._BACKOFF_SECONDS = 0.0
    download.stream = partial(transfer.stream, patience=0.7)
