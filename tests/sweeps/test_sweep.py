"""A sweep trains each trial in a folder of its own, and goes on after whatever stopped it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import vaezoo
from vaezoo.errors import RequestError, RunError
from vaezoo.sweeps import trying
from vaezoo.sweeps.outcome import outcome_of
from vaezoo.sweeps.space import read_space
from vaezoo.sweeps.study import JOURNAL, counted, next_trial, open_study, reclaim, working

pytest.importorskip("optuna")

SPACE = {"lr": "log:1e-4..1e-2", "z_dim": "int:2..4"}
SHORT = {"steps": 5, "batch_size": 256}


def swept(folder: Path, **changes: Any) -> vaezoo.Sweep:
    options: dict[str, Any] = {"space": SPACE, "trials": 2, "training": SHORT, "out": folder}
    return vaezoo.sweep("vae-bernoulli", **{**options, **changes})


def test_best_trial_is_a_run_of_its_settings(tmp_path: Path) -> None:
    sweep = swept(tmp_path / "sweep", trials=3)
    best = max(sweep.trials, key=lambda trial: trial.value or 0.0)
    run = vaezoo.load_run(sweep.best.run)
    assert sweep.best == best
    assert (run.training.lr, run.config["z_dim"]) == (best.settings["lr"], best.settings["z_dim"])
    assert run.metrics[-1]["validation"]["elbo"] == best.value


def test_the_same_call_goes_on(tmp_path: Path) -> None:
    """And draws what one call would have drawn."""
    folder, whole = tmp_path / "parts", swept(tmp_path / "whole", trials=3)
    swept(folder, trials=1)
    told: list[int] = []
    sweep = swept(folder, trials=3, on_trial=lambda trial: told.append(trial.number))
    assert told == [1, 2]
    assert [t.settings for t in sweep.trials] == [t.settings for t in whole.trials]
    assert [t.value for t in sweep.trials] == [t.value for t in whole.trials]


def test_values_in_memory(tmp_path: Path) -> None:
    x = vaezoo.load_data("digits").x[:200]
    sweep = swept(tmp_path / "sweep", data=x, data_settings={"scale": 16}, trials=1)
    assert sweep.best.state == "finished"
    with pytest.raises(RequestError, match="name both"):
        swept(tmp_path / "two", data=x, jobs=2)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"space": {"z_dim": "int:2..8"}}, "other settings: `space` was"),
        ({"training": {"steps": 6}}, "other settings: `training` was"),
    ],
)
def test_a_folder_holds_one_sweep(tmp_path: Path, changes: dict[str, Any], why: str) -> None:
    swept(tmp_path, trials=1)
    with pytest.raises(RequestError, match=why):
        swept(tmp_path, **changes)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").touch()
    with pytest.raises(RequestError, match="holds no sweep"):
        swept(tmp_path)


def test_a_trial_that_fails_has_its_reason_and_others_follow(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit, calls = trying.fit, iter(range(9))

    def failing(*args: Any, **options: Any) -> Any:
        if next(calls) == 0:
            raise RunError("the loss is not finite")
        return fit(*args, **options)

    monkeypatch.setattr(trying, "fit", failing)
    sweep = swept(tmp_path)
    assert [trial.state for trial in sweep.trials] == ["failed", "finished"]
    assert sweep.trials[0].error == "the loss is not finite"


def test_data_that_there_are_not_are_refused_before_anything_is_made(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="/nowhere"):
        swept(tmp_path / "sweep", data="/nowhere")
    assert not (tmp_path / "sweep").exists()


def test_what_no_trial_can_be_trained_with_is_refused(tmp_path: Path) -> None:
    x = vaezoo.load_data("digits").x[:200]
    with pytest.raises(RequestError, match="the first 3 trials were refused: array has values 0"):
        swept(tmp_path, data=x, trials=9)


def test_interrupted_trial_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(trying, "fit", lambda *args, **options: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            swept(tmp_path)
    sweep = swept(tmp_path)
    study = open_study(tmp_path)
    first, again = study.trials[:2]
    assert first.params == again.params
    assert again.user_attrs["again"] == first.number
    assert [trial.state for trial in sweep.trials] == ["finished", "finished"]


def test_trial_of_a_dead_process_is_tried_again_and_that_of_a_living_one_is_not(
    tmp_path: Path,
) -> None:
    study, space = open_study(tmp_path, is_new=True), read_space(SPACE)
    with working(tmp_path) as living:
        assert next_trial(study, space, 9, "dead", 0)
        assert next_trial(study, space, 9, living, 0)
        assert reclaim(study, tmp_path) == 1
    assert [trial.number for trial in counted(study)] == [1]


def test_half_a_line_that_was_left_is_cut_off(tmp_path: Path) -> None:
    swept(tmp_path, trials=1)
    with (tmp_path / JOURNAL).open("ab") as file:
        file.write(b'{"op_code": 4, "wor')
    assert len(swept(tmp_path).trials) == 2


def test_two_processes_do_not_begin_more_than_were_asked_for(tmp_path: Path) -> None:
    study, space = open_study(tmp_path, is_new=True), read_space(SPACE)
    begun = [next_trial(study, space, 2, "worker", 0) for _ in range(3)]
    assert [new is not None for new in begun] == [True, True, False]


def test_a_training_that_is_worse_than_most_is_given_up(tmp_path: Path) -> None:
    study, space = open_study(tmp_path, is_new=True), read_space(SPACE)
    for _ in range(6):
        new = next_trial(study, space, 9, "worker", 0)
        assert new is not None
        for epoch in range(1, 9):
            new[0].report(-1.0, epoch)
        study.tell(new[0], -1.0)
    steps = {"epochs": 8, "batch_size": 512}
    request = trying.Request("vae-bernoulli", None, {}, SPACE, 7, {}, None, steps, True)
    with working(tmp_path) as worker:
        trying.try_all(request, tmp_path, worker)
    pruned = outcome_of(tmp_path).trials[-1]
    run = vaezoo.load_run(pruned.run)
    assert pruned.state == "pruned"
    assert run.info["status"] == "interrupted"
    assert 4 <= len(run.metrics) < 8


@pytest.mark.slow
def test_processes_share_the_trials(tmp_path: Path) -> None:
    told: list[int] = []
    sweep = swept(tmp_path, trials=3, jobs=2, on_trial=lambda trial: told.append(trial.number))
    assert [trial.state for trial in sweep.trials] == ["finished"] * 3
    assert sorted(told) == [0, 1, 2]


@pytest.mark.slow
def test_processes_that_were_killed_begin_again(tmp_path: Path) -> None:
    words = ["vae-bernoulli", "--steps", "300", "--space", "lr=log:1e-4..1e-2", "--trials", "2"]
    command = [sys.executable, "-m", "vaezoo", "sweep", *words, "--out", str(tmp_path / "sweep")]
    process = subprocess.Popen(command)
    while not list(tmp_path.glob("sweep/trial-*/metrics.jsonl")):
        time.sleep(0.2)
        assert process.poll() is None
    os.kill(process.pid, signal.SIGTERM if os.name == "nt" else signal.SIGKILL)
    process.wait()
    done = subprocess.run([*command, "--jobs", "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "2 trials: 2 finished" in done.stdout
