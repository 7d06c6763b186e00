import gzip
import hashlib
import re
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vaezoo.data.sets import download
from vaezoo.data.sets.download import Remote, fetch, locate
from vaezoo.data.sets.sources import SOURCES
from vaezoo.errors import RequestError, RunError

BODY = b"sixty thousand digits" * 20000


def sha256(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def remote(*urls: str, body: bytes = BODY) -> Remote:
    return Remote("digits.gz", urls, sha256(body), len(body), "set")


def files_in(folder: Path) -> list[str]:
    return [path.name for path in folder.rglob("*") if path.is_file()]


@pytest.fixture
def dead() -> str:
    """An address where nobody answers."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return f"http://127.0.0.1:{port}/digits.gz"


def test_download_has_the_bytes(server: Any, cache: Path) -> None:
    path = fetch(remote(server.serve("/a", BODY)))
    assert path == cache / "set" / "digits.gz"
    assert path.read_bytes() == BODY


def test_download_leaves_only_the_file(server: Any, cache: Path) -> None:
    fetch(remote(server.serve("/a", BODY)))
    assert files_in(cache) == ["digits.gz"]


def test_second_fetch_uses_the_cache(server: Any) -> None:
    wanted = remote(server.serve("/a", BODY))
    assert fetch(wanted) == fetch(wanted)
    assert server.asked == ["/a"]


def test_dead_address_is_followed_by_the_next(server: Any, dead: str) -> None:
    assert fetch(remote(dead, server.serve("/b", BODY))).read_bytes() == BODY


def test_missing_file_is_followed_by_the_next(server: Any) -> None:
    first = server.serve("/a", b"gone", status=404)
    assert fetch(remote(first, server.serve("/b", BODY))).read_bytes() == BODY


def test_other_content_is_followed_by_the_next(server: Any, cache: Path) -> None:
    first = server.serve("/a", b"<html>log in</html>")
    assert fetch(remote(first, server.serve("/b", BODY))).read_bytes() == BODY
    assert files_in(cache) == ["digits.gz"]


def test_truncated_body_is_followed_by_the_next(server: Any) -> None:
    first = server.serve("/a", BODY[:100], length=len(BODY))
    assert fetch(remote(first, server.serve("/b", BODY))).read_bytes() == BODY


def test_alternative_has_its_own_checksum(server: Any, dead: str) -> None:
    other = b"the same in another format"
    alternative = remote(server.serve("/b", other), body=other)
    path = fetch(replace(remote(dead), alternatives=(alternative,)))
    assert path.read_bytes() == other


def test_every_published_file_has_a_sha256() -> None:
    remotes = [remote for source in SOURCES.values() for remote in source.remotes]
    checksums = [checksum for remote in remotes for checksum in remote.checksums]
    assert [c for c in checksums if not re.fullmatch("sha256:[0-9a-f]{64}", c)] == []


def test_progress_is_shown_on_stderr(server: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fetch(remote(server.serve("/a", BODY)), progress=True)
    assert capsys.readouterr().out == ""


FAILURES = {
    "404": (404, BODY, len(BODY), "HTTP 404"),
    "503": (503, BODY, len(BODY), "HTTP 503"),
    "redirect to nowhere": (302, b"", 0, "HTTP 302"),
    "part of it": (206, BODY, len(BODY), "HTTP 206"),
    "truncated": (200, BODY[:100], len(BODY), "broken off"),
    "other content": (200, b"other", 5, "wrong content"),
}


@pytest.mark.parametrize(("status", "body", "length", "reason"), FAILURES.values(), ids=FAILURES)
def test_failure_is_one_line_with_the_way_out(
    server: Any, cache: Path, status: int, body: bytes, length: int, reason: str
) -> None:
    url = server.serve("/a", body, status=status, length=length)
    with pytest.raises(RunError) as failure:
        fetch(remote(url))
    message = str(failure.value)
    assert f"{url} ({reason}" in message
    assert "put digits.gz in DIR/set and set VAEZOO_DATA=DIR" in message
    assert "\n" not in message
    assert files_in(cache) == []


def test_no_connection_is_a_run_error(dead: str, cache: Path) -> None:
    with pytest.raises(RunError, match="no connection"):
        fetch(remote(dead))
    assert files_in(cache) == []


@pytest.mark.parametrize(("status", "times"), [(404, 1), (503, 3), (429, 3)])
def test_only_passing_failures_are_tried_again(server: Any, status: int, times: int) -> None:
    url = server.serve("/a", b"", status=status)
    with pytest.raises(RunError):
        fetch(remote(url))
    assert len(server.asked) == times


def test_interruption_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(url: str, size: int) -> Iterator[bytes]:
        yield BODY[:100]
        raise KeyboardInterrupt

    monkeypatch.setattr(download, "stream", stop)
    with pytest.raises(KeyboardInterrupt):
        fetch(remote("http://127.0.0.1/a"))
    assert files_in(cache) == []


def test_damaged_cache_is_downloaded_again(server: Any, cache: Path) -> None:
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "digits.gz").write_bytes(b"half")
    assert fetch(remote(server.serve("/a", BODY))).read_bytes() == BODY


def test_damaged_cache_is_not_kept_without_a_network(cache: Path, dead: str) -> None:
    (cache / "set").mkdir(parents=True)
    (cache / "set" / "digits.gz").write_bytes(b"half")
    with pytest.raises(RunError):
        fetch(remote(dead))
    assert files_in(cache) == []


def test_cache_that_cannot_be_written_is_one_line(server: Any, cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(RunError, match="cannot write"):
        fetch(remote(server.serve("/a", BODY)))


@pytest.mark.parametrize("name", ["set/digits.gz", "digits.gz"])
@pytest.mark.parametrize("by_variable", [False, True])
def test_data_folder_comes_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, by_variable: bool
) -> None:
    path = tmp_path / "own" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(BODY)
    if by_variable:
        monkeypatch.setenv("VAEZOO_DATA", str(tmp_path / "own"))
    assert fetch(remote(), data_dir=None if by_variable else tmp_path / "own") == path


def test_compressed_file_is_accepted(tmp_path: Path) -> None:
    plain = replace(remote(), file="digits.amat")
    (tmp_path / "digits.amat.gz").write_bytes(gzip.compress(BODY))
    assert fetch(plain, data_dir=tmp_path).name == "digits.amat.gz"


@pytest.mark.parametrize("name", ["digits.mat", "digits.mat.gz"])
def test_alternative_is_found_by_its_own_name(tmp_path: Path, name: str) -> None:
    other = b"the same in another format"
    wanted = replace(remote(), alternatives=(replace(remote(body=other), file="digits.mat"),))
    (tmp_path / name).write_bytes(gzip.compress(other) if name.endswith(".gz") else other)
    assert fetch(wanted, data_dir=tmp_path) == tmp_path / name


def test_damaged_alternative_is_refused(tmp_path: Path) -> None:
    wanted = replace(remote(), alternatives=(replace(remote(body=b"other"), file="digits.mat"),))
    (tmp_path / "digits.mat").write_bytes(b"damaged")
    with pytest.raises(RequestError, match=r"digits\.mat: expected sha256"):
        fetch(wanted, data_dir=tmp_path)


def damage_by_other_bytes(path: Path) -> None:
    path.write_bytes(gzip.compress(b"other"))


def damage_by_truncation(path: Path) -> None:
    path.write_bytes(gzip.compress(BODY)[:-20])


@pytest.mark.parametrize("damage", [damage_by_other_bytes, damage_by_truncation])
def test_damaged_compressed_file_is_refused(tmp_path: Path, damage: Callable[..., None]) -> None:
    damage(tmp_path / "digits.amat.gz")
    with pytest.raises(RequestError, match=r"digits.amat.gz: expected sha256"):
        fetch(replace(remote(), file="digits.amat"), data_dir=tmp_path)


def test_wrong_file_in_the_data_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "digits.gz").write_bytes(b"other")
    with pytest.raises(RequestError) as failure:
        fetch(remote(), data_dir=tmp_path)
    message = str(failure.value)
    assert str(tmp_path / "digits.gz") in message
    assert remote().checksum[7:23] in message
    assert hashlib.sha256(b"other").hexdigest()[:16] in message
    assert "remove it" in message


def test_missing_data_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="no folder"):
        fetch(remote(), data_dir=tmp_path / "nowhere")


def test_file_is_read_once_per_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "digits.gz").write_bytes(BODY)
    fetch(remote(), data_dir=tmp_path)
    monkeypatch.setattr(download, "_checksum", lambda *_, **__: pytest.fail("read again"))
    fetch(remote(), data_dir=tmp_path)


def test_changed_file_is_read_again(tmp_path: Path) -> None:
    (tmp_path / "digits.gz").write_bytes(BODY)
    fetch(remote(), data_dir=tmp_path)
    (tmp_path / "digits.gz").write_bytes(BODY + b"!")
    with pytest.raises(RequestError):
        fetch(remote(), data_dir=tmp_path)


def test_locate_finds_nothing_without_a_file(tmp_path: Path) -> None:
    assert locate(remote(), data_dir=tmp_path) is None


def test_locate_finds_the_cache(server: Any) -> None:
    path = fetch(remote(server.serve("/a", BODY)))
    assert locate(remote()) == path
