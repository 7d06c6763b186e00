"""Noise as inputs: the numbers, and their order, that the function itself would have drawn."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

from vaezoo.engine.many.noise import draw_all, lift_noise
from vaezoo.engine.reduction import is_random, reduce_graph

Function = Callable[[Tensor], tuple[Tensor, ...]]


def _filled(x: Tensor) -> tuple[Tensor, ...]:
    memory = torch.empty(x.shape[::-1])
    memory.normal_(1.0, 2.0)
    return (memory.t() + x, memory * 2.0)


def _of_several_kinds(x: Tensor) -> tuple[Tensor, ...]:
    uniform = torch.rand_like(x)
    return (uniform < x, torch.randn(5, 20), torch.empty(3).exponential_(), torch.rand(2, 2))


@pytest.mark.parametrize("function", [_filled, _of_several_kinds])
def test_lifted_noise_is_what_the_function_draws(function: Function) -> None:
    x = torch.rand(4, 3)
    graph = reduce_graph(make_fx(function)(x), [x])
    draws = lift_noise(graph)
    torch.manual_seed(3)
    expected, end = function(x), torch.get_rng_state()
    torch.manual_seed(3)
    values = graph(x, *draw_all(draws))
    assert all(map(torch.equal, values, expected))
    assert torch.equal(torch.get_rng_state(), end)
    assert not any(is_random(node) for node in graph.graph.nodes)


def test_a_draw_takes_a_generator_of_its_own() -> None:
    graph = make_fx(_of_several_kinds)(torch.rand(4, 3))
    draws = lift_noise(graph)
    torch.manual_seed(5)
    expected = draw_all(draws)
    values = draw_all(draws, torch.Generator().manual_seed(5))
    assert all(map(torch.equal, values, expected))


def test_nothing_is_lifted_where_a_draw_depends_on_values() -> None:
    graph = make_fx(lambda p: torch.rand_like(p) + torch.bernoulli(p))(torch.rand(4))
    assert lift_noise(graph) == ()
    assert sum(is_random(node) for node in graph.graph.nodes) == 2
