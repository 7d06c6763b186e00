"""A folder has one owner, and it is free as soon as that is gone, however it went."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from vaezoo.errors import RequestError, RunError
from vaezoo.runtime.locks import LOCK, Owner, is_left, owner_of, take

# Takes a folder, says so, and holds it until it is killed.
HOLDER = """
import sys
from pathlib import Path
from vaezoo.runtime.locks import take
ownership = take(Path(sys.argv[1]))
ownership.say()
print("held", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder of the test."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


def test_second_owner_is_told_the_first(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    with pytest.raises(RequestError, match=rf"process {holder.pid} since \d{{4}}-\d\d-\d\d \d\d:"):
        take(tmp_path)


def test_death_of_the_owner_frees_its_folder(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.kill()
    holder.wait()
    assert owner_of(tmp_path) is None
    assert is_left(tmp_path)
    take(tmp_path).release()
    assert list(tmp_path.iterdir()) == []


def test_one_process_is_one_owner(tmp_path: Path) -> None:
    first = take(tmp_path)
    first.say()
    with pytest.raises(RequestError, match=f"process {os.getpid()} since"):
        take(tmp_path)
    first.release()
    take(tmp_path).release()


def test_owner_that_has_not_said_who_it_is(tmp_path: Path) -> None:
    first = take(tmp_path)
    with pytest.raises(RequestError, match="trained by another process"):
        take(tmp_path)
    first.release()


def test_owner_elsewhere_is_named_with_its_machine() -> None:
    assert str(Owner(3, "a.b.c", "2026-01-01 00:00:00")).startswith("process 3 on a.b.c since")


@pytest.mark.parametrize("content", [b"", b"[", b"[1]", b'{"pid": "x"}', b"[" * 900, b"\xff"])
def test_whatever_a_lock_says_it_can_be_taken(tmp_path: Path, content: bytes) -> None:
    (tmp_path / LOCK).write_bytes(content)
    take(tmp_path).release()


@pytest.mark.skipif(os.name == "nt", reason="no FIFO, and links need a privilege")
def test_lock_is_no_link_and_no_fifo(tmp_path: Path) -> None:
    for number, make in enumerate((lambda path: path.symlink_to("/etc/x"), os.mkfifo, os.mkdir)):
        folder = tmp_path / str(number)
        folder.mkdir()
        make(folder / LOCK)
        assert owner_of(folder) is None
        with pytest.raises(RunError, match="cannot write"):
            take(folder)


def test_lock_that_was_released_meanwhile_is_not_taken_for_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between opening the file and locking it, its owner has removed it."""
    from vaezoo.runtime import locks

    lock = locks._lock
    calls: list[int] = []

    def late(descriptor: int) -> None:
        if not calls:
            (tmp_path / LOCK).unlink()
        calls.append(descriptor)
        lock(descriptor)

    monkeypatch.setattr(locks, "_lock", late)
    ownership = take(tmp_path)
    assert len(calls) == 2
    assert os.path.samestat(os.fstat(ownership.descriptor), (tmp_path / LOCK).stat())
    ownership.release()
