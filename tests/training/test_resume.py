"""A stopped run loses nothing: what is resumed ends as if it had never stopped."""

import json
import os
import random
import re
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import Result
from safetensors.torch import load_file
from torch import Tensor

from vaezoo import Callback, Run, fit, resume
from vaezoo.data import from_arrays
from vaezoo.errors import RequestError
from vaezoo.testing import scaffold
from vaezoo.training.trainer import Interrupted

Vaezoo = Callable[..., Result]

CONFIG = {"z_dim": 2, "hidden": [16]}
SMALL = ["--set", "hidden=[16]", "--set", "z_dim=2"]


class StopAfter(Callback):
    """Presses Ctrl-C during a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, step: int, loss: float) -> None:
        if step == self.step:
            signal.raise_signal(signal.SIGINT)


class KillAfter(StopAfter):
    """Dies at once during a step, saving nothing more."""

    def on_step(self, step: int, loss: float) -> None:
        if step == self.step:
            raise SystemExit


def train(out: Path, *callbacks: Callback, data: str = "digits", **training: Any) -> Run:
    return fit(
        "vae-bernoulli", data, config=CONFIG, training=training, out=out, callbacks=callbacks
    )


def interrupted(out: Path, step: int, **training: Any) -> Path:
    with pytest.raises(Interrupted) as stop:
        train(out, StopAfter(step), **training)
    assert stop.value.step == step
    return out


def without_seconds(record: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "seconds"}


def metrics(folder: Path) -> list[dict[str, Any]]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [without_seconds(json.loads(line)) for line in lines]


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if not torch.equal(one[name], other[name])]


def require_same(folder: Path, whole: Path) -> None:
    """The same best weights, last weights, optimiser, random states and metrics, bit by bit."""
    for file in ("weights.safetensors", "last/state.safetensors"):
        assert differing(load_file(folder / file), load_file(whole / file)) == []
    assert metrics(folder) == metrics(whole)
    infos = [json.loads((run / "run.json").read_text()) for run in (folder, whole)]
    for name in ("status", "steps", "best_epoch", "data_checksum", "transform"):
        assert infos[0][name] == infos[1][name]
    assert [path.name for path in folder.rglob(".*")] == []


@pytest.fixture(scope="session")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three epochs in one go."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    train(folder, epochs=3, kl_warmup=20)
    return folder


@pytest.fixture(scope="session")
def five(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five epochs in one go."""
    folder = tmp_path_factory.mktemp("five") / "run"
    train(folder, epochs=5)
    return folder


@pytest.fixture(scope="session")
def thirteen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Thirteen epochs in one go."""
    folder = tmp_path_factory.mktemp("thirteen") / "run"
    train(folder, epochs=13)
    return folder


STOPS = {
    "first step": 1,
    "middle of an epoch": 5,
    "last but one step of an epoch": 11,
    "last step of an epoch": 12,
    "first step of an epoch": 13,
    "last step of all": 36,
}


@pytest.mark.parametrize("step", STOPS.values(), ids=STOPS)
def test_interrupted_run_ends_as_if_uninterrupted(whole: Path, tmp_path: Path, step: int) -> None:
    interrupted(tmp_path / "run", step, epochs=3, kl_warmup=20)
    resume(tmp_path / "run")
    require_same(tmp_path / "run", whole)


def test_interrupted_twice(whole: Path, tmp_path: Path) -> None:
    interrupted(tmp_path / "run", 5, epochs=3, kl_warmup=20)
    with pytest.raises(Interrupted):
        resume(tmp_path / "run", callbacks=[StopAfter(17)])
    resume(tmp_path / "run")
    require_same(tmp_path / "run", whole)


@pytest.mark.parametrize("optimizer", ["adamw", "adagrad", "clipped-adam"])
def test_every_optimiser_goes_on(tmp_path: Path, optimizer: str) -> None:
    train(tmp_path / "whole", epochs=2, optimizer=optimizer)
    interrupted(tmp_path / "run", 5, epochs=2, optimizer=optimizer)
    resume(tmp_path / "run")
    require_same(tmp_path / "run", tmp_path / "whole")


def test_halved_rate_and_early_stop_go_on(tmp_path: Path) -> None:
    schedule = {"epochs": 30, "lr": 0.5, "plateau": 2, "patience": 3}
    run = train(tmp_path / "whole", **schedule)
    assert run.metrics[-1]["lr"] < 0.5
    assert len(run.metrics) < 30
    interrupted(tmp_path / "run", run.info["steps"] - 20, **schedule)
    resume(tmp_path / "run")
    require_same(tmp_path / "run", tmp_path / "whole")


def test_averages_of_a_likelihood_go_on(tmp_path: Path) -> None:
    config = {**CONFIG, "likelihood": {"name": "gaussian", "sigma": "analytic"}}
    fit("vae-gaussian", config=config, training={"epochs": 2}, out=tmp_path / "whole")
    with pytest.raises(Interrupted):
        fit(
            "vae-gaussian",
            config=config,
            training={"epochs": 2},
            out=tmp_path / "run",
            callbacks=[StopAfter(7)],
        )
    resume(tmp_path / "run")
    require_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("step", [12, 13, 18, 36])
def test_death_after_a_checkpoint_within_an_epoch(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    monkeypatch.setattr("vaezoo.training.saving.CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(SystemExit):
        train(tmp_path / "run", KillAfter(step), epochs=3, kl_warmup=20)
    resume(tmp_path / "run")
    require_same(tmp_path / "run", whole)


def test_death_while_an_epoch_is_measured(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class DieAfterRecord(Callback):
        def on_epoch(self, record: Mapping[str, Any]) -> None:
            if record["epoch"] == 2:
                raise SystemExit

    monkeypatch.setattr("vaezoo.training.saving.CHECKPOINT_SECONDS", -1.0)
    with pytest.raises(SystemExit):
        train(tmp_path / "run", DieAfterRecord(), epochs=3, kl_warmup=20)
    resume(tmp_path / "run")
    require_same(tmp_path / "run", whole)


def test_more_epochs_are_as_if_asked_for_at_first(five: Path, tmp_path: Path) -> None:
    train(tmp_path / "run", epochs=2)
    resume(tmp_path / "run", epochs=5)
    require_same(tmp_path / "run", five)


@pytest.mark.parametrize("steps", [7, 12, 31])
def test_more_epochs_after_a_number_of_steps(five: Path, tmp_path: Path, steps: int) -> None:
    train(tmp_path / "run", steps=steps)
    resume(tmp_path / "run", epochs=5)
    require_same(tmp_path / "run", five)


def test_more_steps_after_a_number_of_steps(tmp_path: Path) -> None:
    train(tmp_path / "whole", steps=40)
    train(tmp_path / "run", steps=17)
    resume(tmp_path / "run", steps=40)
    require_same(tmp_path / "run", tmp_path / "whole")


def test_best_weights_within_an_epoch_do_not_outlive_it(tmp_path: Path) -> None:
    """A part of an epoch may be better than every whole one; a longer run never sees it."""
    schedule = {"lr": 0.5, "seed": 1}
    whole = train(tmp_path / "whole", epochs=6, **schedule)
    for steps in range(13, 60, 7):
        out = tmp_path / f"run{steps}"
        train(out, steps=steps, **schedule)
        resume(out, epochs=6)
        assert metrics(out) == metrics(tmp_path / "whole")
        best = load_file(out / "weights.safetensors")
        assert differing(best, load_file(tmp_path / "whole" / "weights.safetensors")) == []
    assert whole.info["best_epoch"] < 6


def test_length_is_kept_for_the_next_resume(tmp_path: Path) -> None:
    train(tmp_path / "run", epochs=1)
    with pytest.raises(Interrupted):
        resume(tmp_path / "run", epochs=3, callbacks=[StopAfter(20)])
    assert len(resume(tmp_path / "run").metrics) == 3


def test_refused_resume_of_a_run_in_steps_keeps_its_record(tmp_path: Path) -> None:
    train(tmp_path / "run", steps=7)
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(RequestError, match="has finished, after 7 steps"):
        resume(tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def test_changed_data_are_refused(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 2, (50, 6))
    np.save(tmp_path / "x.npy", x)
    train(tmp_path / "run", data=str(tmp_path / "x.npy"), epochs=1)
    np.save(tmp_path / "x.npy", 1 - x)
    with pytest.raises(RequestError, match="has changed"):
        resume(tmp_path / "run", epochs=2)
    assert len(metrics(tmp_path / "run")) == 1


def test_run_is_resumed_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vaezoo.runs import folder

    train(tmp_path / "run", epochs=1, device="cpu")
    asked: list[str] = []
    find = folder.find_device
    monkeypatch.setattr(
        folder, "find_device", lambda name="auto": find(asked.append(name) or "cpu")
    )
    resume(tmp_path / "run", epochs=2)
    assert asked == ["cpu"]


# Processes

LONG = ["vae-bernoulli", *SMALL, "--epochs", "400", "--patience", "0"]

# Loads torch and pyro once, and runs each command line in a process of its own.
LAUNCHER = """
import json, os, sys, torch
torch.set_num_threads(1)
from vaezoo.cli import main
from vaezoo.training import fit, saving
saving.CHECKPOINT_SECONDS = 0.0
for line in sys.stdin:
    folder, out, err, words = json.loads(line)
    child = os.fork()
    if child == 0:
        os.chdir(folder)
        for number, path in ((1, out), (2, err)):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOCTTY), number)
        main(words)
    print(child, flush=True)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


class Launched:
    """A command line in a process of its own; one at a time."""

    def __init__(
        self, launcher: subprocess.Popen[str], folder: Path, *words: str, err: str = ""
    ) -> None:
        self.launcher, self.folder = launcher, folder
        assert launcher.stdin
        out, err = str(folder / "stdout"), err or str(folder / "stderr")
        print(json.dumps([str(folder), out, err, words]), file=launcher.stdin, flush=True)
        self.number = int(self._line())

    def _line(self) -> str:
        assert self.launcher.stdout
        return self.launcher.stdout.readline()

    def is_running(self) -> bool:
        return not select.select([self.launcher.stdout], [], [], 0)[0]

    def send(self, number: int) -> None:
        with suppress(ProcessLookupError):  # it may have finished meanwhile
            os.kill(self.number, number)

    def wait(self) -> int:
        return int(self._line())

    def errors(self) -> str:
        return (self.folder / "stderr").read_text(encoding="utf-8")


Start = Callable[..., Launched]


@pytest.fixture(scope="module")
def start() -> Iterator[Start]:
    command = [sys.executable, "-c", LAUNCHER]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "TERM": "xterm-256color"},
    ) as launcher:
        yield partial(Launched, launcher)
        assert launcher.stdin
        launcher.stdin.close()


def wait_for(path: Path, process: Launched) -> None:
    limit = time.monotonic() + 100
    while not path.exists():
        assert process.is_running(), process.errors()
        assert time.monotonic() < limit
        time.sleep(0.005)


def killed_at_random(start: Start, folder: Path, delay: float) -> Path:
    """A run that was killed some time after its folder appeared."""
    process = start(folder, "train", "vae-bernoulli", *SMALL, "--epochs", "12", "--out", "run")
    wait_for(folder / "run" / "run.json", process)
    time.sleep(delay)
    process.send(signal.SIGKILL)
    process.wait()
    return folder / "run"


def require_no_state_is_said(vaezoo: Vaezoo, folder: Path) -> None:
    result = vaezoo("train", "--resume", folder)
    assert result.exit_code == 2
    assert re.fullmatch(r"vaezoo: .*(again|--config).*\n", result.stderr)


@pytest.mark.parametrize("number", range(4))
def test_killed_run_goes_on(number: int, start: Start, tmp_path: Path, thirteen: Path) -> None:
    folder = killed_at_random(start, tmp_path, random.Random(number).uniform(0, 1))
    resume(folder, epochs=13)
    require_same(folder, thirteen)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(20))
def test_killed_run_goes_on_whenever_that_was(
    number: int, start: Start, tmp_path: Path, thirteen: Path
) -> None:
    folder = killed_at_random(start, tmp_path, random.Random(100 + number).uniform(0, 1.5))
    resume(folder, epochs=13)
    require_same(folder, thirteen)


class DieAtStart(Callback):
    """Dies at once when the run folder is there."""

    def on_start(self, run: Run, num_steps: int, first_step: int) -> None:
        raise SystemExit


def test_death_before_the_first_step(whole: Path, tmp_path: Path) -> None:
    with pytest.raises(SystemExit):
        train(tmp_path / "run", DieAtStart(), epochs=3, kl_warmup=20)
    resume(tmp_path / "run")
    require_same(tmp_path / "run", whole)


@pytest.mark.parametrize("name", ["save_checkpoint", "Saver.write_best"])
def test_death_while_the_first_state_is_saved(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    def die(*args: object, **options: object) -> None:
        raise SystemExit

    with monkeypatch.context() as patch:
        patch.setattr(f"vaezoo.training.saving.{name}", die)
        with pytest.raises(SystemExit):
            train(tmp_path / "run", epochs=3, kl_warmup=20)
    assert len(metrics(tmp_path / "run")) == 1
    resume(tmp_path / "run")
    require_same(tmp_path / "run", whole)


def begin(out: Path, model: str, data: Any = None, **settings: Any) -> Path:
    """A run whose process died before its first step."""
    with pytest.raises(SystemExit):
        fit(model, data, **settings, out=out, callbacks=[DieAtStart()])
    return out


def test_pair_of_a_file_begins_again(tmp_path: Path) -> None:
    scaffold.write(tmp_path / "mine.py")
    spec = str(tmp_path / "mine.py")
    settings = {"config": {"z_dim": 2, "hidden": 8}, "training": {"steps": 5}}
    fit(spec, **settings, out=tmp_path / "whole")
    begin(tmp_path / "run", spec, **settings)
    (tmp_path / "mine.py").unlink()
    resume(tmp_path / "run")
    require_same(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("own", [True, False], ids=["own splits", "array"])
def test_data_in_memory_begin_again(tmp_path: Path, own: bool) -> None:
    x = np.random.default_rng(0).integers(0, 2, (50, 6)).astype("float32")
    splits = {"train": np.arange(10, 50), "validation": np.arange(5), "test": np.arange(5, 10)}
    data: Any = from_arrays(x, splits=splits) if own else x
    settings = {"config": CONFIG, "training": {"epochs": 2}}
    fit("vae-bernoulli", data, **settings, out=tmp_path / "whole")
    folder = begin(tmp_path / "run", "vae-bernoulli", data, **settings)
    with pytest.raises(RequestError, match="which is not saved"):
        resume(folder)
    resume(folder, data=data)
    require_same(folder, tmp_path / "whole")


def test_death_while_files_are_written_leaves_nothing_of_them(tmp_path: Path) -> None:
    train(tmp_path / "run", epochs=1)
    for name in (".", "last", "figures"):
        (tmp_path / "run" / name).mkdir(exist_ok=True)
        (tmp_path / "run" / name / ".x.png.0123456789abcdef.part").write_text("half")
    resume(tmp_path / "run", epochs=2)
    assert [path.name for path in (tmp_path / "run").rglob(".*")] == []


def test_run_without_a_state_says_so(run_folder: Path, vaezoo: Vaezoo) -> None:
    shutil.rmtree(run_folder / "last")
    require_no_state_is_said(vaezoo, run_folder)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stopped_process_says_how_to_go_on(
    number: int, start: Start, tmp_path: Path, vaezoo: Vaezoo
) -> None:
    process = start(tmp_path, "train", *LONG, "--out", "run", "--json")
    wait_for(tmp_path / "run" / "last" / "state.safetensors", process)
    process.send(number)
    assert process.wait() == 130
    errors = process.errors()
    said = re.fullmatch(r"vaezoo: stopped at step (\d+), saved; .* (train --resume run)\n", errors)
    assert said, errors
    last = str(int(said[1]) + 5)
    assert vaezoo(*said[2].split(), "--steps", last, "--json").exit_code == 0


def test_second_interrupt_leaves_no_half_file(start: Start, tmp_path: Path) -> None:
    process = start(tmp_path, "train", *LONG, "--out", "run", "--json")
    wait_for(tmp_path / "run" / "last" / "state.safetensors", process)
    process.send(signal.SIGINT)
    process.send(signal.SIGINT)
    assert process.wait() == 130
    assert [path.name for path in (tmp_path / "run").rglob(".*")] == []
    load_file(tmp_path / "run" / "last" / "state.safetensors")


@pytest.mark.skipif(sys.platform == "win32", reason="no pseudo-terminals")
def test_terminal_gets_its_cursor_back(start: Start, tmp_path: Path) -> None:
    import pty

    ours, theirs = pty.openpty()
    process = start(tmp_path, "train", *LONG, "--out", "run", err=os.ttyname(theirs))
    shown = b""
    while b"ELBO" not in shown:
        shown += os.read(ours, 4096)
    os.close(theirs)  # not before the process has it open
    process.send(signal.SIGINT)
    shown += read_all(ours)
    assert process.wait() == 130
    assert shown.rfind(b"\x1b[?25h") > shown.rfind(b"\x1b[?25l")
    assert b"train --resume run" in shown


def read_all(terminal: int) -> bytes:
    output = b""
    try:
        while piece := os.read(terminal, 4096):
            output += piece
    except OSError:  # how Linux says that the other end is closed
        pass
    os.close(terminal)
    return output
