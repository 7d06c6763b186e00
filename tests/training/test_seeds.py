"""Many seeds at once: each run is the one that its seed makes alone."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from vaezoo import fit
from vaezoo.engine.capture import Captured
from vaezoo.engine.many import graphs
from vaezoo.engine.many.batched import Batched
from vaezoo.engine.many.joined import Joined
from vaezoo.errors import NonFiniteError, RequestError
from vaezoo.runs import Run, load_run
from vaezoo.training.callbacks import Callback, FinishedError, Interrupted
from vaezoo.training.fit import resume
from vaezoo.training.many import rounds
from vaezoo.training.many.resuming import resume_seeds

SMALL = {"hidden": [16], "z_dim": 3}


def require_same(one: Run, other: Run) -> None:
    ours, theirs = one.pair.state_dict(), other.pair.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert [_without_seconds(r) for r in one.metrics] == [
        _without_seconds(r) for r in other.metrics
    ]


def _without_seconds(record: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in record.items() if name != "seconds"}


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_each_run_is_the_one_of_its_seed_alone(engine: str) -> None:
    training = {"steps": 30, "engine": engine}
    runs = fit("vae-bernoulli", config=SMALL, training=training, seeds=[2, 0])
    for run, seed in zip(runs, (2, 0), strict=True):
        alone = fit("vae-bernoulli", config=SMALL, training={**training, "seed": seed})
        require_same(run, alone)


def test_seeds_stop_early_each_at_its_own_epoch() -> None:
    training = {"epochs": 40, "engine": "graph", "patience": 1, "plateau": 1, "lr": 0.03}
    runs = fit("vae-bernoulli", config=SMALL, training=training, seeds=range(3))
    assert len({run.info["steps"] for run in runs}) > 1
    for seed, run in enumerate(runs):
        require_same(run, fit("vae-bernoulli", config=SMALL, training={**training, "seed": seed}))


def test_each_has_a_folder_and_all_a_summary(tmp_path: Path) -> None:
    runs = fit("vae-linear", training={"steps": 3}, seeds=range(2), out=tmp_path / "out")
    assert [run.folder().name for run in runs] == ["seed-0", "seed-1"]
    summary = json.loads((tmp_path / "out/seeds.json").read_text())
    values = [load_run(run.folder()).metrics[-1]["validation"]["elbo"] for run in runs]
    assert summary["validation"]["elbo"]["values"] == values
    assert summary["validation"]["elbo"]["min"] == min(values)


class _Stopping(Callback):
    def on_step(self, step: int, loss: float) -> None:
        if step == 4:
            import signal

            signal.raise_signal(signal.SIGINT)


def test_a_stop_saves_all_and_each_goes_on(tmp_path: Path) -> None:
    training = {"steps": 8, "engine": "graph"}
    with pytest.raises(Interrupted):
        fit(
            "vae-linear",
            training=training,
            seeds=range(2),
            out=tmp_path,
            callbacks=[_Stopping()],
        )
    resumed = resume_seeds(tmp_path)
    for seed in range(2):
        require_same(resumed[seed], fit("vae-linear", training={**training, "seed": seed}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder of two seeds, of which the first has finished."""
    fit("vae-linear", training={"steps": 3}, seeds=range(2), out=tmp_path)
    resume(tmp_path / "seed-0", steps=5)
    return tmp_path


def test_those_that_have_finished_stay_as_they_are(folder: Path) -> None:
    runs = resume_seeds(folder, steps=5)
    assert [run.info["steps"] for run in runs] == [5, 5]
    require_same(runs[1], fit("vae-linear", training={"steps": 5, "seed": 1}))
    assert json.loads((folder / "seeds.json").read_text())["seeds"] == [0, 1]


def test_there_is_nothing_to_do_when_all_have_finished(folder: Path) -> None:
    with pytest.raises(FinishedError, match="all 2 seeds"):
        resume_seeds(folder)


def test_a_seed_that_is_missing_is_named(folder: Path) -> None:
    shutil.rmtree(folder / "seed-1")
    with pytest.raises(RequestError, match="lacks seed-1"):
        resume_seeds(folder, steps=5)


def test_a_seed_of_other_settings_is_named(folder: Path) -> None:
    config = folder / "seed-1/config.toml"
    config.write_text(config.read_text().replace("lr = 0.01", "lr = 0.02"))
    with pytest.raises(RequestError, match=r"seed-1 has another `lr` than .*seed-0"):
        resume_seeds(folder, steps=5)


def test_one_that_fails_leaves_the_others(tmp_path: Path) -> None:
    class Breaking(Callback):
        def on_start(self, run: Run, num_steps: int, first_step: int) -> None:
            with torch.no_grad():
                next(run.pair.parameters()).fill_(float("nan"))

    with pytest.raises(NonFiniteError):
        fit(
            "vae-linear",
            training={"steps": 3},
            seeds=range(2),
            out=tmp_path,
            callbacks=[Breaking()],
        )
    assert load_run(tmp_path / "seed-1").info["status"] == "finished"


@pytest.mark.parametrize(
    ("seeds", "training", "message"),
    [
        ([], {}, "names no seed"),
        ([1, 1], {}, "names 1 twice"),
        ([1, 2], {"seed": 3}, "not both"),
    ],
)
def test_what_makes_no_sense_is_refused(
    seeds: list[int], training: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        fit("vae-linear", training=training, seeds=seeds)


@pytest.mark.parametrize("model", ["vae-bernoulli", "vae-linear"])
def test_together_they_are_bit_by_bit_what_they_are_alone(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Batched] = []
    monkeypatch.setattr(rounds, "is_faster", lambda batched: made.append(batched) is None)
    monkeypatch.setattr(rounds, "FEWEST_ROUNDS", 5)
    training = {"steps": 40, "engine": "graph", "clip_norm": 10.0, "kl_warmup": 7}
    config = {"z_dim": 3}
    runs = fit(model, config=config, training=training, seeds=range(3))
    assert made
    for seed, run in enumerate(runs):
        require_same(run, fit(model, config=config, training={**training, "seed": seed}))


def tunes() -> list[np.ndarray[Any, np.dtype[np.float32]]]:
    """Return sequences of 5 or 11 frames, so that seeds meet batches of other lengths."""
    rng = np.random.default_rng(0)
    return [rng.random((n, 5)).round().astype(np.float32) for n in (5, 11) * 20]


@pytest.mark.parametrize("model", ["vrnn", pytest.param("srnn", marks=pytest.mark.slow)])
def test_sequences_of_any_length_are_trained_together(
    model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Joined] = []
    monkeypatch.setattr(rounds, "is_faster", lambda joined: made.append(joined) is None)
    monkeypatch.setattr(rounds, "FEWEST_ROUNDS", 4)
    training = {"epochs": 2, "batch_size": 8, "engine": "graph", "lr": 0.02}
    config = {"z_dim": 2, "hidden": 8}
    runs = fit(model, tunes(), config=config, training=training, seeds=range(3))
    assert [type(way) for way in made] == [Joined]
    require_same(runs[2], fit(model, tunes(), config=config, training={**training, "seed": 2}))


def test_what_is_captured_is_captured_once_for_all(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []

    def counted(name: str) -> Callable[..., Captured]:
        function = getattr(graphs, name)

        def run(*args: Any) -> Captured:
            calls.append(name)
            return function(*args)

        return run

    for name in ("capture", "recapture"):
        monkeypatch.setattr(graphs, name, counted(name))
    training = {"steps": 3, "engine": "graph"}
    fit("vae-bernoulli", config=SMALL, training=training, seeds=range(3))
    # A step, the validation rows, and as many training rows by what was found for these.
    assert calls == ["capture", "capture", "recapture"]
