"""A run whose folder is removed while it is trained: noticed, said, and saved beside."""

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from vaezoo import Run, RunError, fit, resume
from vaezoo.testing.scaffold import write
from vaezoo.training.callbacks import Callback

SMALL: dict[str, Any] = {"config": {"z_dim": 2}}


class AfterEpoch(Callback):
    """Does something to the run folder after an epoch."""

    def __init__(self, epoch: int, change: Callable[[Path], object]) -> None:
        self.epoch, self.change = epoch, change
        self.path = Path()

    def on_start(self, run: Run, num_steps: int, first_step: int) -> None:
        assert run.path is not None
        self.path = run.path

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        if record["epoch"] == self.epoch:
            self.change(self.path)


def remove(path: Path) -> None:
    shutil.rmtree(path)


def rename(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))


def replace(path: Path) -> None:
    shutil.rmtree(path)
    path.mkdir()


def empty(path: Path) -> None:
    (path / "config.toml").unlink()


@pytest.mark.parametrize("epoch", [1, 3])
@pytest.mark.parametrize("change", [remove, rename, replace, empty])
def test_all_is_saved_beside_and_goes_on(
    change: Callable[[Path], object], epoch: int, tmp_path: Path
) -> None:
    callbacks = [AfterEpoch(epoch, change)]
    with pytest.raises(RunError, match=r"run was removed.*saved in .*run-rescued; go on with"):
        fit(
            "vae-linear", training={"epochs": 3}, out=tmp_path / "run", callbacks=callbacks, **SMALL
        )
    resumed = resume(tmp_path / "run-rescued", epochs=4)
    whole = fit("vae-linear", training={"epochs": 4}, **SMALL)
    pairs = zip(resumed.pair.parameters(), whole.pair.parameters(), strict=True)
    assert all(torch.equal(one, other) for one, other in pairs)
    assert [record["epoch"] for record in resumed.metrics] == [1, 2, 3, 4]


def test_a_name_that_is_taken_gets_a_number(tmp_path: Path) -> None:
    (tmp_path / "run-rescued").write_text("precious")
    with pytest.raises(RunError, match="run-rescued-2"):
        fit(
            "vae-linear",
            training={"epochs": 2},
            out=tmp_path / "run",
            callbacks=[AfterEpoch(1, remove)],
            **SMALL,
        )
    assert (tmp_path / "run-rescued-2" / "weights.safetensors").is_file()


def test_the_code_of_a_resumed_run_is_saved_too(tmp_path: Path) -> None:
    write(tmp_path / "mine.py")
    fit(str(tmp_path / "mine.py"), "digits", training={"steps": 2}, out=tmp_path / "run")
    with pytest.raises(RunError, match="run-rescued"):
        resume(tmp_path / "run", epochs=2, callbacks=[AfterEpoch(1, remove)])
    assert resume(tmp_path / "run-rescued").info["status"] == "finished"


def test_where_nothing_can_be_saved_it_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def spoil(path: Path) -> None:
        shutil.rmtree(path.parent)
        path.parent.write_text("no folder any more")

    (tmp_path / "runs").mkdir()
    with pytest.raises(RunError, match="is gone, and nothing could be saved"):
        fit(
            "vae-linear",
            training={"epochs": 2},
            out=tmp_path / "runs" / "run",
            callbacks=[AfterEpoch(1, spoil)],
            **SMALL,
        )
