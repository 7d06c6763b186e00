"""Modules in all their variety: each trains, is saved, is loaded, and goes on bit by bit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import vaezoo
from vaezoo import Callback, RequestError, get_model
from vaezoo.registry.files import load_python
from vaezoo.testing import check_class

FILE = Path(__file__).with_name("gallery.py")
NUM_ROWS = 62  # of which 50 are for training: the last batch is of 2 rows
TRAINING: dict[str, Any] = {"batch_size": 8, "device": "cpu", "seed": 1}


def names() -> list[str]:
    classes = vars(load_python(FILE))
    return [n for n, cls in classes.items() if isinstance(cls, type) and hasattr(cls, "guide")]


def data(num_rows: int = NUM_ROWS) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(num_rows, 6)).astype("f4")


def states_differ(one: torch.nn.Module, two: torch.nn.Module) -> list[str]:
    other = two.state_dict()
    return [n for n, value in one.state_dict().items() if not torch.equal(value, other[n])]


@pytest.mark.filterwarnings("ignore")  # of torch itself, about what is old or slow
@pytest.mark.parametrize("name", names())
def test_a_pair_trains_is_saved_and_goes_on(tmp_path: Path, name: str) -> None:
    spec = f"{FILE}:{name}"
    whole = vaezoo.fit(spec, data(), training={**TRAINING, "epochs": 2}, out=tmp_path / "whole")
    vaezoo.fit(spec, data(), training={**TRAINING, "epochs": 1}, out=tmp_path / "parts")
    resumed = vaezoo.resume(tmp_path / "parts", epochs=2, data=data())
    assert states_differ(whole.pair, resumed.pair) == []
    loaded = vaezoo.load_run(tmp_path / "whole")
    assert states_differ(whole.pair, loaded.pair) == []
    assert np.isfinite(vaezoo.evaluate(loaded, data(1)).metrics.elbo)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", names())
def test_a_pair_is_captured_or_trained_eagerly(name: str) -> None:
    training = {**TRAINING, "epochs": 1, "engine": "graph"}
    run = vaezoo.fit(f"{FILE}:{name}", data(), training=training)
    assert sum(run.info["steps_by_engine"].values()) == 7


class Lines(Callback):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def on_warning(self, message: str) -> None:
        self.lines.append(message)


@pytest.mark.parametrize("engine", ["eager", "graph"])
def test_a_last_batch_of_one_row_is_left_out(tmp_path: Path, engine: str) -> None:
    told, spec = Lines(), f"{FILE}:BatchNorm1d"
    training = {**TRAINING, "batch_size": 7, "engine": engine}
    whole = vaezoo.fit(spec, data(), training={**training, "epochs": 2}, callbacks=[told])
    assert [line for line in told.lines if "one row is left out" in line]
    assert whole.info["steps"] == 14
    vaezoo.fit(spec, data(), training={**training, "epochs": 1}, out=tmp_path / "parts")
    resumed = vaezoo.resume(tmp_path / "parts", epochs=2, data=data())
    assert states_differ(whole.pair, resumed.pair) == []


def test_others_see_every_row() -> None:
    run = vaezoo.fit(f"{FILE}:Pair", data(), training={**TRAINING, "batch_size": 7, "epochs": 1})
    assert run.info["steps"] == 8


def test_batches_of_one_row_are_refused_where_no_pair_can_take_them() -> None:
    training = {**TRAINING, "batch_size": 1, "epochs": 1}
    with pytest.raises(RequestError, match="BatchNorm1d cannot be trained on batches of one row"):
        vaezoo.fit(f"{FILE}:BatchNorm1d", data(), training=training)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", names())
def test_a_pair_keeps_the_contract(name: str) -> None:
    assert check_class(get_model(f"{FILE}:{name}"), x_shape=(6,)).failures == ()


TORCH = """
import pyro, torch
from torch import distributions as dist, nn

class P(nn.Module):
    def __init__(self, *, x_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.enc = nn.Linear(x_shape[0], 2)

    def model(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(x.new_zeros(len(x)), 1.0))

    def guide(self, x):
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.enc(x)[:, 0], 1.0))
"""


def test_distributions_of_torch_are_named_with_their_cure(tmp_path: Path) -> None:
    path = tmp_path / "pair.py"
    path.write_text(TORCH)
    words = "TypeError: site 'z': Normal is of torch.distributions; take it from pyro.distributions"
    (failure,) = check_class(get_model(str(path)), x_shape=(6,)).failures
    assert f"{failure.where}: {failure.what}" == f"{path}:16: {words}"
    with pytest.raises(RequestError, match=f"pair.py:16: {words}"):
        vaezoo.fit(str(path), data(), training=TRAINING)
