"""Loops over time of several seeds at once: each has as many steps as it has."""

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from vaezoo.engine.capture import one_fake_mode
from vaezoo.engine.many import stacked
from vaezoo.engine.many.memory import Memory
from vaezoo.engine.many.stacked import for_seeds
from vaezoo.engine.many.sweeps import Arguments, SweepOfSeeds
from vaezoo.engine.recurrence.sweep import Sweep


def step(h: Tensor, x: Tensor, unread: Tensor, w: Tensor) -> tuple[Tensor, Tensor]:
    after = torch.tanh(h @ w + x)
    return after, after * 2


def sweep(*, backwards: bool) -> Sweep:
    examples = torch.ones(2, 3), torch.ones(2, 3), torch.ones(2, 1), torch.ones(3, 3)
    with one_fake_mode():
        return Sweep(make_fx(step)(*examples), 1, backwards=backwards)


def seeds_of(*num_steps: int) -> list[Arguments]:
    return [
        Arguments(
            torch.randn(2, 3), [torch.randn(n, 2, 3), torch.ones(n, 2, 1)], [torch.randn(3, 3)]
        )
        for n in num_steps
    ]


def require_like_alone(of_seeds: SweepOfSeeds, alone: Sweep, seeds: list[Arguments]) -> None:
    for seed, (carry, values) in zip(seeds, of_seeds(seeds), strict=True):
        last, expected = alone(seed.carry, seed.rows, seed.constants)
        assert torch.equal(carry, last)
        assert torch.equal(values[0], expected[0])


def test_forwards_the_short_ones_end_first() -> None:
    alone = sweep(backwards=False)
    require_like_alone(SweepOfSeeds(alone, Memory()), alone, seeds_of(2, 5, 1, 5))


def test_backwards_the_short_ones_begin_last() -> None:
    alone = sweep(backwards=True)
    require_like_alone(SweepOfSeeds(alone, Memory()), alone, seeds_of(2, 5, 1, 5))


def test_memory_is_used_again() -> None:
    alone, memory = sweep(backwards=False), Memory()
    of_seeds = SweepOfSeeds(alone, memory)
    for num_steps in ((4, 2), (2, 6), (3, 3)):
        memory.begin()
        require_like_alone(of_seeds, alone, seeds_of(*num_steps))


def test_an_operation_that_rounds_otherwise_is_done_for_one_seed_after_the_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = {torch.ops.aten.tanh.default: lambda target, args, kwargs: target(*args) + 1}
    monkeypatch.setattr(stacked, "_RULES", wrong)
    x = torch.randn(2, 3)
    graph = make_fx(lambda x: (x.tanh(),))(x[0])
    assert torch.equal(for_seeds(graph, 2, [x])(x)[0], x.tanh())
