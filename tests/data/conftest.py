import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from vaezoo.data.sets import download

_NAMED = os.environ.get("VAEZOO_DATA")
_SHARED = Path(__file__).parents[3] / "shared" / "data"


@pytest.fixture
def real_data() -> Path:
    """The folder with the original files of the published data sets."""
    folder = Path(_NAMED) if _NAMED else _SHARED
    if not folder.is_dir():
        pytest.skip("no folder of original data files; set VAEZOO_DATA")
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for each test, no data folder from outside, and no waiting."""
    folder = tmp_path / "cache"
    monkeypatch.setattr(download, "cache_dir", lambda: folder)
    monkeypatch.setattr(download, "_BACKOFF_SECONDS", 0.0)
    monkeypatch.setattr(download, "_verified", set())
    monkeypatch.delenv("VAEZOO_DATA", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    return folder


@pytest.fixture
def npz(tmp_path: Path) -> Callable[..., Path]:
    """Write arrays by name."""

    def save(**arrays: Any) -> Path:
        np.savez(tmp_path / "x.npz", **arrays)
        return tmp_path / "x.npz"

    return save


@pytest.fixture
def csv(tmp_path: Path) -> Callable[[str], Path]:
    """Write a table that is given as text."""

    def save(text: str) -> Path:
        (tmp_path / "x.csv").write_text(text)
        return tmp_path / "x.csv"

    return save


Answer = Callable[[BaseHTTPRequestHandler], None]


@dataclass
class Server:
    """A web server on this machine: answers by path, and the paths that were asked for."""

    port: int
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    def serve(self, path: str, body: bytes, *, status: int = 200, length: int | None = None) -> str:
        def answer(request: BaseHTTPRequestHandler) -> None:
            request.send_response(status)
            request.send_header("Content-Length", str(len(body) if length is None else length))
            request.end_headers()
            request.wfile.write(body)

        self.answers[path] = answer
        return self.url(path)


@pytest.fixture
def server() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            running.asked.append(self.path)
            running.answers[self.path](self)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        running = Server(http.server_port)
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield running
        http.shutdown()
        thread.join()
