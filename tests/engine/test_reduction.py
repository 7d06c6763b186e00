"""Smaller graphs: what changes nothing goes, what changes something stays, values are the same."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from vaezoo.engine.reduction import reduce_graph

Function = Callable[..., Any]


def results(function: Function, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
    outputs = function(*inputs)
    return (outputs,) if isinstance(outputs, Tensor) else tuple(outputs)


def traced(function: Function, inputs: Sequence[Tensor]) -> fx.GraphModule:
    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        return results(function, tensors)

    return make_fx(flat)(*[tensor.clone() for tensor in inputs])


def reduced(function: Function, *inputs: Tensor) -> fx.GraphModule:
    return reduce_graph(traced(function, inputs), [tensor.clone() for tensor in inputs])


def operations(graph: fx.GraphModule) -> Counter[str]:
    """Count the operations by their name in ATen, as ``mul``."""
    nodes = [node for node in graph.graph.nodes if node.op == "call_function"]
    return Counter(str(node.target).split(".")[1] for node in nodes)


def require_same(function: Function, *inputs: Tensor) -> fx.GraphModule:
    """Fail unless results, changed inputs and generators are those of the function, two calls on.

    The graph is made from other values than it is tried with.
    """
    graph = reduced(function, *[torch.ones_like(tensor) for tensor in inputs])
    ours, theirs = ([tensor.clone() for tensor in inputs] for _ in range(2))
    for seed in range(2):
        torch.manual_seed(seed)
        expected = results(function, theirs)
        state = torch.get_rng_state()
        torch.manual_seed(seed)
        for one, other in zip((*graph(*ours), *ours), (*expected, *theirs), strict=True):
            torch.testing.assert_close(one, other, rtol=0.0, atol=0.0, equal_nan=True)
        assert torch.equal(torch.get_rng_state(), state)
    return graph


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 3)


# What goes

NOTHING: dict[str, Function] = {
    "view": lambda x: x.view(4, 3).sin(),
    "reshape": lambda x: x.reshape(4, 3).sin(),
    "expand": lambda x: x.expand(4, 3).sin(),
    "detach": lambda x: x.detach().sin(),
    "twice-transposed": lambda x: x.t().t().sin(),
    "twice-negated": lambda x: x.neg().neg().sin(),
    "times-1": lambda x: (x * 1.0).sin(),
    "times-whole-1": lambda x: (x * 1).sin(),
    "by-1": lambda x: (x / 1.0).sin(),
    "plus-0": lambda x: (x + 0.0).sin(),
    "minus-0": lambda x: (x - 0).sin(),
    "to-the-power-1": lambda x: (x**1.0).sin(),
    "several": lambda x: ((x.view(4, 3) * 1.0).expand(4, 3) + 0).sin(),
    "unused": lambda x: (x.cos(), x.sin())[1],
}


@pytest.mark.parametrize("function", NOTHING.values(), ids=NOTHING)
def test_what_changes_nothing_goes(function: Function, x: Tensor) -> None:
    assert operations(require_same(function, x)) == {"sin": 1}


def test_a_repetition_goes(x: Tensor) -> None:
    graph = require_same(lambda x: x.sin() * x.cos() + x.sin(), x)
    assert operations(graph) == {"sin": 1, "cos": 1, "mul": 1, "add": 1}


def test_repeated_networks_are_computed_once(x: Tensor) -> None:
    """As an encoder that model and guide share."""
    weight = torch.randn(3, 3)
    graph = require_same(
        lambda x, weight: torch.tanh(x @ weight).sum() + torch.tanh(x @ weight).mean(), x, weight
    )
    assert operations(graph)["mm"] == operations(graph)["tanh"] == 1


# What stays

SOMETHING: dict[str, tuple[Function, str]] = {
    "view-to-another-shape": (lambda x: x.view(3, 4), "view"),
    "expand-to-another-shape": (lambda x: x[:1].expand(4, 3), "expand"),
    "once-transposed": (lambda x: x.t(), "t"),
    "times-2": (lambda x: x * 2.0, "mul"),
    "by-2": (lambda x: x / 2.0, "div"),
    "plus-1": (lambda x: x + 1.0, "add"),
    "1-minus": (lambda x: 0.0 - x, "rsub"),
    "squared": (lambda x: x**2.0, "pow"),
    "plus-a-row": (lambda x: x + torch.zeros(1), "add"),
}


@pytest.mark.parametrize(("function", "name"), SOMETHING.values(), ids=SOMETHING)
def test_what_changes_something_stays(function: Function, name: str, x: Tensor) -> None:
    assert operations(require_same(function, x))[name] == 1


PROMOTIONS: dict[str, Function] = {
    "times-1": lambda n: n * 1.0,
    "by-1": lambda n: n / 1,
    "plus-0": lambda n: n + 0.0,
    "minus-0": lambda n: n - 0.0,
    "to-the-power-1": lambda n: n**1.0,
}


@pytest.mark.parametrize("dtype", [torch.int64, torch.bool, torch.float16])
@pytest.mark.parametrize("case", PROMOTIONS)
def test_a_change_of_dtype_stays(case: str, dtype: torch.dtype) -> None:
    function, n = PROMOTIONS[case], torch.tensor([0, 1, 1]).to(dtype)
    if not (dtype is torch.bool and case in ("minus-0", "to-the-power-1")):  # not defined
        assert require_same(function, n)(n)[0].dtype is function(n).dtype


def test_a_change_of_shape_by_a_neutral_number_stays(x: Tensor) -> None:
    require_same(lambda x: x * torch.ones(2, 1, 1), x)


def test_numbers_that_are_tensors_stay(x: Tensor) -> None:
    """A weight of 1 may be another one in the next step."""
    graph = reduced(lambda x, weight: x * weight, x, torch.ones(()))
    assert torch.equal(graph(x, torch.tensor(3.0))[0], 3 * x)


# Noise

NOISE: dict[str, Function] = {
    "rand": lambda x: torch.rand(4, 3) + torch.rand(4, 3),
    "randn": lambda x: torch.randn(4, 3) + torch.randn(4, 3),
    "rand_like": lambda x: torch.rand_like(x) + torch.rand_like(x),
    "randn_like": lambda x: torch.randn_like(x) + torch.randn_like(x),
    "randint": lambda x: torch.randint(9, (4,)) + torch.randint(9, (4,)),
    "randint_like": lambda x: torch.randint_like(x, 9) + torch.randint_like(x, 9),
    "randperm": lambda x: torch.randperm(9) + torch.randperm(9),
    "normal": lambda x: torch.normal(x, 1.0) + torch.normal(x, 1.0),
    "bernoulli": lambda x: torch.bernoulli(x.sigmoid()) + torch.bernoulli(x.sigmoid()),
    "multinomial": lambda x: x.exp().multinomial(2) + x.exp().multinomial(2),
    "poisson": lambda x: torch.poisson(x.exp()) + torch.poisson(x.exp()),
    "gamma": lambda x: torch._standard_gamma(x.exp()) + torch._standard_gamma(x.exp()),
    "dirichlet": lambda x: torch._sample_dirichlet(x.exp()) + torch._sample_dirichlet(x.exp()),
    "binomial": lambda x: (
        torch.binomial(torch.full_like(x, 9.0), x.sigmoid())
        + torch.binomial(torch.full_like(x, 9.0), x.sigmoid())
    ),
    "dropout": lambda x: torch.nn.functional.dropout(x, 0.5) + torch.nn.functional.dropout(x, 0.5),
    "uniform_": lambda x: torch.empty(4).uniform_() + torch.empty(4).uniform_(),
    "exponential_": lambda x: (
        torch.empty_like(x).exponential_() + torch.empty_like(x).exponential_()
    ),
    "normal_": lambda x: x.new_empty(4).normal_() + x.new_empty(4).normal_(),
    "bernoulli_": lambda x: (
        torch.empty_like(x).bernoulli_(0.5) + torch.empty_like(x).bernoulli_(0.5)
    ),
    "cauchy_": lambda x: x.new(4).cauchy_() + x.new(4).cauchy_(),
    "on-zeros": lambda x: torch.zeros(4).normal_() + torch.zeros(4).normal_(),
}


@pytest.mark.parametrize("with_mutation", [False, True], ids=["", "and-a-mutation"])
@pytest.mark.parametrize("function", NOISE.values(), ids=NOISE)
def test_two_draws_stay_two(function: Function, with_mutation: bool, x: Tensor) -> None:
    """Even if they are spelt the same; where an input is changed the graph is rewritten first."""

    def changing(x: Tensor, count: Tensor) -> Tensor:
        count.add_(1)
        return torch.as_tensor(function(x))

    if with_mutation:
        require_same(changing, x, torch.zeros(()))
    else:
        require_same(function, x)


@pytest.mark.parametrize("with_mutation", [False, True], ids=["", "and-a-mutation"])
@pytest.mark.parametrize("function", NOISE.values(), ids=NOISE)
def test_unused_draws_stay(function: Function, with_mutation: bool, x: Tensor) -> None:
    """Or else the noise after them would be other noise."""

    def wasteful(x: Tensor, count: Tensor) -> Tensor:
        function(x)
        if with_mutation:
            count.add_(1)
        return x + torch.rand(())

    require_same(wasteful, x, torch.zeros(()))


def test_noise_comes_in_its_order(x: Tensor) -> None:
    require_same(lambda x: (torch.randn(3), torch.rand(3) * 1.0, torch.randn(3)), x)


# Changes in place


def add_to_a_view(x: Tensor) -> Tensor:
    y = x.cos()
    y.view(-1).add_(1)
    return y.sin()


def add_to_a_detached_tensor(x: Tensor) -> Tensor:
    y = x.cos()
    y.detach().add_(1)
    return y.sin()


def add_between_two_uses(x: Tensor) -> Tensor:
    y = x.cos()
    first = y * 2
    y.add_(1)
    return first + y * 2


def add_to_a_row(x: Tensor) -> Tensor:
    y = x.cos()
    y[0].mul_(3)
    y[:, 1] = 0.0
    return y.sum()


def add_to_a_copy(x: Tensor) -> Tensor:
    y = x.clone()
    y.add_(1)
    return x + y


def change_one_of_two_equal_tensors(x: Tensor) -> Tensor:
    a, b = x.cos(), x.cos()
    a.add_(1)
    return a * b


def change_a_neutral_result(x: Tensor) -> Tensor:
    """``x * 1.0`` is a new tensor, and not x."""
    y = x.cos()
    z = y * 1.0
    z.add_(5)
    return y + z


CHANGES: dict[str, Function] = {
    function.__name__: function
    for function in (
        add_to_a_view,
        add_to_a_detached_tensor,
        add_between_two_uses,
        add_to_a_row,
        add_to_a_copy,
        change_one_of_two_equal_tensors,
        change_a_neutral_result,
    )
}


@pytest.mark.parametrize("function", CHANGES.values(), ids=CHANGES)
def test_changes_in_place_keep_their_meaning(function: Function, x: Tensor) -> None:
    graph = require_same(function, x)
    assert not any(name.endswith("_") for name in operations(graph))


def count_up(x: Tensor, count: Tensor) -> Tensor:
    count.add_(1)
    return x * count


def count_up_twice(x: Tensor, count: Tensor) -> Tensor:
    count.add_(1)
    y = x * count
    count.mul_(2)
    return y + count


def change_a_row_of_an_input(x: Tensor, table: Tensor) -> Tensor:
    table[0].add_(x.sum())
    return table.sum() * x


def change_through_detach(x: Tensor, average: Tensor) -> Tensor:
    average.detach().lerp_(x.mean(), 0.1)
    return x - average


def read_before_the_change(x: Tensor, average: Tensor) -> Tensor:
    centred = x - average
    average.copy_(x.mean())
    return centred


def return_what_was_before_the_change(x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    before = count * 1.0
    count.add_(1)
    return before, count + 0.0


def return_the_input(x: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    count.add_(1)
    return x, count


def change_in_vain(x: Tensor, count: Tensor) -> Tensor:
    count.add_(0.0)
    return x.sin()


CHANGED_INPUTS: dict[str, Function] = {
    function.__name__: function
    for function in (
        count_up,
        count_up_twice,
        change_through_detach,
        read_before_the_change,
        return_the_input,
        return_what_was_before_the_change,
        change_in_vain,
    )
}


@pytest.mark.parametrize("function", CHANGED_INPUTS.values(), ids=CHANGED_INPUTS)
def test_a_change_of_an_input_is_one_copy(function: Function, x: Tensor) -> None:
    graph = require_same(function, x, torch.ones(()))
    nodes = [node for node in graph.graph.nodes if node.op == "call_function"]
    changing = [str(node.target) for node in nodes if node.target._schema.is_mutable]
    assert changing == ["aten.copy_.default"]


def test_a_change_of_a_part_of_an_input_reaches_it(x: Tensor) -> None:
    require_same(change_a_row_of_an_input, x, torch.zeros(2, 3))


def test_several_inputs_are_changed(x: Tensor) -> None:
    def update(x: Tensor, mean: Tensor, square: Tensor) -> Tensor:
        mean.lerp_(x.mean(), 0.5)
        square.lerp_(x.square().mean(), 0.5)
        return (x - mean) / square.sqrt()

    assert operations(require_same(update, x, torch.zeros(()), torch.ones(())))["copy_"] == 2


def test_a_graph_without_changes_is_not_run(x: Tensor) -> None:
    state = torch.get_rng_state()
    graph = traced(lambda x: x + torch.rand(()), [x])
    torch.set_rng_state(state)
    reduce_graph(graph, [x])
    assert torch.equal(torch.get_rng_state(), state)


# Outputs


def test_outputs_share_no_memory(x: Tensor) -> None:
    """Whoever changes one, as an optimiser may, changes no other one and no input."""
    weight = torch.ones(())

    def outputs(x: Tensor) -> tuple[Tensor, ...]:
        y = x.sin()
        return y, y * 1.0, y.view(3, 4), x, x.detach(), x[0], weight * 1.0, x.sin()

    graph, before = reduced(outputs, x), x.clone()
    expected = [result.clone() for result in outputs(x)]
    outputs = graph(x)
    for number in range(len(outputs)):
        outputs[number].add_(1.0)
        for other in range(number + 1, len(outputs)):
            assert torch.equal(outputs[other], expected[other]), (number, other)
    assert torch.equal(x, before)
    assert float(weight) == 1.0


# Any program

UNARY: list[Function] = [
    lambda a: a.sin(),
    lambda a: a * 1.0,
    lambda a: a + 0.0,
    lambda a: -a,
    lambda a: a.t().contiguous().t(),
    lambda a: a.view(4, 3),
    lambda a: a.expand(4, 3),
    lambda a: a.detach(),
    lambda a: a.clone(),
    lambda a: a + torch.randn_like(a),
    lambda a: a * torch.rand(4, 3),
    lambda a: a**1.0,
    lambda a: a / 1,
]
IN_PLACE: list[Function] = [
    lambda a: a.add_(1.0),
    lambda a: a.mul_(0.5),
    lambda a: a[0].add_(1.0),
    lambda a: a.detach().mul_(1.0),
    lambda a: a.t().sub_(0.25),
]


@pytest.mark.parametrize("seed", range(25))
def test_any_program_keeps_its_values(seed: int, x: Tensor) -> None:
    """Twelve random lines on a growing list of tensors, two of which are inputs."""
    generator = torch.Generator().manual_seed(seed)

    def pick(number: int) -> int:
        return int(torch.randint(number, (), generator=generator))

    lines = [(pick(3), pick(100), pick(100), pick(100)) for _ in range(12)]

    def program(x: Tensor, y: Tensor) -> list[Tensor]:
        values = [x, y]
        for kind, which, one, other in lines:
            a, b = values[one % len(values)], values[other % len(values)]
            if kind == 0:
                values.append(UNARY[which % len(UNARY)](a))
            elif kind == 1:
                values.append(a + b)
            else:
                IN_PLACE[which % len(IN_PLACE)](a)
        return values

    require_same(program, x, torch.randn(4, 3))
