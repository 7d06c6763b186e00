"""Functions that are called over and over: captured, checked, and equal rows worked on once."""

import pytest
import torch
from torch import Tensor, nn

from vaezoo.engine.capture import Captured, capture
from vaezoo.engine.functions.repeated import Repeated
from vaezoo.engine.functions.rows import once_per_group
from vaezoo.engine.repayment import compiling_repays_for

TIMES = 3


class Net(nn.Module):
    """A layer, noise, and a layer behind it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.outer = nn.Linear(4, 5), nn.Linear(5, 2)
        self.calls = 0

    @torch.no_grad()
    def forward(self, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        (x,) = inputs
        h = torch.tanh(self.inner(x.flatten(1)) * 2.0)
        return self.outer(h + torch.randn_like(h)), h.sum(), x.square().sum(1)


class Counting(Net):
    """Counts its calls in what it gives."""

    def forward(self, inputs: list[Tensor]) -> tuple[Tensor, ...]:
        self.calls += 1
        return tuple(value + self.calls for value in super().forward(inputs))


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net()


def values(run: object, x: Tensor) -> tuple[Tensor, ...]:
    torch.manual_seed(1)
    return run([x])  # type: ignore[operator]


def grouped(net: Net, x: Tensor) -> Captured:
    captured = capture(net, net, [x])
    start = len(captured.owned)
    once_per_group(captured.graph, slice(start, start + 1), TIMES)
    return captured


def test_it_gives_what_the_function_gives_and_draws_the_same_noise(net: Net) -> None:
    x = torch.randn(6, 2, 2)
    for ours, theirs in zip(values(Repeated(net, net), x), values(net, x), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_capturing_leaves_the_generator_alone(net: Net) -> None:
    x, repeated = torch.randn(6, 2, 2), Repeated(net, net)
    state = torch.get_rng_state()
    repeated([x])
    first = torch.get_rng_state()
    torch.set_rng_state(state)
    net([x])
    assert torch.equal(first, torch.get_rng_state())


def test_updates_of_parameters_are_seen(net: Net) -> None:
    x, repeated = torch.randn(6, 2, 2), Repeated(net, net)
    repeated([x])
    with torch.no_grad():
        net.inner.weight.mul_(2.0)
    torch.testing.assert_close(values(repeated, x)[0], values(net, x)[0])


def test_what_changes_from_call_to_call_runs_as_it_is() -> None:
    net = Counting()
    repeated = Repeated(net, net)
    repeated([torch.zeros(2, 4)])
    assert "changes with every call" in repeated.reason


def test_rows_that_are_worked_on_once_give_the_same(net: Net) -> None:
    x = torch.randn(4, 2, 2).repeat_interleave(TIMES, 0)
    captured = grouped(net, x)
    for ours, theirs in zip(values(captured, x), values(net, x), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_the_layer_before_the_noise_takes_one_row_of_each(net: Net) -> None:
    x = torch.randn(4, 2, 2).repeat_interleave(TIMES, 0)
    captured = grouped(net, x)
    sizes: list[int] = []

    class Watch(torch.fx.Interpreter):
        def run_node(self, n: torch.fx.Node) -> object:
            value = super().run_node(n)
            if n.target is torch.ops.aten.addmm.default:
                sizes.append(len(value))
            return value

    Watch(captured.graph).run(*captured.inputs([x]))
    assert sizes == [4, 4 * TIMES]


def test_rows_that_are_all_unlike_are_told_apart(net: Net) -> None:
    """Wrongly told that rows are equal, it finds that values differ, and runs as it is."""
    x = torch.randn(4 * TIMES, 2, 2)
    repeated = Repeated(net, net)
    ours = values(lambda inputs: repeated(inputs, TIMES), x)
    torch.testing.assert_close(ours[0], values(net, x)[0])
    assert "other values" in repeated.reason


def test_many_calls_on_large_tensors_repay_compiling() -> None:
    net = Net()
    captured = capture(net, net, [torch.zeros(4000, 4)])
    assert not compiling_repays_for(captured.graph, 0)
    assert not compiling_repays_for(captured.graph, 10)
    assert compiling_repays_for(captured.graph, 10**6)


@pytest.mark.slow
def test_compiled_it_gives_the_same() -> None:
    torch.manual_seed(0)
    net, x = Net(), torch.randn(50, 2, 2)
    repeated = Repeated(net, net, num_calls=10**9)
    for ours, theirs in zip(values(repeated, x), values(net, x), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)
