"""Weights and states are those that were written, of this run, and finite; or refused in a line."""

import json
import math
import random
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from vaezoo import RequestError, fit, load_run, resume
from vaezoo.errors import NonFiniteError
from vaezoo.runs.info import read_info
from vaezoo.runs.weights import STATE, WEIGHTS
from vaezoo.runtime.tensors import load_tensors, save_tensors

TRAINING = {"epochs": 2, "batch_size": 600}
NUM_MUTATIONS = 100  # of each file


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("runs") / "run"
    fit("vae-linear", config={"z_dim": 2}, training=TRAINING, out=path)
    return path


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


def flip(content: bytes, rng: random.Random) -> bytes:
    where = rng.randrange(len(content))
    return content[:where] + bytes([content[where] ^ 1 << rng.randrange(8)]) + content[where + 1 :]


def flip_in_header(content: bytes, rng: random.Random) -> bytes:
    length = 8 + int.from_bytes(content[:8], "little")
    return flip(content[:length], rng) + content[length:]


def cut(content: bytes, rng: random.Random) -> bytes:
    return content[: rng.randrange(len(content))]


def duplicate(content: bytes, rng: random.Random) -> bytes:
    start, stop = sorted(rng.randrange(len(content)) for _ in range(2))
    return content[:stop] + content[start:stop] + content[stop:]


def swap(content: bytes, rng: random.Random) -> bytes:
    one, two = (rng.randrange(len(content) - 8) for _ in range(2))
    changed = bytearray(content)
    changed[one : one + 8], changed[two : two + 8] = content[two : two + 8], content[one : one + 8]
    return bytes(changed)


MUTATIONS = [flip, flip_in_header, cut, duplicate, swap]


def same(one: tuple[dict[str, Tensor], object], two: tuple[dict[str, Tensor], object]) -> bool:
    alike = one[0].keys() == two[0].keys() and one[1] == two[1]
    return alike and all(torch.equal(value, two[0][name]) for name, value in one[0].items())


def refusal_of(path: Path) -> tuple[str, tuple[dict[str, Tensor], object] | None]:
    try:
        return "", load_tensors(path)
    except RequestError as error:
        return str(error), None


@pytest.mark.parametrize("file", [WEIGHTS, STATE])
def test_mutated_files_are_refused_or_hold_the_same(
    file: str, trained: Path, tmp_path: Path
) -> None:
    content, whole = (trained / file).read_bytes(), load_tensors(trained / file)
    path, num_refused = tmp_path / "mutated.safetensors", 0
    for number in range(NUM_MUTATIONS):
        rng = random.Random(number)
        path.write_bytes(MUTATIONS[number % len(MUTATIONS)](content, rng))
        refusal, loaded = refusal_of(path)
        assert same(loaded, whole) if loaded else refusal.startswith(f"{path} is damaged"), number
        assert len(refusal.splitlines()) <= 1
        num_refused += bool(refusal)
    assert num_refused > NUM_MUTATIONS / 2


def test_weights_of_another_run_are_refused(run: Path, tmp_path: Path) -> None:
    fit("vae-linear", config={"z_dim": 2}, training=TRAINING, out=tmp_path / "other")
    shutil.copy(tmp_path / "other" / WEIGHTS, run / WEIGHTS)
    with pytest.raises(RequestError, match=r"another run; `vaezoo\.resume\("):
        load_run(run)


def test_a_state_of_another_run_is_refused(run: Path, tmp_path: Path) -> None:
    fit("vae-linear", config={"z_dim": 2}, training=TRAINING, out=tmp_path / "other")
    shutil.copy(tmp_path / "other" / STATE, run / STATE)
    with pytest.raises(RequestError, match=r"another run; the best weights.*can be used"):
        resume(run, epochs=3)


def empty(path: Path) -> None:
    path.write_bytes(b"")


@pytest.mark.parametrize("damage", [Path.unlink, empty])
def test_weights_that_cannot_be_used_are_taken_from_the_last_state(
    damage: Callable[[Path], object], run: Path
) -> None:
    before = load_tensors(run / WEIGHTS)
    damage(run / WEIGHTS)
    with pytest.raises(RequestError):
        load_run(run)
    with pytest.raises(RequestError, match="has finished"):
        resume(run)
    assert same(load_tensors(run / WEIGHTS), before)


def change_weights(run: Path, value: float) -> None:
    tensors, values = load_tensors(run / WEIGHTS)
    next(tensor for tensor in tensors.values() if tensor.dim()).view(-1)[0] = value
    save_tensors(run / WEIGHTS, tensors, values, run=id_of(run))


def id_of(run: Path) -> str:
    return str(json.loads((run / "run.json").read_text())["id"])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_weights_that_are_not_finite_are_refused(value: float, run: Path) -> None:
    change_weights(run, value)
    with pytest.raises(RequestError, match=r"not finite, in '.*'; `vaezoo\.resume\("):
        load_run(run)


def test_runs_differ_in_their_ids(run: Path, tmp_path: Path) -> None:
    fit("vae-linear", config={"z_dim": 2}, training={"steps": 1}, out=tmp_path / "other")
    assert id_of(run) != id_of(tmp_path / "other")


def test_a_resumed_run_has_its_id(run: Path) -> None:
    before = id_of(run)
    resume(run, epochs=3)
    assert id_of(run) == before
    assert load_tensors(run / STATE, run=before)


# What is not finite is never good


@pytest.mark.parametrize("lr", [1e38, 1e20])
@pytest.mark.parametrize("length", [{"steps": 1}, {"epochs": 1}])
def test_weights_without_a_finite_score_are_not_good(
    lr: float, length: dict[str, int], tmp_path: Path
) -> None:
    with pytest.raises(NonFiniteError, match="last good weights, of step 0"):
        fit("vae-gaussian", training={**length, "lr": lr}, out=tmp_path / "run")
    tensors = load_run(tmp_path / "run").pair.state_dict()
    assert all(float(tensor.abs().max()) < 100 for tensor in tensors.values())


def test_weights_before_the_failure_are_kept(run: Path) -> None:
    before = load_tensors(run / WEIGHTS)
    state, values = load_tensors(run / STATE)
    state["optimizer/lr"].fill_(1e38)
    save_tensors(run / STATE, state, values, run=id_of(run))
    with pytest.raises(NonFiniteError, match=r"last good weights, of step \d+, are in"):
        resume(run, epochs=5)
    assert same(load_tensors(run / WEIGHTS), before)
    assert all(tensor.isfinite().all() for tensor in load_tensors(run / STATE)[0].values())


# run.json, on which the numbers depend as well


def test_mutated_descriptions_of_a_run_are_refused_or_say_the_same(run: Path) -> None:
    path, whole = run / "run.json", read_info(run)
    content = path.read_bytes()
    for number in range(NUM_MUTATIONS):
        path.write_bytes(MUTATIONS[number % len(MUTATIONS)](content, random.Random(number)))
        try:
            assert read_info(run) == whole, number
        except RequestError as error:
            assert "run.json" in str(error)  # noqa: PT017
            assert len(str(error).splitlines()) == 1  # noqa: PT017


def test_a_number_that_was_changed_by_hand_is_noticed(run: Path) -> None:
    path = run / "run.json"
    path.write_text(path.read_text().replace('"scale": 16.0', '"scale": 15.0'))
    with pytest.raises(RequestError, match=r"checksum does not match; .*config\.toml"):
        load_run(run)


def test_other_settings_of_the_model_are_noticed_where_weights_fit(tmp_path: Path) -> None:
    fit("vae-gaussian", config={"z_dim": 2}, training={"steps": 1}, out=tmp_path / "run")
    path = tmp_path / "run" / "config.toml"
    path.write_text(path.read_text().replace("floor = 0.01", "floor = 0.91"))
    with pytest.raises(RequestError, match=r"config\.toml has .* other settings"):
        load_run(tmp_path / "run")


class Masked(nn.Module):
    """Has a mask of -inf among its buffers, as an attention has."""

    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.loc = nn.Linear(x_shape[0], x_shape[0])
        self.register_buffer("mask", torch.tensor([0.0, -math.inf]))

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(x.shape[1]), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z * self.mask.softmax(0)[0], 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.loc(x), 1.0).to_event(1))


def test_what_was_not_finite_at_the_start_may_stay_so(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32)
    run = fit(Masked, rows, training={"steps": 3}, out=tmp_path / "run")
    assert run.info["status"] == "finished"
    before = load_tensors(tmp_path / "run" / WEIGHTS)
    resume(tmp_path / "run", data=rows, steps=6)
    assert torch.equal(load_tensors(tmp_path / "run" / WEIGHTS)[0]["mask"], before[0]["mask"])
