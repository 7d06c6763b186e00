"""A server that means harm: bounded in bytes and in time, and nothing of it stays."""

import gzip
import hashlib
import threading
import zlib
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from vaezoo.data.sets import download
from vaezoo.data.sets.download import Remote, fetch
from vaezoo.data.sets.transfer import TransferError, stream
from vaezoo.errors import RequestError, RunError

BODY = b"sixty thousand digits" * 20000
Answer = Callable[[BaseHTTPRequestHandler], None]


@pytest.fixture
def done() -> Any:
    """Is set when a test is over, so that answers that wait for ever end."""
    event = threading.Event()
    yield event
    event.set()


def answering(server: Any, answer: Answer) -> str:
    server.answers["/a"] = answer
    return str(server.url("/a"))


def redirecting(server: Any, location: bytes) -> str:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.0 302 Found\r\nLocation: " + location + b"\r\n\r\n")

    return answering(server, answer)


def remote(url: str, body: bytes = BODY) -> Remote:
    checksum = f"sha256:{hashlib.sha256(body).hexdigest()}"
    return Remote("digits.gz", (url,), checksum, len(body), "set")


def refusal(url: str, cache: Path) -> str:
    with pytest.raises(RunError) as failure:
        fetch(remote(url))
    assert "\n" not in str(failure.value)
    assert not [path for path in cache.rglob("*") if path.is_file()]
    return str(failure.value)


def test_endless_body_is_cut_where_the_file_ends(server: Any, cache: Path) -> None:
    sent = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.end_headers()
        try:
            while True:
                sent.append(request.wfile.write(b"x" * 2**16))
        except OSError:
            pass

    assert "wrong content" in refusal(answering(server, answer), cache)
    assert sum(sent) < 2**26


def test_announced_size_is_compared_before_anything_is_read(server: Any, cache: Path) -> None:
    url = server.serve("/a", BODY, length=10**15)
    assert f"{10**15} bytes, not {len(BODY)}" in refusal(url, cache)


@pytest.mark.parametrize("length", [b"-1", b"9" * 5000, b"0x10", "²".encode(), b"1, 2"])
def test_malformed_size_is_refused_or_ignored(server: Any, length: bytes) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(b"HTTP/1.0 200 OK\r\nContent-Length: " + length + b"\r\n\r\n" + BODY)

    received = b""
    with suppress(TransferError):
        received = b"".join(stream(answering(server, answer), len(BODY)))
    assert received in (b"", BODY)


def test_what_was_compressed_on_the_way_is_not_inflated(server: Any, cache: Path) -> None:
    bomb = gzip.compress(b"\0" * 2**24)

    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(200)
        request.send_header("Content-Encoding", "gzip")
        request.end_headers()
        request.wfile.write(bomb)

    assert "compressed on the way" in refusal(answering(server, answer), cache)


def slow_body(request: BaseHTTPRequestHandler, done: threading.Event) -> None:
    request.send_response(200)
    request.send_header("Content-Length", str(len(BODY)))
    request.end_headers()
    drip(request, done)


def slow_headers(request: BaseHTTPRequestHandler, done: threading.Event) -> None:
    request.wfile.write(b"HTTP/1.0 200 OK\r\nX-Slow: ")
    drip(request, done)


def silence(request: BaseHTTPRequestHandler, done: threading.Event) -> None:
    done.wait(60)


def drip(request: BaseHTTPRequestHandler, done: threading.Event) -> None:
    try:
        while not done.wait(0.05):
            request.wfile.write(b"x")
    except OSError:
        pass


@pytest.mark.parametrize("how", [slow_body, slow_headers, silence])
def test_a_server_that_is_too_slow_is_left(
    server: Any, done: threading.Event, how: Callable[..., None]
) -> None:
    url = answering(server, lambda request: how(request, done))
    with pytest.raises(TransferError, match="too slow") as failure:
        list(stream(url, len(BODY), patience=0.3))
    assert not failure.value.is_final


LOCATIONS = (
    b"file:///etc/passwd",
    b"ftp://127.0.0.1/a",
    b"gopher://127.0.0.1/",
    b"data:,x",
    b"//",
    b"http://",
    b"http:///a",
    b"http://[::1",
    b"http://127.0.0.1:99999/",
    b"http://127.0.0.1:0/",
    b"http://\xff\xfe\x00/",
    b"http://a b/",
    b"http://" + b"a" * 300 + b".invalid/",
    b"http://.../",
    b"\\\\server\\share",
)


@pytest.mark.parametrize("location", LOCATIONS)
def test_malformed_redirect_is_one_line(server: Any, cache: Path, location: bytes) -> None:
    assert len(refusal(redirecting(server, location), cache)) < 1500


def test_redirects_in_a_circle_end(server: Any, cache: Path) -> None:
    assert "redirects" in refusal(redirecting(server, b"/a"), cache)
    assert len(server.asked) <= 6


def test_redirect_is_followed(server: Any) -> None:
    server.serve("/b", BODY)
    assert fetch(remote(redirecting(server, b"/b"))).read_bytes() == BODY


ANSWERS = (
    b"",
    b"\n",
    b"HTTP/9.9 abc\r\n\r\n",
    b"SSH-2.0-OpenSSH\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 1000 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10**6 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFF\r\nabc",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-5\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Encoding: br, gzip, \xff\r\n\r\nabc",
    b"HTTP/1.1 999 \x1b[31m\r\n\r\n",
)


@pytest.mark.parametrize("raw", ANSWERS)
def test_malformed_answer_is_one_line(server: Any, cache: Path, raw: bytes) -> None:
    message = refusal(answering(server, lambda request: request.wfile.write(raw)), cache)
    assert "\x1b" not in message


def test_no_password_of_the_user_is_sent(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "netrc").write_text("machine 127.0.0.1 login me password secret\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    sent = []

    def answer(request: BaseHTTPRequestHandler) -> None:
        sent.append(request.headers.get("Authorization"))
        request.send_response(200)
        request.end_headers()
        request.wfile.write(BODY)

    fetch(remote(answering(server, answer)))
    assert sent == [None]


def test_bomb_in_the_data_folder_is_not_inflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gzip file of 130 kB that inflates to 134 MB, where a text of 420 kB is expected."""
    press = zlib.compressobj(wbits=31)
    with (tmp_path / "digits.amat.gz").open("wb") as file:
        for _ in range(8):
            file.write(press.compress(b"\0" * 2**24))
        file.write(press.flush())
    inflated = []
    digest = hashlib.sha256

    class Counting:
        def __init__(self) -> None:
            self.digest = digest()

        def update(self, chunk: bytes) -> None:
            inflated.append(len(chunk))

        def hexdigest(self) -> str:
            return self.digest.hexdigest()

    wanted = Remote("digits.amat", (), remote("").checksum, len(BODY), "set")
    monkeypatch.setattr(download.hashlib, "sha256", Counting)
    with pytest.raises(RequestError, match=f"more than {len(BODY)} bytes"):
        fetch(wanted, data_dir=tmp_path)
    assert sum(inflated) <= len(BODY)
