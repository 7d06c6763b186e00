"""Pairs that break one rule of capture each: they train as without the engine, and are told why.

Most would be refused before training, as their numbers are not their own; here the engine is asked.
Each file of ``pairs`` marks the line to blame with ``# breaks``.
"""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vaezoo import Callback, fit
from vaezoo.checks.conformance import Conformance
from vaezoo.data import from_arrays
from vaezoo.engine import tiers as engine
from vaezoo.runs import Run

NUM_STEPS = 30

# What cannot be captured, and the words that say so.
REFUSED = {
    "branch": "the value of a tensor is read",
    "buffer_rebound": "changes",
    "buffer_written": "changes",
    "changing_shape": "the value of a tensor is read",
    "counter": "'calls' changes with every call",
    "growing": "'seen' changes with every call",
    "item": "the value of a tensor is read",
    "list_of_values": "the value of a tensor is read",
    "numpy_noise": "numpy.random instead of torch",
    "numpy_view": "the value of a tensor is read",
    "python_noise": "drawn from random instead of torch",
    "reseeding": "seed",
    "unowned_update": "belongs to no module",
}
# The same, where a trial cannot be undone: the noise or the count goes on from it.
REFUSED_WITH_A_TRACE = {
    "clock": "changes from call to call",
    "global_counter": "changes from call to call",
    "numpy_generator": "changes from call to call",
    "own_generator": "enerator",
}
KEPT = ("batch_update", "buffer_update", "plain")
UNOWNED = ("unowned", "unowned_item")


@pytest.fixture(autouse=True)
def admits_all(monkeypatch: pytest.MonkeyPatch) -> None:
    report = Conformance((), (), ())
    monkeypatch.setattr(
        "vaezoo.checks.admission.conformance_of", lambda pair, args, fresh=None: report
    )


class Record(Callback):
    """Remembers losses and warnings, and may change the pair before a step."""

    def __init__(self, change: Callable[[int, Any], None] = lambda step, pair: None) -> None:
        self.losses: list[float] = []
        self.warnings: list[str] = []
        self.change = change

    def on_start(self, run: Run, num_steps: int, first_step: int) -> None:
        self.pair = run.pair
        self.change(0, self.pair)

    def on_step(self, step: int, loss: float) -> None:
        self.losses.append(loss)
        self.change(step, self.pair)

    def on_warning(self, message: str) -> None:
        self.warnings.append(message)


def train(path: Path, tier: str, record: Record) -> Run:
    """Train for 30 steps; Python's generators start from a seed, as torch's do."""
    import random

    np.random.seed(0)
    random.seed(0)
    rows = np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32)
    training = {"steps": NUM_STEPS, "batch_size": 12, "lr": 0.01, "engine": tier}
    return fit(str(path), from_arrays(rows), training=training, callbacks=[record])


@cache
def captured_run(path: Path) -> tuple[Run, Record]:
    """Train with the engine that captures; not to be changed."""
    record = Record()
    return train(path, "graph", record), record


def marked_line(path: Path) -> str:
    lines = path.read_text(encoding="utf-8").splitlines()
    return f"{path.name}:{next(i for i, line in enumerate(lines, 1) if '# breaks' in line)}"


def require_same(one: Run, other: Run, ours: Record, theirs: Record) -> None:
    assert ours.losses == theirs.losses
    assert len(ours.losses) == NUM_STEPS
    expected: dict[str, Tensor] = other.pair.state_dict()
    for name, value in one.pair.state_dict().items():
        assert torch.equal(value, expected[name]), name


def of_engine(record: Record) -> list[str]:
    return [line for line in record.warnings if "eagerly" in line or "belongs to no" in line]


def test_every_pair_is_expected(pairs: Path) -> None:
    names = {path.stem for path in pairs.glob("*.py")}
    assert names == {*REFUSED, *REFUSED_WITH_A_TRACE, *KEPT, *UNOWNED}


@pytest.mark.parametrize("name", [*REFUSED, *KEPT])
def test_trains_bit_by_bit_as_the_eager_engine(name: str, pairs: Path) -> None:
    captured, ours = captured_run(pairs / f"{name}.py")
    theirs = Record()
    eager = train(pairs / f"{name}.py", "eager", theirs)
    require_same(captured, eager, ours, theirs)


@pytest.mark.parametrize("name", [*REFUSED, *REFUSED_WITH_A_TRACE])
def test_falls_back_with_one_line_that_says_where(name: str, pairs: Path) -> None:
    path = pairs / f"{name}.py"
    _, record = captured_run(path)
    (notice,) = of_engine(record)
    words = {**REFUSED, **REFUSED_WITH_A_TRACE}[name]
    assert words in notice
    assert notice.endswith(marked_line(path))


@pytest.mark.parametrize("name", [*REFUSED_WITH_A_TRACE, "numpy_view", "list_of_values"])
def test_no_step_is_taken_on_a_graph_that_freezes_something(
    name: str, pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiers: list[dict[str, int]] = []
    finish = engine.Engine.__call__

    def watched(self: engine.Engine, *args: Any) -> Tensor:
        loss = finish(self, *args)
        tiers.append(self.calls_by_tier)
        return loss

    monkeypatch.setattr(engine.Engine, "__call__", watched)
    train(pairs / f"{name}.py", "graph", Record())
    assert all(set(counts) == {"eager"} for counts in tiers)


@pytest.mark.parametrize("name", KEPT)
def test_what_keeps_the_rules_is_not_warned_of(name: str, pairs: Path) -> None:
    _, record = captured_run(pairs / f"{name}.py")
    assert of_engine(record) == []


def test_a_tensor_of_no_module_is_named(pairs: Path) -> None:
    _, record = captured_run(pairs / "unowned.py")
    (notice,) = of_engine(record)
    assert "belongs to no module" in notice
    assert notice.endswith(marked_line(pairs / "unowned.py"))


def move_in_place(step: int, pair: nn.Module) -> None:
    torch.as_tensor(pair.offset).fill_(0.1 * step)


def move_to_a_new_tensor(step: int, pair: nn.Module) -> None:
    if step == 5:
        pair.offset = torch.full((2,), 3.0)


def test_a_tensor_of_no_module_that_is_changed_in_place_is_followed(pairs: Path) -> None:
    ours, theirs = Record(move_in_place), Record(move_in_place)
    captured = train(pairs / "unowned.py", "graph", ours)
    eager = train(pairs / "unowned.py", "eager", theirs)
    require_same(captured, eager, ours, theirs)


def test_a_tensor_of_no_module_whose_value_is_read_is_followed(pairs: Path) -> None:
    """Its value is Python's, so that it cannot be captured."""
    ours, theirs = Record(move_in_place), Record(move_in_place)
    captured = train(pairs / "unowned_item.py", "graph", ours)
    eager = train(pairs / "unowned_item.py", "eager", theirs)
    require_same(captured, eager, ours, theirs)
    assert of_engine(ours)[-1].endswith(marked_line(pairs / "unowned_item.py"))


def test_a_tensor_that_is_replaced_is_noticed_by_the_next_check(
    pairs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "CHECKED_EVERY", 5)
    ours, theirs = Record(move_to_a_new_tensor), Record(move_to_a_new_tensor)
    captured = train(pairs / "unowned.py", "graph", ours)
    eager = train(pairs / "unowned.py", "eager", theirs)
    require_same(captured, eager, ours, theirs)
    assert "the captured step differs from the eager one" in of_engine(ours)[-1]
