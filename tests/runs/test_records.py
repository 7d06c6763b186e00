"""The record of a training is never shortened but by a line that a crash cut short."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from vaezoo import Callback, RequestError, load_run, resume
from vaezoo.runs import read_metrics

Vaezoo = Callable[..., Result]


class Lines(Callback):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_warning(self, message: str) -> None:
        self.lines.append(message)


def record(epoch: int, step: int | None = None) -> str:
    value = {"epoch": epoch, "step": step or 12 * epoch, "train": {}, "validation": {}}
    return json.dumps(value) + "\n"


@pytest.fixture
def file(run_folder: Path) -> Path:
    """Of a run of two epochs."""
    return run_folder / "metrics.jsonl"


DAMAGES = {
    "cut": lambda line: line[: len(line) // 2] + b"\n",
    "flipped": lambda line: line.replace(b'"epoch"', b"'epoch'"),
    "no UTF-8": lambda line: line.replace(b'"epoch"', b'"ep\xffch"'),
    "no record": lambda line: b"7\n",
    "another record": lambda line: b'{"epoch": "1"}\n',
    "zeros": lambda line: b"\0" * len(line) + b"\n",
    "deep": lambda line: b"[" * 100_000 + b"\n",
}


@pytest.fixture(params=DAMAGES.values(), ids=DAMAGES)
def damaged(request: pytest.FixtureRequest, file: Path) -> bytes:
    """What a file holds whose first line is damaged."""
    first, second = file.read_bytes().splitlines(keepends=True)
    file.write_bytes(request.param(first) + second)
    return file.read_bytes()


def test_damaged_line_is_refused_and_nothing_is_lost(file: Path, damaged: bytes) -> None:
    with pytest.raises(RequestError, match=r"metrics\.jsonl, line 1 is damaged; mend or delete it"):
        resume(file.parent, epochs=3)
    assert file.read_bytes() == damaged


@pytest.mark.usefixtures("damaged")
@pytest.mark.parametrize("words", ["sample {} -n 2 -o x.npz", "encode {} -n 2 -o z.npz"])
def test_damage_is_nothing_to_who_needs_no_record(vaezoo: Vaezoo, file: Path, words: str) -> None:
    result = vaezoo(*words.format(file.parent).split())
    assert result.exit_code == 0, result.stderr


@pytest.mark.usefixtures("damaged")
def test_run_with_a_damaged_record_prints(file: Path) -> None:
    assert "line 1 is damaged" in repr(load_run(file.parent))


def test_last_line_with_its_end_is_not_cut_short(file: Path) -> None:
    with file.open("a") as stream:
        stream.write('{"epoch": 3,\n')
    with pytest.raises(RequestError, match="line 3 is damaged"):
        read_metrics(file.parent)


def test_line_that_was_cut_short_is_dropped_and_said(file: Path) -> None:
    with file.open("a") as stream:
        stream.write('{"epoch": 3, "st')
    callback = Lines()
    assert len(resume(file.parent, epochs=3, callbacks=[callback]).metrics) == 3
    assert f"{file}, line 3 was cut short, and is left out" in callback.lines


def test_what_was_cut_short_is_said_beside_json(vaezoo: Vaezoo, file: Path) -> None:
    with file.open("a") as stream:
        stream.write('{"epoch": 3, "st')
    result = vaezoo("train", "--resume", file.parent, "--epochs", "3", "--json")
    (line,) = result.stderr.splitlines()
    assert "line 3 was cut short" in line
    assert json.loads(result.stdout)["best"]["epoch"] > 0


def test_two_trainings_in_one_file_are_refused(file: Path) -> None:
    file.write_text(record(1) + record(2) + record(2))
    with pytest.raises(RequestError, match="epoch 2 after epoch 2: it holds two trainings"):
        read_metrics(file.parent)


def test_epochs_after_the_state_are_trained_again_and_said(file: Path) -> None:
    with file.open("a") as stream:
        stream.write(record(3) + record(4))
    callback = Lines()
    run = resume(file.parent, epochs=4, callbacks=[callback])
    assert [record["epoch"] for record in run.metrics] == [1, 2, 3, 4]
    assert any("trained again from epoch 3 on" in line for line in callback.lines)


def test_missing_records_are_said(file: Path) -> None:
    file.write_bytes(file.read_bytes().splitlines(keepends=True)[0])
    callback = Lines()
    resume(file.parent, epochs=3, callbacks=[callback])
    assert [record["epoch"] for record in read_metrics(file.parent)] == [1, 3]
    assert any("no record of 1 of 2 epochs" in line for line in callback.lines)


@pytest.mark.parametrize("other", ["a number", "another run"])
def test_records_that_are_not_those_of_the_state_are_refused(file: Path, other: str) -> None:
    """They can be parsed, and their epochs are the same."""
    first, second = file.read_text().splitlines(keepends=True)
    changed = first.replace(json.loads(first)["train"]["elbo"].__repr__(), "-1.5")
    file.write_text({"a number": changed + second, "another run": record(1) + record(2)}[other])
    before = file.read_bytes()
    with pytest.raises(RequestError, match=r"its records are not those of the state; .* delete it"):
        resume(file.parent, epochs=3)
    assert file.read_bytes() == before


@pytest.mark.skipif(os.name == "nt", reason="no FIFO")
def test_fifo_is_not_waited_for(file: Path) -> None:
    file.unlink()
    os.mkfifo(file)
    with pytest.raises(RequestError, match="is no file"):
        read_metrics(file.parent)


def test_run_that_has_moved_has_its_record(file: Path, tmp_path: Path) -> None:
    moved = Path(shutil.move(file.parent, tmp_path / "elsewhere"))
    assert len(load_run(moved).metrics) == 2


@pytest.mark.skipif(os.name == "nt", reason="a folder cannot be flushed")
def test_records_are_on_the_disk_before_a_state_is(
    run_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At each save, not at each epoch: the disk would be what a short epoch waits for."""
    flushed: list[str] = []
    fsync = os.fsync

    def note(descriptor: int) -> None:
        names = {name: run_folder / name for name in ("metrics.jsonl", "last")}
        of_file = os.fstat(descriptor)
        flushed.extend(n for n, path in names.items() if os.path.samestat(of_file, path.stat()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", note)
    monkeypatch.setattr("vaezoo.training.saving.CHECKPOINT_SECONDS", 1e9)
    resume(run_folder, epochs=6)
    assert flushed.index("metrics.jsonl") < flushed.index("last")
    assert flushed.count("metrics.jsonl") < 4
