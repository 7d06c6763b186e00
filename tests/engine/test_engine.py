"""Steps: one trajectory in every tier, one capture per kind of batch, nothing wrong silently."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyro
import pytest
import torch
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.engine import repayment
from vaezoo.engine import tiers as engines
from vaezoo.engine.batch_kind import BatchKind
from vaezoo.engine.compiler import NotCompiledError
from vaezoo.engine.many import graphs
from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.replay.flat import flat_function
from vaezoo.engine.tiers import Engine
from vaezoo.errors import NonFiniteError, RequestError
from vaezoo.objectives import ELBO, IWAE, DReG, Objective
from vaezoo.pairs.sites import is_autoencoder, trace_pair
from vaezoo.registry import entry_of, get_model
from vaezoo.training.schedule import kl_weight

Batch = tuple[Tensor, ...]
Plain: Any = get_model(str(Path(__file__).parent / "pairs" / "plain.py"))

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "elbo": ELBO,
    "elbo-of-5": lambda: ELBO(num_particles=5),
    "free-bits": lambda: ELBO(free_bits=0.2),
    "iwae-of-5": lambda: IWAE(num_particles=5),
    "dreg-of-5": lambda: DReG(num_particles=5),
}


# One trajectory


@pytest.fixture
def require_one_way(
    exact_small: Any, exact_batches_for: Any, take_steps: Any
) -> Callable[..., None]:
    def require(name: str, objective: Callable[[], Objective]) -> None:
        """20 steps, each on a new batch with new noise and another weight of the KL term.

        The state of the optimiser holds the gradients of all steps.
        """
        batches = exact_batches_for(name)
        try:
            objective().prepare(exact_small(name), batches[0])
        except RequestError as error:
            pytest.skip(str(error))
        eager, graph = (
            take_steps(
                lambda: exact_small(name),
                batches,
                engine=tier,
                objective=objective(),
                betas=lambda step: kl_weight(step, beta=2.0, warmup=12),
            )
            for tier in ("eager", "graph")
        )
        assert graph.engine.calls_by_tier == {"graph": 20}
        assert graph.notices == []
        graph.require_same(eager, rtol=1e-6, atol=1e-7)

    return require


def test_the_graph_goes_the_way_of_the_eager_engine(structure: str, require_one_way: Any) -> None:
    require_one_way(structure, ELBO)


@pytest.mark.parametrize("objective", ["elbo-of-5", "free-bits", "iwae-of-5", "dreg-of-5"])
def test_so_it_does_with_every_objective(
    quick_structure: str, objective: str, require_one_way: Any
) -> None:
    require_one_way(quick_structure, OBJECTIVES[objective])


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "adagrad", "clipped-adam"])
@pytest.mark.parametrize("clip_norm", [0.0, 0.5], ids=["", "clipped"])
def test_so_it_does_with_every_optimiser(
    optimizer: str, clip_norm: float, take_steps: Any, vectors: Any
) -> None:
    eager, graph = (
        take_steps(Plain, vectors(20), engine=tier, optimizer=optimizer, clip_norm=clip_norm)
        for tier in ("eager", "graph")
    )
    graph.require_same(eager)


def test_noise_differs_from_call_to_call(
    quick_structure: str, small: Any, batches_for: Any
) -> None:
    """One batch, and a learning rate of 0: only the noise can make a difference.

    Weights are moved, because a guide that starts at the exact posterior has a constant ELBO.
    """
    pair, objective = small(quick_structure), ELBO()
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    optimizer = Optimizer("adam", list(pair.parameters()), lr=0.0)
    (batch,) = batches_for(quick_structure, 1)
    trace = trace_pair(pair, batch)
    if not trace.latents or is_autoencoder(trace):
        pytest.skip("it draws nothing")
    objective.prepare(pair, batch)
    step = Engine(pair, objective, optimizer, engine="graph")
    assert len({float(step(batch)) for _ in range(4)}) == 4


def test_one_seed_gives_one_noise(vectors: Any) -> None:
    (batch,) = vectors(1)
    pair = Plain()
    step = Engine(pair, ELBO(), Optimizer("adam", list(pair.parameters()), lr=0.0), engine="graph")
    losses = set()
    for _ in range(3):
        torch.manual_seed(4)
        losses.add(float(step(batch)))
    assert len(losses) == 1


def test_a_change_of_tier_changes_nothing(vectors: Any) -> None:
    """Graph, then eager, then graph again, over one pair and one optimiser."""
    batches = vectors(15)
    trajectories = []
    for tiers in (["graph", "eager", "graph"], ["eager"] * 3):
        torch.manual_seed(0)
        pair = Plain()
        optimizer = Optimizer("adam", list(pair.parameters()), lr=0.01)
        steps = [Engine(pair, ELBO(), optimizer, engine=tier) for tier in tiers]  # type: ignore
        losses = [float(steps[i // 5](batch)) for i, batch in enumerate(batches)]
        trajectories.append((losses, [parameter.tolist() for parameter in pair.parameters()]))
    assert trajectories[0] == trajectories[1]


def test_the_weight_of_the_kl_term_is_no_part_of_the_graph(vectors: Any) -> None:
    (batch,) = vectors(1)
    pair = Plain()
    step = Engine(pair, ELBO(), Optimizer("adam", list(pair.parameters()), lr=0.0), engine="graph")

    def loss(beta: float) -> float:
        torch.manual_seed(0)
        return float(step(batch, beta))

    low, middle, high = loss(0.0), loss(1.0), loss(3.0)
    assert high - middle == pytest.approx(2 * (middle - low), rel=1e-4)


def test_evaluation_takes_no_step(vectors: Any) -> None:
    (batch,) = vectors(1)
    pair = Plain()
    before = [parameter.clone() for parameter in pair.parameters()]
    step = Engine(pair, ELBO(), Optimizer("adam", list(pair.parameters()), lr=0.1))
    loss, gradients = step.evaluate(batch)
    assert loss.shape == ()
    assert [g.shape for g in gradients] == [p.shape for p in pair.parameters()]
    assert all(map(torch.equal, before, pair.parameters()))
    assert step.num_calls == 0


@pytest.mark.parametrize("objective", [ELBO, lambda: IWAE(num_particles=3)], ids=["elbo", "iwae"])
def test_an_objective_that_was_not_prepared_is_captured_all_the_same(
    objective: Callable[[], Objective], vectors: Any
) -> None:
    (batch,) = vectors(1)
    pair = Plain()
    optimizer = Optimizer("adam", list(pair.parameters()), lr=0.1)
    step = Engine(pair, objective(), optimizer, engine="graph")
    step(batch)
    assert step.calls_by_tier == {"graph": 1}


# Kinds of batches


@pytest.fixture
def captures(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Number of rows of every batch that something was captured on."""
    seen: list[int] = []
    original = graphs.capture

    def counting(function: Any, pair: nn.Module, args: Sequence[Tensor]) -> Any:
        seen.append(len(args[-1]))
        return original(function, pair, args)

    monkeypatch.setattr(graphs, "capture", counting)
    return seen


def test_one_kind_is_captured_once(captures: list[int], take_steps: Any, vectors: Any) -> None:
    take_steps(Plain, vectors(20))
    assert captures == [8]


def test_every_shape_is_captured_once(captures: list[int], take_steps: Any, vectors: Any) -> None:
    batches = [*vectors(2), *vectors(1, num_rows=5), *vectors(2), *vectors(1, num_rows=5)]
    graph = take_steps(Plain, batches)
    assert captures == [8, 5]
    graph.require_same(take_steps(Plain, batches, engine="eager"))


def test_every_dtype_is_captured_once(captures: list[int], take_steps: Any, vectors: Any) -> None:
    """As bytes and as floats, which the step itself makes floats of."""
    floats = vectors(4)
    mixed = [b if i % 2 else (b[0].to(torch.int16),) for i, b in enumerate(floats)]

    def prepare(raw: Sequence[Tensor]) -> Batch:
        return (raw[0].float(),)

    graph = take_steps(Plain, mixed, prepare=prepare)
    assert captures == [8, 8]
    graph.require_same(take_steps(Plain, mixed, prepare=prepare, engine="eager"))


@pytest.mark.parametrize("first", [0, 1], ids=["compact-first", "cut-first"])
def test_batches_of_one_shape_may_lie_differently_in_memory(
    first: int, take_steps: Any, vectors: Any
) -> None:
    """As sequences that are cut to a bucket, and those of a batch that was filled up."""

    class Flattens(Plain):
        def encode(self, x: Tensor) -> Tensor:
            return self.encoder(x.reshape(-1).reshape(8, 4))

    def cut(batch: Batch) -> Batch:
        return (torch.cat([batch[0], batch[0]], 1)[:, :4],)

    batches = [cut(b) if i % 2 == first else b for i, b in enumerate(vectors(6))]
    graph = take_steps(Flattens, batches)
    graph.require_same(take_steps(Flattens, batches, engine="eager"))


def test_the_mode_of_the_pair_is_a_part_of_the_kind(
    captures: list[int], take_steps: Any, vectors: Any
) -> None:
    class DropsOut(Plain):
        def encode(self, x: Tensor) -> Tensor:
            return nn.functional.dropout(self.encoder(x), 0.5, self.training)

    def switch(step: int, pair: nn.Module) -> None:
        pair.train(step % 4 < 2)

    graph = take_steps(DropsOut, vectors(12), before=switch)
    assert captures == [8, 8]
    graph.require_same(take_steps(DropsOut, vectors(12), before=switch, engine="eager"))


def test_the_mode_of_a_module_inside_is_followed_by_the_next_check(
    take_steps: Any, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Normalises(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def encode(self, x: Tensor) -> Tensor:
            return self.norm(self.encoder(x))

    def freeze(step: int, pair: Any) -> None:
        if step == 4:
            pair.norm.eval()

    monkeypatch.setattr(engines, "CHECKED_EVERY", 4)
    graph = take_steps(Normalises, vectors(12), before=freeze)
    graph.require_same(take_steps(Normalises, vectors(12), before=freeze, engine="eager"))


def test_batches_of_too_many_shapes_run_eagerly(
    captures: list[int], take_steps: Any, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engines, "MOST_KINDS", 2)
    batches = [batch for size in (2, 3, 4, 5, 2, 3, 4) for batch in vectors(1, num_rows=size)]
    graph = take_steps(Plain, batches)
    assert captures == [2, 3]
    assert graph.engine.calls_by_tier == {"graph": 4, "eager": 3}
    assert set(graph.notices) == {"batches of more than 2 shapes; others run eagerly"}
    graph.require_same(take_steps(Plain, batches, engine="eager"))


# Short batches


class HasNoNoise(Plain):
    """Its posterior is a point, so that a batch has one loss."""

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(self.encode(x)).to_event(1))


def test_a_short_batch_is_filled_up(captures: list[int], take_steps: Any, vectors: Any) -> None:
    batches = [*vectors(2), *vectors(1, num_rows=5), *vectors(2), *vectors(1, num_rows=3)]
    graph = take_steps(Plain, batches, batch_size=8)
    assert captures == [8]
    graph.require_same(take_steps(Plain, batches, batch_size=8, engine="eager"))


@pytest.mark.parametrize("num_rows", [1, 5, 7])
@pytest.mark.parametrize("tier", ["eager", "graph"])
def test_its_loss_is_that_of_its_own_rows(
    num_rows: int, tier: str, take_steps: Any, vectors: Any
) -> None:
    batches = [*vectors(1), *vectors(3, num_rows=num_rows)]
    filled = take_steps(HasNoNoise, batches, batch_size=8, engine=tier)
    as_they_are = take_steps(HasNoNoise, batches, engine="eager")
    filled.require_same(as_they_are, rtol=2e-5, atol=1e-6)


def test_every_pair_of_the_zoo_may_be_filled_up(
    quick_structure: str, exact_small: Any, exact_batches_for: Any, take_steps: Any
) -> None:
    """Bit by bit; of sequences, whose gradients are added in another order, but for rounding."""
    whole = exact_batches_for(quick_structure)
    batches = [tuple(arg[: 7 - 2 * (i % 2)] for arg in b) for i, b in enumerate(whole)]
    eager, graph = (
        take_steps(lambda: exact_small(quick_structure), batches[:6], batch_size=7, engine=tier)
        for tier in ("eager", "graph")
    )
    assert graph.engine.calls_by_tier == {"graph": 6}
    assert len(graph.engine._kinds) == 1
    is_sequence = entry_of(get_model(quick_structure)).data == "sequences"
    rounding = 1e-12 if is_sequence else 0.0
    graph.require_same(eager, rtol=rounding, atol=rounding)


def test_where_rows_depend_on_each_other_no_batch_is_filled_up(
    captures: list[int], take_steps: Any, vectors: Any
) -> None:
    class Normalises(Plain):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(2)

        def encode(self, x: Tensor) -> Tensor:
            return self.norm(self.encoder(x))

    batches = [*vectors(2), *vectors(1, num_rows=5), *vectors(2)]
    graph = take_steps(Normalises, batches, batch_size=8)
    assert captures == [8, 5]
    graph.require_same(take_steps(Normalises, batches, engine="eager"))


def test_a_first_batch_of_one_row_decides_as_any_other(take_steps: Any, vectors: Any) -> None:
    """Or a run that is resumed before its last batch would go another way."""
    batches = [*vectors(1, num_rows=1), *vectors(2)]
    assert len(take_steps(Plain, batches, batch_size=8).engine._kinds) == 1


# Steps that are not finite


class MinibatchNorm(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    def encode(self, x: Tensor) -> Tensor:
        return self.norm(self.encoder(x))


@pytest.mark.parametrize("tier", ["eager", "graph"])
@pytest.mark.parametrize(("bad", "value"), [(0, float("nan")), (3, float("nan")), (3, 1e30)])
def test_a_step_that_is_not_finite_changes_nothing(
    tier: Any, bad: int, value: float, vectors: Any
) -> None:
    """Neither weights nor buffers nor the optimiser."""
    pair = MinibatchNorm()
    optimizer = Optimizer("adam", list(pair.parameters()), lr=0.01)
    step = Engine(pair, ELBO(), optimizer, engine=tier)
    batches = vectors(bad + 1)
    for batch in batches[:bad]:
        step(batch)
    batches[bad][0][2, 1] = value
    before = {k: v.clone() for k, v in {**pair.state_dict(), **optimizer.state_dict()}.items()}
    with pytest.raises(NonFiniteError):
        step(batches[bad])
    after = {**pair.state_dict(), **optimizer.state_dict()}
    assert [name for name in before if not torch.equal(before[name], after[name])] == []


def test_a_step_that_is_not_finite_names_the_site_and_the_range(vectors: Any) -> None:
    pair = Plain()
    step = Engine(pair, ELBO(), Optimizer("adam", list(pair.parameters()), lr=0.01), engine="graph")
    (batch,) = vectors(1)
    batch[0][0, 0] = float("inf")
    with pytest.raises(NonFiniteError, match=r"site 'z' \(.*\) has no finite log-density; .* inf]"):
        step(batch)


def test_a_parameter_that_is_not_finite_is_named(vectors: Any) -> None:
    pair = Plain()
    step = Engine(pair, ELBO(), Optimizer("adam", list(pair.parameters()), lr=0.01))
    pair.decoder.bias.data.fill_(float("nan"))
    with pytest.raises(NonFiniteError, match=r"parameter 'decoder\.bias' is not finite"):
        step(vectors(1)[0])


class GradientExplodes(Plain):
    """sqrt at zero: the loss is finite, its gradient is not."""

    def encode(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return h + (h - h).abs().sqrt()


@pytest.mark.parametrize("tier", ["eager", "graph"])
def test_a_gradient_that_is_not_finite_stops_training(tier: Any, vectors: Any) -> None:
    pair = GradientExplodes()
    step = Engine(pair, ELBO(), Optimizer("adam", list(pair.parameters()), lr=0.01), engine=tier)
    with pytest.raises(NonFiniteError):
        step(vectors(1)[0])


# What the engine notices


class HasStrength(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.strength = 1.0

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x) * self.strength


def test_an_attribute_that_is_changed_from_outside_is_noticed(
    take_steps: Any, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a check is due right after the change, no step is wrong."""

    def change(step: int, pair: Any) -> None:
        if step == 10:
            pair.strength = 5.0

    monkeypatch.setattr(engines, "CHECKED_EVERY", 5)
    graph = take_steps(HasStrength, vectors(20), before=change)
    graph.require_same(take_steps(HasStrength, vectors(20), before=change, engine="eager"))
    (notice,) = graph.notices
    assert notice.startswith("training runs eagerly, because the captured step differs from the ")
    assert "test_engine.py:" in notice
    assert graph.engine.calls_by_tier == {"eager": 20}


def test_checks_are_due_whatever_the_kind_of_the_batch(
    take_steps: Any, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sequences come in many lengths, each too rare for checks of its own."""

    def change(step: int, pair: Any) -> None:
        if step == 10:
            pair.strength = 5.0

    monkeypatch.setattr(engines, "CHECKED_EVERY", 5)
    batches = [vectors(1, num_rows=2 + i % 6)[0] for i in range(20)]
    graph = take_steps(HasStrength, batches, before=change)
    assert len(graph.notices) == 1


def test_a_check_changes_nothing(
    take_steps: Any, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = take_steps(MinibatchNorm, vectors(12))
    monkeypatch.setattr(engines, "CHECKED_EVERY", 2)
    take_steps(MinibatchNorm, vectors(12)).require_same(expected)


def spoilt(captured: Any) -> Any:
    """A captured step whose gradients are wrong."""

    def run(args: Sequence[Tensor]) -> tuple[Tensor, ...]:
        loss, divisor, finite, *gradients = captured(args)
        return loss, divisor, finite, *[1.01 * gradient for gradient in gradients]

    return run


def raising(captured: Any) -> Any:
    def run(args: Sequence[Tensor]) -> tuple[Tensor, ...]:
        raise AssertionError("expected size 8==8, stride 4==8 at dim=0")

    return run


def test_a_captured_step_that_is_wrong_at_once_is_never_taken(
    take_steps: Any, vectors: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = graphs.capture

    def wrong(function: Any, pair: nn.Module, args: Sequence[Tensor]) -> Any:
        captured = original(function, pair, args)
        node = captured.graph.graph.output_node()
        loss, divisor, finite, first, *rest = node.args[0]
        with captured.graph.graph.inserting_before(node):
            doubled = captured.graph.graph.call_function(torch.ops.aten.mul.Tensor, (first, 2.0))
        node.args = ((loss, divisor, finite, doubled, *rest),)
        captured.graph.recompile()
        return replace(captured, flat=flat_function(captured.graph))

    monkeypatch.setattr(graphs, "capture", wrong)
    graph = take_steps(Plain, vectors(6))
    graph.require_same(take_steps(Plain, vectors(6), engine="eager"))
    assert graph.engine.calls_by_tier == {"eager": 6}
    assert len(graph.notices) == 1


def test_the_eager_engine_captures_nothing(
    captures: list[int], take_steps: Any, vectors: Any
) -> None:
    eager = take_steps(Plain, vectors(5), engine="eager")
    assert captures == []
    assert eager.engine.calls_by_tier == {"eager": 5}
    assert eager.notices == []


# Which tier


@pytest.mark.parametrize(("num_steps", "tier"), [(5, "eager"), (10**6, "graph")])
def test_auto_captures_where_steps_are_many(
    num_steps: int, tier: str, take_steps: Any, vectors: Any
) -> None:
    auto = take_steps(Plain, vectors(5), engine="auto", num_steps=num_steps)
    assert auto.engine.calls_by_tier == {tier: 5}
    assert auto.notices == []


REPAYS: dict[str, tuple[dict[str, Any], bool]] = {
    "saved-much-and-much-is-left": ({}, True),
    "saved-too-little-so-far": ({"num_calls": 512}, False),
    "too-few-steps-left": ({"num_steps": 60_000}, False),
    "too-small-a-graph": ({"num_nodes": 4}, False),
    "as-slow-as-eager": ({"graph_seconds": 3e-3}, False),
    "slower-than-eager": ({"graph_seconds": 4e-3}, False),
    "compiles-from-cache": ({"num_calls": 4_096, "num_steps": 30_000, "cost": 4.0}, True),
    "compiled-already": ({"tier": "compiled"}, False),
    "not-captured": ({"captured": False}, False),
    "told-to-stay-on-the-graph": ({"engine": "graph"}, False),
    "rare-kind": ({"others": 10**6, "num_steps": 1_200_000}, False),
    "resumed-late": ({"resumed_at": 10**6, "num_steps": 1_200_000}, True),
}


@pytest.mark.parametrize(("changes", "expected"), REPAYS.values(), ids=REPAYS)
def test_auto_compiles_where_it_repays(
    changes: dict[str, Any], expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step of 3 ms, 1 ms on the graph of 200 nodes, which takes 30 s to compile.

    30 s have been saved after 15,000 steps; 60 s will be after 100,000, 3 us for each node.
    """
    case: dict[str, Any] = {
        "engine": "auto",
        "tier": "graph",
        "captured": True,
        "num_nodes": 200,
        "num_calls": 16_384,
        "others": 0,
        "resumed_at": 0,
        "num_steps": 200_000,
        "eager_seconds": 3e-3,
        "graph_seconds": 1e-3,
        "cost": 30.0,
        **changes,
    }
    pair = Plain()
    optimizer = Optimizer("adam", list(pair.parameters()), lr=0.1)
    step = Engine(pair, ELBO(), optimizer, engine=case["engine"], num_steps=case["num_steps"])
    graph = SimpleNamespace(graph=SimpleNamespace(nodes=range(case["num_nodes"])))
    captured: Any = SimpleNamespace(graph=graph) if case["captured"] else None
    nothing: Any = None
    kind = BatchKind(nothing, nothing, case["tier"], captured, num_calls=case["num_calls"])
    kind.eager_seconds = case["eager_seconds"]
    kind.times = deque([case["graph_seconds"]] * 9)
    other = BatchKind(nothing, nothing, num_calls=case["others"])
    step._kinds = {"this": kind, "other": other}
    step.num_calls = case["resumed_at"] + case["num_calls"] + case["others"]
    monkeypatch.setattr(repayment, "expected_seconds", lambda graph: case["cost"])
    assert step._compiling_repays(kind) is expected


@pytest.fixture
def compiles_at_once(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """Let a stand-in for the compiler do the work, at no cost."""

    def use(compile_graph: Any) -> None:
        monkeypatch.setattr(engines, "compile_graph", compile_graph)
        monkeypatch.setattr(repayment, "expected_seconds", lambda graph: -1.0)
        monkeypatch.setattr(engines, "CONSIDERED_EVERY", 4)

    return use


@pytest.mark.parametrize(("tier", "many"), [("auto", 10**6), ("compiled", 0)])
def test_a_compiled_step_goes_the_same_way(
    tier: str, many: int, compiles_at_once: Any, take_steps: Any, vectors: Any
) -> None:
    compiles_at_once(lambda captured, args: captured)
    compiled = take_steps(Plain, vectors(12), engine=tier, num_steps=many)
    assert compiled.engine.calls_by_tier == {"compiled": 12}
    assert compiled.notices == []
    compiled.require_same(take_steps(Plain, vectors(12), engine="eager"))


def refuses(captured: Any, args: Sequence[Tensor]) -> Any:
    raise NotCompiledError("LoweringException: no such thing")


@pytest.mark.parametrize(("tier", "many"), [("auto", 10**6), ("compiled", 0)])
def test_what_is_not_compiled_stays_on_the_graph_with_one_notice(
    tier: str, many: int, compiles_at_once: Any, take_steps: Any, vectors: Any
) -> None:
    compiles_at_once(refuses)
    batches = [*vectors(9), *vectors(9, num_rows=5)]
    graph = take_steps(Plain, batches, engine=tier, num_steps=many)
    assert graph.engine.calls_by_tier == {"graph": 18}
    assert graph.notices == ["training is not compiled: LoweringException: no such thing"]
    graph.require_same(take_steps(Plain, batches, engine="eager"))


def test_without_a_compiler_there_is_the_graph_and_one_notice(
    take_steps: Any, vectors: Any
) -> None:
    batches = [*vectors(3), *vectors(3, num_rows=5)]
    with torch._inductor.config.patch({"cpp.cxx": ("/no/such/compiler",)}):
        graph = take_steps(Plain, batches, engine="compiled")
    assert graph.engine.calls_by_tier == {"graph": 6}
    (notice,) = graph.notices
    assert notice == (
        "training is not compiled: no C++ compiler was found; install one (g++, clang or MSVC)"
    )
    graph.require_same(take_steps(Plain, batches, engine="eager"))


@pytest.mark.parametrize("fault", [spoilt, raising])
@pytest.mark.parametrize(("tier", "many"), [("auto", 10**6), ("compiled", 0)])
def test_a_compiled_step_that_is_wrong_is_never_taken(
    fault: Any, tier: str, many: int, compiles_at_once: Any, take_steps: Any, vectors: Any
) -> None:
    compiles_at_once(lambda captured, args: fault(captured))
    steps = take_steps(Plain, vectors(12), engine=tier, num_steps=many)
    steps.require_same(take_steps(Plain, vectors(12), engine="eager"))
    assert "compiled" not in steps.engine.calls_by_tier
    assert len(steps.notices) == 1
