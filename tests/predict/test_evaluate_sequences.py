"""``vaezoo evaluate`` of sequences: bounds per frame and per sequence, named apart."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from torch import Tensor

from vaezoo import evaluate, fit, load_run
from vaezoo.data import Data, from_sequences
from vaezoo.data.batches import Batches
from vaezoo.data.transform import Transform
from vaezoo.exact.kalman import KalmanModel
from vaezoo.models.lgssm import LGSSM
from vaezoo.predict.bounds import filter_bounds, iwae_bounds
from vaezoo.predict.evaluation import Evaluation, evaluate_on
from vaezoo.sequences.paths import training_form

Vaezoo = Callable[..., Result]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of ``vrnn`` on the rows of digits, one epoch; not to be changed."""
    path = tmp_path_factory.mktemp("sequences") / "run"
    fit("vrnn", config={"z_dim": 2, "hidden": 8}, training={"epochs": 1}, out=path)
    return path


@pytest.fixture(scope="module")
def result(folder: Path) -> Evaluation:
    return evaluate(load_run(folder), iwae=(1, 5), fivo=(5, 20), free_running=3, limit=40)


def lgssm() -> tuple[LGSSM, Data]:
    """A pair as it is before training, and sequences of many lengths."""
    random = np.random.default_rng(0)
    sequences = [random.normal(size=(n, 3)) for n in random.integers(1, 12, 200)]
    torch.manual_seed(0)
    return LGSSM(x_shape=(3,), z_dim=2).eval(), from_sequences(sequences)


def batches_of(data: Data) -> Batches:
    return Batches(data, Transform(), ("x", "length"), torch.device("cpu"))


def exact(model: KalmanModel, data: Data, split: str) -> tuple[Tensor, Tensor]:
    """log p(x) and length of the sequences of a split."""
    rows = data.rows(split)
    length = torch.from_numpy(data.arrays["length"][rows])
    return model.log_evidence(torch.from_numpy(data.x[rows]), length), length


def test_per_frame_is_the_sum_over_the_frames(result: Evaluation) -> None:
    assert result.num_frames == 40 * 8
    for bound in (*result.iwae, *result.fivo, *result.predictive):
        assert bound.per_sequence == pytest.approx(8 * bound.value)
    assert result.elbo_per_sequence == pytest.approx(8 * result.metrics.elbo)


def without_emission() -> tuple[LGSSM, Data]:
    """A pair whose latents say nothing about x, its guide the prior: every bound is exact."""
    pair, data = lgssm()
    with torch.no_grad():
        for parameter in (pair.emission.weight, pair.reader.weight, pair.reader.bias):
            parameter.zero_()
        pair.M[1] = pair.A
    return pair, data


@pytest.mark.parametrize("what", ["iwae", "filter"])
def test_averages_over_sequences_of_many_lengths(what: str) -> None:
    """Bounds without a gap, against sums and means of the Kalman filter's log p(x)."""
    pair, data = without_emission()
    if what == "iwae":
        (bound,) = iwae_bounds(training_form(pair), batches_of(data), "test", [3])
    else:
        (bound,) = filter_bounds(pair, batches_of(data), "test", [3])
    values, length = exact(pair.exact(), data, "test")
    assert bound.value == pytest.approx(float(values.sum() / length.sum()), abs=1e-4)
    assert bound.per_sequence == pytest.approx(float(values.mean()), abs=1e-4)
    error = float(values.std()) / len(values) ** 0.5
    assert bound.per_sequence_error == pytest.approx(error, rel=1e-4)


def test_bounds_are_in_order_and_below_the_evidence() -> None:
    """ELBO, IWAE and FIVO of a guide that is far off, on 160 sequences.

    From one to the next is 0.1 nats per frame or more, and so is FIVO below log p(x).
    """
    pair, data = lgssm()
    result = evaluate_on(pair, batches_of(data), split="train", iwae=(1, 20), fivo=(20,))
    values, length = exact(pair.exact(), data, "train")
    truth = float(values.sum() / length.sum())
    assert result.metrics.elbo < result.iwae[1].value < result.fivo[0].value < truth
    assert result.predictive[0].value < truth


def test_evaluation_is_the_same_with_the_same_seed(folder: Path, result: Evaluation) -> None:
    again = evaluate(load_run(folder), iwae=(1, 5), fivo=(5, 20), free_running=3, limit=40)
    assert again == result


def test_free_running_predicts_the_frames_after_the_prefix(result: Evaluation) -> None:
    assert result.free_running is not None
    assert result.free_running.num_frames == 40 * 5
    assert result.free_running.num_samples == 20


def test_free_running_from_nothing_needs_no_filter(folder: Path) -> None:
    prediction = evaluate(load_run(folder), iwae=(1,), free_running=0, limit=10).free_running
    assert prediction is not None
    assert (prediction.num_frames, prediction.num_samples) == (80, 100)


def test_prefix_of_all_but_one_frame_is_filtering(folder: Path) -> None:
    """The frame after all others but one: both predict it from what came before.

    Means over 180 sequences with 100 particles; they differ by Monte Carlo error only.
    """
    prediction = evaluate(load_run(folder), iwae=(1,), free_running=7).free_running
    assert prediction is not None
    assert prediction.value == pytest.approx(prediction.filtering, abs=0.02)


def test_command_names_both_units(vaezoo: Vaezoo, folder: Path) -> None:
    words = ["--fivo", "5,20", "--iwae", "1,5", "--free-running", "3", "-n", "40"]
    result = vaezoo("evaluate", folder, *words)
    assert result.exit_code == 0, result.stderr
    lines = result.stdout.splitlines()
    assert "40 test sequences, 320 frames" in lines[0]
    assert re.search("nats per frame +nats per sequence$", lines[1])
    assert max(map(len, lines)) <= 80
    (row,) = [line for line in lines if line.startswith("  FIVO 20 ")]
    per_frame, _, per_sequence, _ = [float(word) for word in re.findall(r"-?\d+\.\d+", row)]
    assert per_sequence == pytest.approx(8 * per_frame, abs=0.01)
    for label in ("ELBO", "IWAE 5", "predictive 5", "free-running", "filtering"):
        assert any(line.startswith(f"  {label} ") for line in lines), label


def test_json_has_everything(vaezoo: Vaezoo, folder: Path, result: Evaluation) -> None:
    words = ["--fivo", "5,20", "--iwae", "1,5", "--free-running", "3", "-n", "40", "--json"]
    found = json.loads(vaezoo("evaluate", folder, *words).stdout)
    assert found == json.loads(json.dumps(result.to_dict()))
    assert {"value", "per_sequence", "num_samples"} <= set(found["fivo"][0])
    assert found["free_running"]["prefix"] == 3


def test_without_the_option_no_filter_runs(vaezoo: Vaezoo, folder: Path) -> None:
    result = vaezoo("evaluate", folder, "-n", "10")
    assert "FIVO" not in result.stdout
    assert "free-running" not in result.stdout


BAD = {
    "--fivo 0": "give positive numbers of particles, as --fivo 5,100",
    "--fivo x": "'x' is no list of numbers of particles, as 5,100",
    "--free-running -1": "--free-running takes the number of frames",
    "--free-running 8": "--free-running 8 leaves no frame",
}


@pytest.mark.parametrize(("words", "message"), BAD.items(), ids=BAD)
def test_bad_numbers(vaezoo: Vaezoo, folder: Path, words: str, message: str) -> None:
    result = vaezoo("evaluate", folder, *words.split())
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert message in line


@pytest.mark.parametrize("words", ["--fivo 5", "--free-running 2"])
def test_other_pairs_are_refused(vaezoo: Vaezoo, run_folder: Path, words: str) -> None:
    result = vaezoo("evaluate", run_folder, *words.split())
    assert result.exit_code == 2
    (line,) = result.stderr.splitlines()
    assert f"{words.split()[0]} needs sequences" in line
