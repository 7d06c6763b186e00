"""An evaluation stays with its run, and says its numbers in the units of the data."""

import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

import vaezoo
from vaezoo.data import from_arrays

TRAINING = {"steps": 3, "engine": "eager"}


@pytest.fixture
def run(tmp_path: Path) -> vaezoo.Run:
    return vaezoo.fit("vae-linear", training=TRAINING, out=tmp_path / "run")


def test_evaluations_stand_beside_each_other_in_the_folder(run: vaezoo.Run) -> None:
    first = vaezoo.evaluate(run, iwae=(1,))
    vaezoo.evaluate(run, iwae=(1,), split="validation")
    records = vaezoo.load_run(run.folder()).evaluations
    assert [record["asked"]["split"] for record in records] == ["test", "validation"]
    assert records[0]["result"]["metrics"]["elbo"] == first.metrics.elbo
    assert records[0]["asked"]["step"] == run.info["best_step"]


def test_one_that_was_asked_alike_is_replaced(run: vaezoo.Run) -> None:
    for seed in (0, 1, 0):
        vaezoo.evaluate(run, iwae=(1,), seed=seed)
    assert [record["asked"]["seed"] for record in run.evaluations] == [1, 0]


def test_a_run_in_memory_keeps_them_too() -> None:
    run = vaezoo.fit("vae-linear", training=TRAINING)
    vaezoo.evaluate(run, iwae=(2,))
    assert run.evaluations[0]["asked"]["iwae"] == [2]


@pytest.mark.parametrize("content", [b"{", b"[7]", b'[{"asked": 1, "result": {}}]', b"\xff"])
def test_a_damaged_file_is_one_line_and_stays(run: vaezoo.Run, content: bytes) -> None:
    path, lines = run.folder() / "evaluation.json", list[str]()
    path.write_bytes(content)
    result = vaezoo.evaluate(run, iwae=(1,), notify=lines.append)
    assert math.isfinite(result.metrics.elbo)
    assert path.read_bytes() == content
    assert len(lines) == 1
    assert "evaluation.json is damaged; mend or delete it" in lines[0]
    assert "evaluation.json is damaged" in repr(run)


def test_the_summary_of_a_run_says_the_latest_of_its_weights(run: vaezoo.Run) -> None:
    vaezoo.evaluate(run, iwae=(4,))
    assert "evaluated  digits, test: ELBO" in repr(run)
    assert "IWAE 4" in repr(run)


def test_the_summary_prints_whatever_the_file_holds(run: vaezoo.Run) -> None:
    asked = {"step": run.info["best_step"]}
    record = {"asked": asked, "result": {"metrics": {}}}
    (run.folder() / "evaluation.json").write_text(json.dumps([record]))
    assert "evaluation.json is damaged" in repr(run)


def in_units(x: np.ndarray) -> tuple[float, float]:
    run = vaezoo.fit("vae-gaussian", from_arrays(x), training=TRAINING)
    result = vaezoo.evaluate(run, iwae=(3,))
    return result.in_units["ELBO"], result.in_units["IWAE 3"]


def test_data_times_four_have_a_log_density_less_by_d_log_four() -> None:
    x = np.random.default_rng(0).normal(3.0, 5.0, size=(100, 7)).astype(np.float32)
    once, fourfold = in_units(x), in_units(4 * x)
    expected = 7 * math.log(4.0)
    assert [a - b for a, b in zip(once, fourfold, strict=True)] == pytest.approx([expected] * 2)


def test_the_command_line_prints_both(vaezoo: Callable[..., Result], tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(3.0, 50.0, size=(100, 2))
    np.save(tmp_path / "x.npy", x)
    out = ["--out", tmp_path / "run"]
    trained = vaezoo("train", "vae-gaussian", "--data", tmp_path / "x.npy", "--steps", "3", *out)
    assert "(of standardised values; -" in trained.stdout
    assert "in the units of the data: ELBO -" in vaezoo("evaluate", tmp_path / "run").stdout


def test_data_as_they_are_have_one_number() -> None:
    run = vaezoo.fit("vae-bernoulli", training=TRAINING)
    assert vaezoo.evaluate(run, iwae=(1,)).in_units == {}
