"""The server of a page: who is let in, and what is answered to nonsense."""

import base64
import http.client
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import pytest

import vaezoo
from vaezoo import RunError
from vaezoo.explorer.exploring import Explorer
from vaezoo.explorer.server import LONGEST_BODY, PageServer
from vaezoo.explorer.space import Point

Reply = tuple[int, Mapping[str, str], Any]
Ask = Callable[..., Reply]


@pytest.fixture(scope="module")
def explorer() -> Explorer:
    run = vaezoo.fit("vae-bernoulli", config={"z_dim": 3}, training={"steps": 5})
    return vaezoo.explore(run, limit=20)


@pytest.fixture(scope="module")
def server(explorer: Explorer) -> Iterator[PageServer]:
    with explorer.serving() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield server
        server.shutdown()


@pytest.fixture
def ask(server: PageServer) -> Ask:
    """Return the status, the headers and the body of an answer."""

    def answer(
        path: str = "", body: bytes | None = None, token: str | None = None, **headers: str
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=120)
        address = f"/{server.token if token is None else token}/{path}"
        connection.request("GET" if body is None else "POST", address, body, headers)
        reply = connection.getresponse()
        content = reply.read()
        connection.close()
        is_json = reply.headers["Content-Type"] == "application/json"
        return reply.status, reply.headers, json.loads(content) if is_json else content.decode()

    return answer


def decode(ask: Ask, **point: object) -> Reply:
    return ask("decode", json.dumps(point).encode())


def test_the_page_is_served(ask: Ask) -> None:
    status, headers, page = ask()
    assert status == 200
    assert page.startswith("<!doctype html>")
    assert headers["Referrer-Policy"] == "no-referrer"
    assert "Access-Control-Allow-Origin" not in headers


def test_what_is_decoded_comes_whole(ask: Ask, explorer: Explorer) -> None:
    _, _, answer = decode(ask, row=4, values=[0.25, -1.0, 3.0])
    x = np.frombuffer(base64.b64decode(answer["x"]), "<f4").reshape(answer["shape"])
    assert np.array_equal(x, explorer.space.decode(Point(4, values=(0.25, -1.0, 3.0))).x)
    assert answer["values"] == [0.25, -1.0, 3.0]


def test_a_datum_comes_with_what_is_said_of_it(ask: Ask, explorer: Explorer) -> None:
    _, _, answer = ask("datum?row=6")
    x = np.frombuffer(base64.b64decode(answer["x"]), "<f4").reshape(answer["shape"])
    assert np.array_equal(x, explorer.space.x[6])
    assert answer["label"] == float(explorer.space.label[6])
    assert np.shape(answer["covariance"]) == (2, 2)


@pytest.mark.parametrize("path", ["", "decode", "datum?row=0", "../", "nothing"])
@pytest.mark.parametrize("token", ["", "x", "%C3%A9"])
def test_nobody_comes_in_without_the_token(ask: Ask, token: str, path: str) -> None:
    status, _, answer = ask(path, token=token)
    assert status == 403
    assert "row" not in str(answer)


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_other_hosts_and_origins_are_kept_out(ask: Ask, headers: dict[str, str]) -> None:
    assert ask(**headers)[0] == 403
    assert ask("decode", b'{"row": 0}', **headers)[0] == 403


def test_the_own_origin_is_let_in(ask: Ask, server: PageServer) -> None:
    own = f"http://127.0.0.1:{server.server_port}"
    assert ask("decode", b'{"row": 0}', Origin=own)[0] == 200


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "%2e%2e/pyproject.toml", "explore.css", "page"]
)
def test_no_file_is_read(ask: Ask, path: str) -> None:
    assert ask(path)[0] == 404


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "no JSON"),
        (b"[1]", "a JSON object"),
        (b"[" * 100_000, "no JSON"),
        (b"{}", "`row` is a row, 0 to 19"),
        (b'{"row": -1}', "`row` is a row"),
        (b'{"row": 20}', "`row` is a row, 0 to 19, not 20"),
        (b'{"row": true}', "`row` is a row"),
        (b'{"row": 1.5}', "`row` is a row"),
        (b'{"row": 0, "to": "x"}', "`to` is a row"),
        (b'{"row": 0, "at": 2}', "`at` is between 0 and 1"),
        (b'{"row": 0, "at": NaN}', "`at` is between 0 and 1"),
        (b'{"row": 0, "path": "crooked"}', "crooked"),
        (b'{"row": 0, "path": [1]}', "path"),
        (b'{"row": 0, "frame": 0}', "has no latents of frames"),
        (b'{"row": 0, "values": [1]}', "`values` are 3 numbers"),
        (b'{"row": 0, "values": [1, 2, NaN]}', "`values` is a list of numbers"),
        (b'{"row": 0, "values": [1, 2, 1e999]}', "`values` is a list of numbers"),
        (b'{"row": 0, "values": "abc"}', "`values` is a list of numbers"),
        (b" " * (LONGEST_BODY + 1), "at most"),
    ],
)
def test_nonsense_is_answered_in_a_line(ask: Ask, body: bytes, message: str) -> None:
    status, _, answer = ask("decode", body)
    assert status == 400
    assert message in answer["error"]
    assert "\n" not in answer["error"]


def test_a_failure_of_the_pair_is_one_line() -> None:
    def fail(_: Mapping[str, Any]) -> None:
        raise ValueError("not\nhere")

    with PageServer("", {"x": fail}, {}) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=120)
        connection.request("GET", f"/{server.token}/x")
        reply = connection.getresponse()
        assert (reply.status, json.load(reply)) == (500, {"error": "ValueError: not here"})
        connection.close()


def test_a_port_that_is_taken_is_refused(server: PageServer) -> None:
    with pytest.raises(RunError, match=f"port {server.server_port} of 127.0.0.1 cannot be had"):
        PageServer("", {}, {}, port=server.server_port)


def test_only_this_machine_is_served(server: PageServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_each_page_has_its_own_token() -> None:
    with PageServer("", {}, {}) as one, PageServer("", {}, {}) as other:
        assert one.token != other.token
