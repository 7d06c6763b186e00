"""A run has finished with its weights and its state; its figures come after, and can come later."""

import errno
import json
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from vaezoo import Callback, RequestError, fit, resume
from vaezoo.training.callbacks import Interrupted

Vaezoo = Callable[..., Result]

TRAIN = ("train", "vae-bernoulli", "--set", "z_dim=2", "--set", "hidden=[8]", "--out", "run")
FIGURES = ["curves.png", "latents.png", "reconstructions.png", "samples.png"]


def figures(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "figures").glob("*"))


def status(folder: Path) -> str:
    return json.loads((folder / "run.json").read_text())["status"]


def press(*args: object, **options: object) -> None:
    signal.raise_signal(signal.SIGINT)


def line(result: Result, code: int) -> str:
    """What was said of a failure, which is one line."""
    assert result.exit_code == code, result.output
    (said,) = result.stderr.splitlines()
    return said


# Ctrl-C


class PressInEpoch(Callback):
    """Presses Ctrl-C when an epoch was measured."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        if record["epoch"] == self.epoch:
            press()


def test_interrupt_after_the_last_step_is_not_swallowed(tmp_path: Path) -> None:
    with pytest.raises(Interrupted) as stop:
        fit("vae-linear", training={"epochs": 2}, out=tmp_path, callbacks=[PressInEpoch(2)])
    assert stop.value.run.info["status"] == status(tmp_path) == "finished"
    with pytest.raises(RequestError, match="has finished"):
        resume(tmp_path)


def test_interrupt_in_the_last_epoch_says_how_to_draw(
    vaezoo: Vaezoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vaezoo.training.trainer.Trainer._finish", _then_press())
    said = line(vaezoo(*TRAIN, "--epochs", "1", "--json"), 130)
    assert said.endswith("the run has finished; for its figures: vaezoo report run")
    assert vaezoo("report", "run").exit_code == 0
    assert figures(tmp_path / "run") == FIGURES


def _then_press() -> Callable[[Any], None]:
    from vaezoo.training.trainer import Trainer

    finish = Trainer._finish

    def pressed(trainer: Trainer) -> None:
        finish(trainer)
        press()

    return pressed


@pytest.fixture
def undrawn(vaezoo: Vaezoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run in whose figures somebody pressed Ctrl-C."""
    with monkeypatch.context() as patch:
        patch.setattr("vaezoo.plots.figures.plot_data", press)
        said = line(vaezoo(*TRAIN, "--epochs", "1", "--json"), 130)
    assert said.endswith("the run has finished; for its figures: vaezoo report run")
    return tmp_path / "run"


def test_termination_in_the_figures_says_the_same(
    vaezoo: Vaezoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def terminate(*args: object, **options: object) -> None:
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr("vaezoo.plots.figures.plot_data", terminate)
    said = line(vaezoo(*TRAIN, "--epochs", "1", "--json"), 130)
    assert said.endswith("the run has finished; for its figures: vaezoo report run")
    assert list(tmp_path.rglob(".*")) == []
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_interrupt_in_the_figures_leaves_a_finished_run(undrawn: Path) -> None:
    assert status(undrawn) == "finished"
    assert figures(undrawn) == []


def test_report_draws_what_is_missing(vaezoo: Vaezoo, undrawn: Path) -> None:
    assert vaezoo("report", "run").stdout.startswith("drew samples.png, ")
    assert figures(undrawn) == FIGURES
    before = {name: (undrawn / "figures" / name).stat().st_mtime_ns for name in FIGURES}
    (undrawn / "figures" / "curves.png").unlink()
    assert json.loads(vaezoo("report", "run", "--json").stdout)["figures"] == ["curves.png"]
    after = {name: (undrawn / "figures" / name).stat().st_mtime_ns for name in FIGURES}
    assert [name for name in FIGURES if before[name] != after[name]] == ["curves.png"]
    assert vaezoo("report", "run").stdout.startswith("nothing to draw")


def test_resume_of_a_finished_run_draws_what_is_missing(vaezoo: Vaezoo, undrawn: Path) -> None:
    result = vaezoo("train", "--resume", "run")
    assert result.exit_code == 0
    assert result.stdout.startswith("run had finished; drew samples.png, ")
    assert figures(undrawn) == FIGURES
    assert "has finished, after 12 steps; to train longer" in line(
        vaezoo("train", "--resume", "run"), 2
    )


def test_more_epochs_are_trained_whatever_is_missing(vaezoo: Vaezoo, undrawn: Path) -> None:
    assert vaezoo("train", "--resume", "run", "--epochs", "2", "--json").exit_code == 0
    assert len((undrawn / "metrics.jsonl").read_text().splitlines()) == 2
    assert figures(undrawn) == FIGURES


def test_figure_of_other_weights_is_drawn_again(vaezoo: Vaezoo, undrawn: Path) -> None:
    vaezoo("report", "run")
    (undrawn / "figures" / "samples.png").write_bytes(b"of somebody else")
    assert vaezoo("report", "run").stdout.startswith("drew samples.png in ")


# What is not whole


def test_full_disk_in_the_figures_is_said_of_a_finished_run(
    vaezoo: Vaezoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(run: object, path: Path, *args: object) -> None:
        from vaezoo.runtime.storage import write_bytes

        monkeypatch.setattr(os, "fsync", no_space)
        write_bytes(path, b"")

    def no_space(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("vaezoo.plots.figures.plot_data", full)
    said = line(vaezoo(*TRAIN, "--epochs", "1", "--json"), 1)
    assert "No space left on device; the run has finished; for its figures: vaezoo report" in said
    assert status(tmp_path / "run") == "finished"


class PressInStep(Callback):
    """Presses Ctrl-C during a step."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_step(self, step: int, loss: float) -> None:
        if step == self.step:
            press()


@pytest.mark.parametrize(("step", "code"), [(15, 0), (3, 2)], ids=["with weights", "without"])
def test_report_of_an_interrupted_run(vaezoo: Vaezoo, tmp_path: Path, step: int, code: int) -> None:
    config = {"z_dim": 2, "hidden": [8]}
    with pytest.raises(Interrupted):
        fit("vae-bernoulli", config=config, out=tmp_path / "run", callbacks=[PressInStep(step)])
    result = vaezoo("report", "run")
    assert result.exit_code == code, result.stderr
    assert figures(tmp_path / "run") == (FIGURES if code == 0 else [])


def test_report_of_a_damaged_record_names_its_line(vaezoo: Vaezoo, run_folder: Path) -> None:
    (run_folder / "metrics.jsonl").write_text("x\n{}\n")
    assert "line 1 is damaged" in line(vaezoo("report", "run"), 2)


def test_report_says_of_a_record_that_was_cut_short(vaezoo: Vaezoo, run_folder: Path) -> None:
    with (run_folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 3')
    result = vaezoo("report", "run")
    assert "line 3 was cut short" in line(result, 0)
    assert figures(run_folder) == FIGURES
