"""Backpropagation through time by a plan equals autograd, step by step and compiled."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from pyro.distributions import MultivariateNormal, Normal, TorchDistribution
from torch import Tensor, nn

from vaezoo import get_model, list_models
from vaezoo.config import build_model
from vaezoo.engine import tiers
from vaezoo.engine.many import graphs
from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.recurrence import step_plan
from vaezoo.engine.recurrence.loops import is_loop, is_loop_backward
from vaezoo.engine.recurrence.planned import Planned
from vaezoo.engine.recurrence.sweep import BLOCK
from vaezoo.engine.tiers import Engine
from vaezoo.objectives import ELBO
from vaezoo.pairs.lengths import first_frames
from vaezoo.sequences.paths import PathPair
from vaezoo.sequences.sequence_pair import SequencePair
from vaezoo.sequences.unrolled import Recurrence, loop

SEQUENCE_MODELS = [name for name in list_models() if issubclass(get_model(name), SequencePair)]

Args = tuple[Tensor, Tensor]


class Plain(SequencePair):
    """Gates with a parameter of their own, and a weight that is used twice."""

    hidden = 6

    def __init__(self) -> None:
        super().__init__()
        self.shared = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.full((4,), 0.3))
        self.out = nn.Linear(6, 4)
        self.read = nn.Linear(5 + 6, 4)
        self.x_out = nn.Linear(4 + 6, 5)

    def prior(self, h: Tensor) -> TorchDistribution:
        return Normal(self.out(h), self.scale.exp()).to_event(1)

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        return Normal(self.read(torch.cat([h, e], -1)), self.scale.exp()).to_event(1)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        return Normal(self.x_out(torch.cat([z, h], -1)), 1.0).to_event(1)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        gate = torch.sigmoid(self.shared(h))
        new = torch.tanh(self.shared(h * self.scale.sum()) + torch.cat([z, f[:, :2]], -1))
        return gate * h + (1 - gate) * new


class FullCovariance(Plain):
    """A posterior whose parameter is a matrix."""

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        scale = torch.eye(4, dtype=h.dtype) + 0.1 * self.out.weight[:, :4].tril()
        return MultivariateNormal(self.read(torch.cat([h, e], -1)), scale_tril=scale)


class Dropping(Plain):
    """Draws that are not normal: no plan."""

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        return torch.dropout(super().transition(f, z, h), 0.5, train=True)


class Counting(Plain):
    """A step that depends on how often it was called: no plan."""

    calls = 0.0

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        self.calls += 1.0
        return super().transition(f, z, h) * self.calls


def data(num_frames: int = 11, *, dtype: torch.dtype = torch.float32) -> Args:
    """Four sequences. With four latents a step draws 16 numbers, the unit of torch's generator.

    So noise that is drawn for all steps at once is the noise that is drawn step by step.
    """
    x = torch.bernoulli(torch.full((4, num_frames, 5), 0.4, dtype=dtype))
    return x, torch.tensor([num_frames, 1, 3, 7]).clamp(max=num_frames)


def gradients(pair: SequencePair, recurrence: Recurrence, args: Args) -> list[Tensor]:
    """Return the loss and its gradients."""
    torch.manual_seed(1)
    loss = ELBO().loss(PathPair(pair, recurrence), args)
    parameters = list(pair.parameters())
    gradients = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
    return [loss.detach(), *gradients]


def same(ours: list[Tensor], theirs: list[Tensor], tolerance: float) -> None:
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("num_frames", [1, 2, 11])
@pytest.mark.parametrize("cls", [Plain, FullCovariance])
def test_a_plan_equals_autograd(cls: type[SequencePair], num_frames: int) -> None:
    pair, args = cls().double(), data(num_frames, dtype=torch.float64)
    planned = Planned()
    same(gradients(pair, planned, args), gradients(pair, loop, args), 1e-10)
    assert not planned.failed


@pytest.mark.parametrize("name", SEQUENCE_MODELS)
def test_every_model_of_the_zoo_has_a_plan(name: str) -> None:
    settings = {"z_dim": 4} if getattr(get_model(name), "has_latents", True) else {}
    pair, args = build_model(get_model(name), settings, (5,)), data()
    planned = Planned()
    same(gradients(pair, planned, args), gradients(pair, loop, args), 1e-5)
    assert not planned.failed


@pytest.mark.parametrize("cls", [Dropping, Counting])
def test_a_step_without_a_plan_runs_as_a_loop(cls: type[SequencePair]) -> None:
    said: list[str] = []
    planned = Planned(lambda kind, line: said.append(line))
    pair = cls()
    gradients(pair, planned, data())
    assert planned.failed
    assert len(said) == 1
    assert said[0].startswith("the recurrence runs as a plain loop, because of its step: it ")
    assert "test_recurrence.py:" in said[0]


def test_a_plan_is_made_once_for_sequences_of_all_lengths() -> None:
    pair, planned = Plain(), Planned()
    for num_frames in (3, 9, 30):
        gradients(pair, planned, data(num_frames))
    assert len(planned._plans) == 1


def test_making_a_plan_leaves_the_generators_alone() -> None:
    pair, planned, args = Plain(), Planned(), data()
    first, second = gradients(pair, planned, args), gradients(pair, planned, args)
    same(first, second, 0.0)


def test_a_captured_step_has_one_operation_for_the_loop() -> None:
    """So that the graph does not grow with the length of a sequence."""
    pair = Plain()
    optimizer = Optimizer("adam", list(pair.parameters()), lr=1e-3)
    engine = Engine(PathPair(pair, Planned()), ELBO(), optimizer, engine="graph")
    sizes = []
    for num_frames in (8, 40):
        engine(data(num_frames))
        (kind,) = list(engine._kinds.values())[-1:]
        assert kind.tier == "graph"
        assert kind.captured is not None
        sizes.append(len(kind.captured.graph.graph.nodes))
    assert sizes[0] == sizes[1]


@pytest.mark.slow
def test_compiled_blocks_equal_the_loop() -> None:
    pair, planned, args = Plain(), Planned(), data(2 * BLOCK + 3)
    expected = gradients(pair, loop, args)
    gradients(pair, planned, args)
    planned.compile()
    same(gradients(pair, planned, args), expected, 1e-5)


def test_compiling_repays_when_it_would_have_by_now(monkeypatch: pytest.MonkeyPatch) -> None:
    """It costs 18 s; 6 million operations would have saved that, and 12 million are to come."""
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    planned = Planned()
    gradients(Plain(), planned, data())
    (plan,) = planned._plans.values()
    assert plan is not None
    assert not planned.compiling_repays(left=1e6)
    plan.operations = 7_000_000
    assert planned.compiling_repays(left=2.0)
    assert not planned.compiling_repays(left=1.0)
    monkeypatch.setattr("os.cpu_count", lambda: 1)
    assert not planned.compiling_repays(left=2.0)


def test_operations_are_counted_by_frames() -> None:
    pair, planned = Plain(), Planned()
    gradients(pair, planned, data(4))
    (plan,) = planned._plans.values()
    assert plan is not None
    before = plan.operations
    gradients(pair, planned, data(10))
    assert plan.operations - before == 10 * plan.derivative.num_operations


def test_another_length_is_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What two records and a comparison with the eager step show, one length has shown."""
    pair = Plain()
    optimizer = Optimizer("adam", list(pair.parameters()), lr=1e-3)
    engine = Engine(PathPair(pair, Planned()), ELBO(), optimizer, engine="graph", shorten=first_of)
    calls: list[str] = []
    places = {"capture": graphs, "recapture": graphs, "difference_from_eager": tiers}
    for name, module in places.items():
        monkeypatch.setattr(module, name, noting(calls, name, getattr(module, name)))
    for num_frames in (16, 40, 16, 30):
        engine(data(num_frames))
    assert calls == ["capture", "difference_from_eager", "recapture", "recapture"]
    assert engine.calls_by_tier == {"graph": 4}


def test_long_recurrences_run_by_their_plan_alone() -> None:
    pair = Plain()
    optimizer = Optimizer("adam", list(pair.parameters()), lr=1e-3)
    engine = Engine(PathPair(pair, Planned()), ELBO(), optimizer, num_steps=1000, shorten=first_of)
    engine(data(20))
    engine(data(300))
    assert engine.calls_by_tier == {"graph": 1, "eager": 1}


def test_steps_of_long_recurrences_are_compiled_where_that_repays(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls: list[str] = []
    monkeypatch.setattr(tiers, "CONSIDERED_EVERY", 1)
    monkeypatch.setattr(Planned, "compiling_repays", lambda self, left: not calls)
    monkeypatch.setattr(Planned, "compile", lambda self: calls.append("compile"))
    pair = Plain()
    optimizer = Optimizer("adam", list(pair.parameters()), lr=1e-3)
    engine = Engine(PathPair(pair, Planned()), ELBO(), optimizer, num_steps=1000, shorten=first_of)
    for _ in range(3):
        engine(data(300))
    assert calls == ["compile"]
    assert engine.calls_by_tier == {"eager": 3}


def first_of(raw: Sequence[Tensor], most: int) -> Args:
    x, length = first_frames(dict(zip(("x", "length"), raw, strict=True)), most).values()
    return x, length


def noting(calls: list[str], name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    def noted(*args: Any, **options: Any) -> Any:
        calls.append(name)
        return function(*args, **options)

    return noted


def test_loops_are_known_by_the_names_of_their_operations() -> None:
    operations = step_plan._forward._opoverload, step_plan._backward._opoverload
    graph = torch.fx.Graph()
    there, back = (graph.call_function(operation) for operation in operations)
    other = graph.call_function(torch.ops.aten.relu.default)
    assert [is_loop(node) for node in (there, back, other)] == [True, True, False]
    assert [is_loop_backward(node) for node in (there, back, other)] == [False, True, False]
