"""A run folder appears whole, for one training, and a death meanwhile is in nobody's way."""

import errno
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from vaezoo import Callback, RequestError, Run, fit, resume
from vaezoo.runs.ownership import made
from vaezoo.runtime import locks
from vaezoo.training.admission import prepare

Vaezoo = Callable[..., Result]

STEPS = {"steps": 2}


def train(out: Path, *callbacks: Callback, numbered: bool = False) -> Run:
    return fit("vae-linear", training=STEPS, out=out, numbered=numbered, callbacks=callbacks)


class During(Callback):
    """Does something while a run is trained, and keeps what it was refused with."""

    def __init__(self, act: Callable[[Path], object]) -> None:
        self.act = act
        self.refusal = ""

    def on_start(self, run: Run, num_steps: int, first_step: int) -> None:
        with pytest.raises(RequestError) as refusal:
            self.act(run.folder())
        self.refusal = str(refusal.value)


SECOND = {"fit": train, "resume": lambda path: resume(path, steps=9)}


@pytest.mark.parametrize("act", SECOND.values(), ids=SECOND)
@pytest.mark.parametrize("name", ["run", ""], ids=["new", "empty"])
def test_second_training_is_told_the_first(tmp_path: Path, act: Any, name: str) -> None:
    during = During(act)
    assert train(tmp_path / name, during).info["steps"] == 2
    assert f"process {os.getpid()} since {time.strftime('%Y-')}" in during.refusal


def test_resumed_run_is_owned(tmp_path: Path) -> None:
    train(tmp_path / "run")
    during = During(SECOND["resume"])
    resume(tmp_path / "run", steps=4, callbacks=[during])
    assert f"process {os.getpid()} since" in during.refusal
    assert resume(tmp_path / "run", steps=6).info["steps"] == 6


def meanwhile(monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """Do something once, after a path was seen to be free and before its folder is there."""
    save = Run.save_config
    acts = [act]

    def late(run: Run) -> None:
        if acts:
            acts.pop()()
        save(run)

    monkeypatch.setattr(Run, "save_config", late)


def test_two_that_begin_at_once_have_two_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs: list[Run] = []
    meanwhile(monkeypatch, lambda: runs.append(train(tmp_path / "run", numbered=True)))
    runs.append(train(tmp_path / "run", numbered=True))
    assert [run.path for run in runs] == [tmp_path / "run", tmp_path / "run-2"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run", "run-2"]
    assert all(len(run.metrics) == 1 for run in runs)


def test_name_that_is_taken_meanwhile_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meanwhile(monkeypatch, lambda: train(tmp_path / "run"))
    with pytest.raises(RequestError, match="run exists already; go on with"):
        train(tmp_path / "run")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_runs_of_the_same_second_are_numbered(
    vaezoo: Vaezoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaezoo.cli.train._new_folder", lambda *names: Path("runs/a"))
    words = ("train", "vae-linear", "--steps", "2", "--json")
    folders = [json.loads(vaezoo(*words).stdout)["run"] for _ in range(3)]
    assert folders == [str(Path("runs", name)) for name in ("a", "a-2", "a-3")]


OCCUPIED = {
    "file": (lambda path: path.write_text("x"), "is no folder"),
    "folder": (lambda path: (path / "below").mkdir(parents=True), "is not empty"),
}


@pytest.mark.parametrize(("make", "says"), OCCUPIED.values(), ids=OCCUPIED)
def test_path_that_is_something_else(tmp_path: Path, make: Any, says: str) -> None:
    make(tmp_path / "run")
    with pytest.raises(RequestError, match=says):
        train(tmp_path / "run")


def test_failure_while_it_is_made_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    run, _ = prepare("vae-linear", None, training=STEPS, out=tmp_path / "run")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Exception, match=r"run/config\.toml: No space left"), made(run):
        pass
    assert list(tmp_path.iterdir()) == []


def test_disk_without_locks_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_locks(descriptor: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    lines: list[str] = []
    monkeypatch.setattr(locks, "_lock", no_locks)
    run, _ = prepare("vae-linear", None, training=STEPS, out=tmp_path / "run")
    with made(run, notify=lines.append):
        assert (tmp_path / "run" / "config.toml").is_file()
    assert "without locks" in lines[0]


# Dies at the n-th file operation while a folder is made, in a child for each n until one lives;
# after each, a second try must do. Prints how many died.
DEATHS = """
import os, signal, sys
from pathlib import Path
from vaezoo.errors import RequestError
from vaezoo.runs import open_run
from vaezoo.runs.ownership import made
from vaezoo.training.admission import prepare

NAMES = ("open", "mkdir", "rename", "replace", "fsync", "write", "ftruncate", "unlink", "close")

def die_at(number):
    count = 0
    def wrap(call):
        def counting(*args, **options):
            nonlocal count
            count += 1
            if count == number:
                os.kill(os.getpid(), signal.SIGKILL)
            return call(*args, **options)
        return counting
    for name in NAMES:
        setattr(os, name, wrap(getattr(os, name)))

base, is_there = Path(sys.argv[1]), sys.argv[2] == "empty"
run, _ = prepare("vae-linear", None, training={"steps": 1}, out=base / "run")
for number in range(1, 1000):
    run.path = base / str(number) / "run"
    (run.path if is_there else run.path.parent).mkdir(parents=True)
    child = os.fork()
    if not child:
        die_at(number)
        with made(run):
            os._exit(0)
    died = os.waitpid(child, 0)[1]
    path = run.path
    if not died:
        break
    try:
        with made(run):
            assert run.path == path
            assert [*path.parent.iterdir()] == [path]
        assert sorted(p.name for p in path.iterdir()) == ["config.toml", "run.json"]
    except RequestError:  # it was made
        open_run(path)
print(number)
"""


def test_folder_that_was_taken_for_left_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else sweeps between the moments in which it is made and locked."""
    taken: list[Path] = []

    def late(folder: Path) -> locks.Ownership:
        if not taken:
            folder.rmdir()
        taken.append(folder)
        return locks.take(folder)

    monkeypatch.setattr("vaezoo.runs.ownership.take", late)
    assert train(tmp_path / "run").info["status"] == "finished"
    assert len(taken) == 2
    assert [*tmp_path.iterdir()] == [tmp_path / "run"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
@pytest.mark.parametrize("folder", ["new", "empty"])
def test_death_at_every_file_operation_is_in_nobodys_way(tmp_path: Path, folder: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", DEATHS, str(tmp_path), folder],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.stderr == ""
    assert int(result.stdout) > 15
