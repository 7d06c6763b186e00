"""Two processes that train one run together do what one does, and end together."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.multiprocessing
from torch import Tensor, nn

import vaezoo
from vaezoo.distributed.processes import ALONE
from vaezoo.distributed.shared_step import rows_depend
from vaezoo.objectives import ELBO
from vaezoo.objectives.base import make_objective
from vaezoo.testing.pairs import LinearPair

HERE = Path(__file__).parent
pytestmark = pytest.mark.skipif(
    not torch.distributed.is_available(), reason="torch without torch.distributed"
)


@pytest.fixture(scope="module")
def programs() -> Any:
    sys.path.insert(0, str(HERE))
    try:
        import programs

        yield programs
    finally:
        sys.path.remove(str(HERE))


@pytest.fixture(scope="module")
def both(programs: Any, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    folder = tmp_path_factory.mktemp("both")
    run = programs.in_two_processes
    torch.multiprocessing.start_processes(run, (str(folder),), nprocs=2, start_method="spawn")
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("num_rows", [8, 7, 3, 1])
def test_gradients_of_parts_are_those_of_the_whole_batch(
    both: list[dict[str, Any]], programs: Any, num_rows: int
) -> None:
    """Of sequences of unlike lengths, so that rows do not weigh alike; of one row, too."""
    one = programs.gradients(ALONE, programs.sequences(), programs.Still(), num_rows)
    for outcome in both:
        for of_two, of_one in zip(outcome[f"gradients of {num_rows}"], one, strict=True):
            torch.testing.assert_close(of_two, of_one, rtol=1e-6, atol=1e-6)


def test_gradients_are_clipped_after_they_are_averaged(both: list[dict[str, Any]]) -> None:
    _, divisor, _, *gradients = both[0]["gradients of 8"]
    norm = torch.stack([g.norm() for g in gradients]).norm()
    assert norm > 0.5
    torch.testing.assert_close(divisor, norm / 0.5)


@pytest.mark.parametrize("case", ["plain", "captured", "norms"])
def test_processes_have_the_same_weights_and_buffers_bit_by_bit(
    both: list[dict[str, Any]], case: str
) -> None:
    first, second = (outcome[case] for outcome in both)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_two_processes_learn_what_one_learns(both: list[dict[str, Any]], programs: Any) -> None:
    """Other noise, the same batches: 50 steps of Adam at 0.001 go less than 0.05 apart."""
    one = programs.fitted(programs.Plain, engine="eager")
    for name, value in both[0]["plain"].items():
        torch.testing.assert_close(value, one[name], rtol=0.0, atol=0.05)


def test_running_means_are_averages_of_both_parts(
    both: list[dict[str, Any]], programs: Any
) -> None:
    one = programs.fitted(programs.Norms)
    count, mean = "encoder.1.num_batches_tracked", both[0]["norms"]["encoder.1.running_mean"]
    of_one = one["encoder.1.running_mean"]
    assert torch.equal(both[0]["norms"][count], one[count])
    torch.testing.assert_close(mean, of_one, rtol=0.0, atol=0.05)


def test_what_is_not_finite_in_one_process_is_told_by_all(both: list[dict[str, Any]]) -> None:
    first, second = (outcome["not finite"] for outcome in both)
    assert "parameter 'encoder.0.weight' is not finite" in first
    assert first == second


@pytest.mark.parametrize(
    ("objective", "depend"),
    [("elbo", False), ("iwae", False), ("dreg", False), ("beta-tc", True), ("dip", True)],
)
def test_objectives_over_the_rows_of_a_batch_are_told_apart(objective: str, depend: bool) -> None:
    pair, args = LinearPair(), (torch.randn(6, 4),)
    judged = make_objective(objective)
    judged.prepare(pair, args)
    assert rows_depend(judged, pair, args) == depend


def test_pairs_with_batch_normalisation_are_told_apart(programs: Any) -> None:
    args = (torch.randn(6, 4),)
    for pair, depend in ((programs.Plain, False), (programs.Norms, True)):
        assert rows_depend(ELBO(), pair(x_shape=(4,)), args) == depend


def launched(*words: str) -> "subprocess.CompletedProcess[str]":
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    program = [str(HERE / "programs.py"), *words]
    return subprocess.run([*launcher, *program], capture_output=True, text=True)


def weights_of(folder: Path) -> dict[str, Tensor]:
    pair: nn.Module = vaezoo.load_run(folder).pair
    return pair.state_dict()


@pytest.mark.slow
def test_a_run_whose_process_was_killed_goes_on_bit_by_bit(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert launched("train", str(whole)).returncode == 0
    died = launched("die", str(killed))
    assert died.returncode != 0
    assert "another of the 2 processes has ended" in died.stderr
    assert vaezoo.load_run(killed).info["status"] == "interrupted"
    resumed = launched("resume", str(killed))
    assert resumed.returncode == 0, resumed.stderr
    expected, values = weights_of(whole), weights_of(killed)
    assert all(torch.equal(values[name], expected[name]) for name in expected)
    scores = [[r["validation"] for r in vaezoo.load_run(path).metrics] for path in (whole, killed)]
    assert scores[0] == scores[1]


@pytest.mark.slow
def test_command_trains_in_two_processes_and_one_speaks(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    words = ["train", "vae-bernoulli", "--steps", "24", "--device", "cpu", "--out", str(folder)]
    vaezoo_ = [sys.executable, "-m", "vaezoo"]
    done = subprocess.run([*vaezoo_, *words, "--devices", "2"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wrote") == 1
    assert "Traceback" not in done.stderr
    assert vaezoo.load_run(folder).info["processes"] == 2
    again = [*vaezoo_, "train", "--resume", str(folder), "--steps", "30"]
    resumed = subprocess.run(again, capture_output=True, text=True)
    assert resumed.returncode == 0
    assert "by 2, now by 1 processes" in resumed.stderr


@pytest.mark.slow
def test_command_refuses_once(tmp_path: Path) -> None:
    words = ["train", "vae-bernouli", "--devices", "2", "--out", str(tmp_path / "run")]
    done = subprocess.run([sys.executable, "-m", "vaezoo", *words], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.count("no model 'vae-bernouli'") == 1
    assert len(done.stderr.splitlines()) == 1
