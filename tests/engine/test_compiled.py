"""The compiled step: the same noise, the same trajectory to 1e-5.

Almost all of it is slow, because Inductor takes a quarter of a minute and more for a step.
"""

import math
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaezoo import list_models
from vaezoo.engine import compiler
from vaezoo.engine.capture import Captured, capture
from vaezoo.engine.compiler import NotCompiledError, compile_graph, expected_seconds, plain_tanh
from vaezoo.errors import RequestError
from vaezoo.objectives import ELBO, IWAE, Objective
from vaezoo.registry import get_model

Batch = tuple[Tensor, ...]
Plain: Any = get_model(str(Path(__file__).parent / "pairs" / "plain.py"))

OBJECTIVES: dict[str, Callable[[], Objective]] = {
    "elbo": ELBO,
    "iwae-of-5": lambda: IWAE(num_particles=5),
}


def captured(function: Callable[[Tensor], Tensor], pair: nn.Module, x: Tensor) -> Captured:
    return capture(lambda args: (function(args[0]),), pair, [x])


def noisy(pair: nn.Module) -> Callable[[Tensor], Tensor]:
    return lambda x: (pair(x) + torch.randn_like(x)).square().sum()


def test_a_function_is_compiled_with_its_noise() -> None:
    """The only test of the compiler that is not slow."""
    pair, x = nn.Tanh(), torch.randn(4, 3)
    graph = captured(noisy(pair), pair, x)
    before = expected_seconds(graph.graph)
    compiled = compile_graph(graph, [x])
    assert expected_seconds(graph.graph) <= before
    results = []
    for run in (graph, compiled):
        torch.manual_seed(3)
        results.append([float(run([x])[0]) for _ in range(3)])
    assert results[0] == pytest.approx(results[1], rel=1e-6)
    assert len(set(results[0])) == 3


def test_plain_tanh_is_tanh() -> None:
    scales = torch.tensor([1e-6, 1e-3, 0.3, 1.0, 20.0])
    x = torch.linspace(-3, 3, 10_001)[:, None] * scales
    exact = x.double().tanh()
    assert ((plain_tanh(x) - exact).abs() <= 4e-7 * exact.abs()).all()


def test_plain_tanh_ends_at_one() -> None:
    x = torch.tensor([math.inf, -math.inf, 1e38, -1e38, 0.0, math.nan])
    torch.testing.assert_close(plain_tanh(x), x.tanh(), rtol=0, atol=0, equal_nan=True)


def test_what_the_compiler_refuses_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("LoweringException: no such thing\n  target: aten.foo\n")

    monkeypatch.setattr(torch._inductor, "compile", fail)
    pair, x = nn.Tanh(), torch.randn(4, 3)
    with pytest.raises(NotCompiledError) as caught:
        compile_graph(captured(noisy(pair), pair, x), [x])
    assert str(caught.value) == "RuntimeError: LoweringException: no such thing"


def test_a_graph_of_other_shapes_has_not_been_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is remembered of a compiled graph says for which shapes it is."""
    monkeypatch.setattr(torch._inductor, "compile", lambda *args, **kwargs: lambda *args: args)
    monkeypatch.setattr(compiler, "SECONDS_FROM_CACHE", 0.0)
    pair = nn.Tanh()
    small, large = (captured(lambda x: pair(x).sum(), pair, torch.randn(n, 3)) for n in (4, 5))
    compile_graph(small, [torch.randn(4, 3)])
    assert expected_seconds(small.graph) == 0.0
    assert expected_seconds(large.graph) > 0.0


# Whole steps


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("objective", OBJECTIVES)
@pytest.mark.parametrize("name", list_models())
def test_a_compiled_step_goes_the_way_of_the_eager_engine(
    name: str, objective: str, exact_small: Any, exact_batches_for: Any, take_steps: Any
) -> None:
    batches = exact_batches_for(name)
    try:
        OBJECTIVES[objective]().prepare(exact_small(name), batches[0])
    except RequestError as error:
        pytest.skip(str(error))
    eager, compiled = (
        take_steps(
            lambda: exact_small(name),
            batches,
            engine=tier,
            objective=OBJECTIVES[objective](),
            betas=lambda step: step / 10,
        )
        for tier in ("eager", "compiled")
    )
    assert compiled.engine.calls_by_tier == {"compiled": 20}
    assert compiled.notices == []
    compiled.require_same(eager, rtol=1e-5, atol=1e-5)


class DropsOut(Plain):
    def encode(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return nn.functional.dropout(h, 0.5) + nn.functional.dropout(h, 0.5)


class MinibatchNorm(Plain):
    """Without a bias before the norm: its gradient is rounding alone, which Adam would follow."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 2, bias=False)
        self.norm = nn.BatchNorm1d(2)

    def encode(self, x: Tensor) -> Tensor:
        return self.norm(self.encoder(x))


class DrawsForNothing(Plain):
    def encode(self, x: Tensor) -> Tensor:
        torch.randn(3)
        return self.encoder(x) + torch.randn_like(x[:, :2]) * torch.randn_like(x[:, :2])


class BorrowsATensor(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.lent = torch.ones(2)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x) * self.lent


@pytest.mark.slow
@pytest.mark.parametrize("cls", [DropsOut, MinibatchNorm, DrawsForNothing])
def test_noise_and_buffers_are_those_of_the_eager_engine(
    cls: Any, take_steps: Any, vectors: Any
) -> None:
    compiled = take_steps(cls, vectors(20), engine="compiled")
    assert compiled.engine.calls_by_tier == {"compiled": 20}
    compiled.require_same(take_steps(cls, vectors(20), engine="eager"), rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_a_tensor_of_no_module_is_followed_in_place(take_steps: Any, vectors: Any) -> None:
    def move(step: int, pair: Any) -> None:
        pair.lent.fill_(1 + step / 10)

    steps = [
        take_steps(BorrowsATensor, vectors(10), engine=tier, before=move)
        for tier in ("compiled", "eager")
    ]
    steps[0].require_same(steps[1], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
def test_clipping_and_short_batches_are_those_of_the_eager_engine(
    optimizer: str, take_steps: Any, vectors: Any
) -> None:
    batches = [*vectors(3), *vectors(1, num_rows=5), *vectors(3)]
    steps = [
        take_steps(Plain, batches, engine=tier, clip_norm=0.3, batch_size=8, optimizer=optimizer)
        for tier in ("compiled", "eager")
    ]
    assert steps[0].engine.calls_by_tier == {"compiled": 7}
    steps[0].require_same(steps[1], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_batches_of_one_shape_may_lie_differently_in_memory(take_steps: Any, vectors: Any) -> None:
    def cut(batch: Batch) -> Batch:
        return (torch.cat([batch[0], batch[0]], 1)[:, :4],)

    batches = [cut(b) if i % 2 else b for i, b in enumerate(vectors(6))]
    steps = [take_steps(Plain, batches, engine=tier) for tier in ("compiled", "eager")]
    steps[0].require_same(steps[1], rtol=1e-5, atol=1e-5)


@pytest.mark.slow
def test_bf16_is_near_bf16(take_steps: Any, vectors: Any) -> None:
    """Both round factors to 8 bits; a fused sum may round elsewhere."""
    steps = [
        take_steps(Plain, vectors(20), engine=tier, precision="bf16")
        for tier in ("compiled", "eager")
    ]
    assert steps[0].engine.calls_by_tier == {"compiled": 20}
    ours, theirs = (torch.tensor(step.losses) for step in steps)
    torch.testing.assert_close(ours, theirs, rtol=0.01, atol=0.0)


ONE_STEP = """
import sys, time
import torch
from vaezoo.engine.compiler import expected_seconds
from vaezoo.engine.tiers import Engine
from vaezoo.models.vae import VAEBernoulli
from vaezoo.objectives import ELBO
from vaezoo.engine.optimizers import Optimizer

pair = VAEBernoulli(x_shape=(6,), z_dim=2, hidden=(4,))
objective, x = ELBO(), torch.bernoulli(torch.rand(8, 6))
objective.prepare(pair, (x,))
optimizer = Optimizer("adam", list(pair.parameters()), lr=0.1)
step = Engine(pair, objective, optimizer, engine=sys.argv[1])
began = time.perf_counter()
step((x,))
seconds = time.perf_counter() - began
(kind,) = step._kinds.values()
print(kind.tier, seconds, expected_seconds(kind.captured.graph))
"""


def one_step(tier: str) -> tuple[str, float, float]:
    """Take a step in a process of its own: its tier, its seconds, and those expected afterwards."""
    command = [sys.executable, "-W", "ignore", "-c", ONE_STEP, tier]
    output = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300).stdout
    name, seconds, expected = output.split()
    return name, float(seconds), float(expected)


@pytest.mark.slow
def test_what_was_compiled_once_is_there_in_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    _, _, seconds_before = one_step("graph")
    first, cold, _ = one_step("compiled")
    second, warm, seconds_after = one_step("compiled")
    assert first == second == "compiled"
    assert warm < 0.6 * cold
    assert seconds_after < seconds_before


@pytest.mark.slow
def test_what_compiling_takes_is_about_what_is_expected(take_steps: Any, vectors: Any) -> None:
    """Within a factor of 5 on any machine: it decides only whether compiling repays."""
    graph = take_steps(Plain, vectors(1, num_rows=11))
    (kind,) = graph.engine._kinds.values()
    expected = expected_seconds(kind.captured.graph)
    began = time.perf_counter()
    take_steps(Plain, vectors(1, num_rows=11), engine="compiled")
    assert expected / 5 < time.perf_counter() - began < expected * 5
