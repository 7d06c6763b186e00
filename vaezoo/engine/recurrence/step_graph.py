"""One step of a recurrence as a graph, ready for backpropagation through time.

What does not depend on the past leaves the loop: noise is drawn for all steps at once, what is made
of parameters alone is computed once (*constants*), and products of a step's inputs with weights are
one product for all steps. What remains becomes a graph of a step forward and one of a step
backward. Gradients of weights are in neither: what went into every product, and the gradient of
what came out of it, give them in one product after the loop.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyro
import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from vaezoo.engine.capture import one_fake_mode
from vaezoo.engine.recurrence.step_derivative import (
    Derivative,
    differentiate,
    product_of,
    subgraph,
)
from vaezoo.engine.reduction import (
    changes,
    is_random,
    outputs_of,
    placeholders,
    simplify,
    without_mutations,
)

__all__ = ["Hoisted", "NotPlannedError", "StepFunction", "StepGraph", "step_graph"]

aten = torch.ops.aten

_NOISE = (aten.normal_.default, aten.randn.default)

StepFunction = Callable[..., tuple[Tensor, ...]]


class NotPlannedError(Exception):
    """A step cannot be taken apart. The message is a clause: what it does."""


@dataclass(frozen=True)
class Hoisted:
    """A product of an input of all steps: ``inputs[index] @ constants[weight] + constants[bias]``.

    ``bias`` is None where nothing is added.
    """

    index: int
    weight: int
    bias: int | None


@dataclass(frozen=True)
class StepGraph:
    """A step taken apart.

    Attributes
    ----------
    constants
        From the parameters to the constants.
    noise
        Shapes of the standard normal draws of a step.
    hoisted
        Products that are inputs of a step, behind its own inputs and the noise.
    derivative
        A step forward and a step backward, as functions of ``(h, *rows, *constants)``; the rows
        are inputs, noise, and hoisted products.
    num_constants
        How many there are.
    """

    constants: fx.GraphModule
    noise: tuple[torch.Size, ...]
    hoisted: tuple[Hoisted, ...]
    derivative: Derivative
    num_constants: int


def step_graph(
    step: StepFunction, h: Tensor, inputs: Sequence[Tensor], parameters: Sequence[Tensor]
) -> StepGraph:
    """Take a step apart.

    Parameters
    ----------
    step
        From ``(h, *inputs)`` to ``(h', *outputs)``.
    h
        A state ``(B, H)``.
    inputs
        The inputs of one step.
    parameters
        Parameters and buffers that the step may use.

    Raises
    ------
    NotPlannedError
        When the step draws anything but normal noise, changes something, or uses a tensor that is
        no parameter.
    """
    with one_fake_mode():
        graph, noise = _trace(step, h, inputs, parameters)
        num_rows = 1 + len(inputs) + len(noise)
        lifted = _hoist(graph, len(inputs), num_rows)
        # Only now: a product that leaves the loop makes the rows of its weight constants.
        constants, rest, numbers = _apart(graph, num_rows + len(lifted), lifted)
        trainable = [value.requires_grad for value in constants(*parameters)]
        derivative = differentiate(
            rest, num_rows + len(lifted), trainable, range(len(inputs), num_rows - 1)
        )
    hoisted = tuple(
        Hoisted(row.position, numbers[row.weight], None if row.bias is None else numbers[row.bias])
        for row in lifted
    )
    return StepGraph(constants, noise, hoisted, derivative, len(trainable))


def _trace(
    step: StepFunction, h: Tensor, inputs: Sequence[Tensor], parameters: Sequence[Tensor]
) -> tuple[fx.Graph, tuple[torch.Size, ...]]:
    """Record a step; its placeholders are h, inputs, noise, parameters."""
    num = 1 + len(inputs)

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        return step(*tensors[:num])

    own = [tensor.detach().clone() for tensor in (h, *inputs)]
    with pyro.validation_enabled(False), torch.no_grad():
        recorded = make_fx(flat)(*own, *parameters)
        # Before mutations are removed, which would make another operation of normal_().
        noise = _lift_noise(recorded.graph, num)
        recorded.recompile()
        if any(changes(node) for node in recorded.graph.nodes):
            zeros = [torch.zeros(shape, dtype=h.dtype, device=h.device) for shape in noise]
            recorded = without_mutations(recorded, [*own, *zeros, *parameters])
    simplify(recorded.graph)
    recorded.graph.eliminate_dead_code()
    _refuse_what_cannot_loop(recorded.graph)
    return recorded.graph, noise


def _refuse_what_cannot_loop(graph: fx.Graph) -> None:
    if any(changes(node) or is_random(node) for node in graph.nodes):
        raise NotPlannedError("it draws other than normal noise, or changes a buffer")
    if any(node.op == "get_attr" for node in graph.nodes):
        raise NotPlannedError("it uses a tensor that belongs to no module")


def _lift_noise(graph: fx.Graph, position: int) -> tuple[torch.Size, ...]:
    """Make standard normal draws inputs, behind the first ``position`` ones."""
    shapes: list[torch.Size] = []
    last = placeholders(graph)[position - 1]
    for node in list(graph.nodes):
        is_plain = len(node.args) == 1 and not set(node.kwargs) & {"generator"}
        if node.target in _NOISE and is_plain:
            last = _new_input(graph, last, f"noise_{len(shapes)}", node)
            shapes.append(node.meta["val"].shape)
            node.replace_all_uses_with(last)
            graph.erase_node(node)
    graph.eliminate_dead_code()
    return tuple(shapes)


def _new_input(graph: fx.Graph, behind: fx.Node, name: str, like: fx.Node) -> fx.Node:
    with graph.inserting_after(behind):
        node = graph.placeholder(name)
    node.meta = dict(like.meta)
    return node


def _constant_nodes(graph: fx.Graph, num_rows: int) -> set[fx.Node]:
    """Return the nodes that depend on parameters only."""
    constant = set(placeholders(graph)[num_rows:])
    for node in graph.nodes:
        if node.op == "call_function" and all(n in constant for n in node.all_input_nodes):
            constant.add(node)
    return constant


class _Lifted(NamedTuple):
    """A product that left the loop: position of its input, nodes of its weight and its bias."""

    position: int
    weight: fx.Node
    bias: fx.Node | None


def _hoist(graph: fx.Graph, num_inputs: int, num_rows: int) -> list[_Lifted]:
    """Make products of a step's inputs with weights inputs themselves.

    ``[x, h] W + b`` becomes ``h W_h + (x W_x + b)``.
    """
    constant = _constant_nodes(graph, num_rows)
    rows = placeholders(graph)[:num_rows]
    inputs, last = rows[1 : 1 + num_inputs], rows[-1]
    lifted: list[_Lifted] = []
    for node in list(graph.nodes):
        bias, a, weight = product_of(node)
        if a is None or not all(n in constant for n in (bias, weight) if n is not None):
            continue
        parts = list(a.args[0]) if _is_concatenation(a) else [a]
        at = [position for position, part in enumerate(parts) if part in inputs]
        # One part leaves, so that what stays in the loop is one product still.
        if len(at) != 1:
            continue
        last = _new_input(graph, last, f"product_{len(lifted)}", node)
        below = _replace_product(graph, node, weight, parts, at[0], last)
        lifted.append(_Lifted(inputs.index(parts[at[0]]), below, bias))
    return lifted


def _replace_product(
    graph: fx.Graph,
    node: fx.Node,
    weight: fx.Node,
    parts: list[fx.Node],
    at: int,
    product: fx.Node,
) -> fx.Node:
    """Put the product of one part of a factor in; return the rows of the weight that it meets."""
    with graph.inserting_before(node):
        weights = _rows_of(graph, weight, parts)
        new = product
        if len(parts) > 1:
            rest = _concatenate(graph, parts[:at] + parts[at + 1 :], -1)
            others = _concatenate(graph, weights[:at] + weights[at + 1 :], 0)
            new = _call(graph, aten.addmm.default, product, rest, others)
    node.replace_all_uses_with(new)
    graph.erase_node(node)
    return weights[at]


def _is_concatenation(node: fx.Node) -> bool:
    return node.target is aten.cat.default and node.args[1:] in ((-1,), (1,))


def _rows_of(graph: fx.Graph, weight: fx.Node, parts: Sequence[fx.Node]) -> list[fx.Node]:
    """Return the rows of a weight that each part of its factor meets."""
    if len(parts) == 1:
        return [weight]
    rows, start = [], 0
    for part in parts:
        stop = start + part.meta["val"].shape[-1]
        rows.append(_call(graph, aten.slice.Tensor, weight, 0, start, stop))
        start = stop
    return rows


def _concatenate(graph: fx.Graph, nodes: list[fx.Node], dim: int) -> fx.Node:
    return nodes[0] if len(nodes) == 1 else _call(graph, aten.cat.default, nodes, dim)


def _call(graph: fx.Graph, target: Any, *args: Any) -> fx.Node:
    """Append a call, described by what it gives."""
    node = graph.call_function(target, args)
    node.meta["val"] = target(*fx.node.map_arg(args, lambda n: n.meta["val"]))
    return node


def _apart(
    graph: fx.Graph, num_rows: int, lifted: Sequence[_Lifted]
) -> tuple[fx.GraphModule, fx.GraphModule, dict[fx.Node, int]]:
    """Return the graph of the constants, that of a step as a function of them, their numbers."""
    graph.lint()
    constant = _constant_nodes(graph, num_rows)
    outside = {node for row in lifted for node in (row.weight, row.bias)}
    needed = [
        node
        for node in graph.nodes
        if node in constant and (node in outside or any(u not in constant for u in node.users))
    ]
    inputs, calls = placeholders(graph), {n for n in graph.nodes if n.op == "call_function"}
    before = subgraph(graph, inputs[num_rows:], calls & constant, needed)
    rest = subgraph(graph, [*inputs[:num_rows], *needed], calls - constant, outputs_of(graph))
    return before, rest, {node: i for i, node in enumerate(needed)}
