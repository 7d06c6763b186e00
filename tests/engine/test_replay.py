"""The flat function of a graph: the same bits, by fewer and cheaper calls."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from vaezoo.engine.capture import capture
from vaezoo.engine.replay.flat import flat_function
from vaezoo.testing.pairs import LinearPair

Body = Callable[[Tensor], tuple[Tensor, ...]]


def _operations(body: Body, x: Tensor) -> list[object]:
    flat = flat_function(make_fx(body)(x))
    graph: fx.Graph = flat.__self__.graph  # type: ignore[attr-defined]
    return [node.target for node in graph.nodes if node.op == "call_function"]


def _uniform_gradient(x: Tensor) -> tuple[Tensor, ...]:
    y = x.detach().requires_grad_()
    loss = -((y / 3 - 0.1) ** 2).sum(-1).mul(2).sum() / torch.ones(len(x)).sum()
    return loss, *torch.autograd.grad(loss, [y])


def _norms(x: Tensor) -> tuple[Tensor, ...]:
    norms = [torch.linalg.vector_norm(part) for part in (x, x[0], x.T)]
    return (torch.stack(norms),)


def _of_two_dtypes(x: Tensor) -> tuple[Tensor, ...]:
    return x + torch.ones(3, dtype=torch.float64).expand(4, 3), x.long() * 2, x.half() * 0.1


def _drawn(x: Tensor) -> tuple[Tensor, ...]:
    return x + torch.randn(3), torch.bernoulli(x.sigmoid())


def _transposed(x: Tensor) -> tuple[Tensor, ...]:
    return x.T + torch.ones(3, 1).expand(3, 4), x[:, :1].expand(4, 3) * x[:, 1:2].expand(4, 3)


BODIES = [_uniform_gradient, _norms, _of_two_dtypes, _drawn, _transposed]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_same_bits_and_layout(body: Body, dtype: torch.dtype) -> None:
    x = torch.randn(4, 3, dtype=dtype)
    graph = make_fx(body)(x)
    outcomes = []
    for function in (graph, flat_function(graph)):
        torch.manual_seed(3)
        with torch.inference_mode():
            outcomes.append(function(x))
    for one, other in zip(*outcomes, strict=True):
        assert torch.equal(one, other)
        assert one.dtype == other.dtype
        assert one.stride() == other.stride()


def test_gradient_of_a_sum_has_no_constant_left_to_compute() -> None:
    names = map(str, _operations(_uniform_gradient, torch.randn(4, 3)))
    assert not any("ones" in name or "expand" in name for name in names)


def test_operations_are_called_without_a_schema() -> None:
    operations = _operations(_uniform_gradient, torch.randn(4, 3))
    assert not any(isinstance(operation, torch._ops.OpOverload) for operation in operations)


def test_norms_are_one_call() -> None:
    operations = _operations(_norms, torch.randn(4, 3))
    assert sum("norm" in str(operation) for operation in operations) == 1


def test_constant_given_away_is_made_anew() -> None:
    graph = make_fx(lambda x: (torch.zeros(2), x + torch.zeros(2)))(torch.ones(2))
    flat = flat_function(graph)
    with torch.inference_mode():
        flat(torch.ones(2))[0].add_(7)
        assert flat(torch.ones(2))[0].tolist() == [0, 0]


def test_memory_that_is_filled_is_no_constant() -> None:
    def body(x: Tensor) -> tuple[Tensor, ...]:
        total = torch.zeros(3)
        total += x
        return (total * 2,)

    graph = make_fx(body)(torch.ones(3))
    flat = flat_function(graph)
    with torch.inference_mode():
        assert [flat(torch.ones(3))[0].tolist() for _ in range(2)] == [[2, 2, 2]] * 2


def test_constant_of_the_graph_is_followed() -> None:
    scale = torch.ones(3)
    graph = make_fx(lambda x: (x * (scale + 1),))(torch.ones(3))
    flat = flat_function(graph)
    scale.fill_(4)
    with torch.inference_mode():
        assert flat(torch.ones(3))[0].tolist() == [5, 5, 5]


def test_capture_replays_the_flat_function() -> None:
    pair, x = LinearPair(), torch.ones(2, 4)
    captured = capture(lambda args: (args[0].sum(-1, keepdim=True) * 2,), pair, [x])
    assert torch.equal(captured([x])[0], captured.graph(*captured.inputs([x]))[0])
