"""The derivative of one step of a recurrence: a graph forward, and a graph backward."""

import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from vaezoo.engine.reduction import simplify

__all__ = ["Derivative", "Product", "differentiate"]

aten = torch.ops.aten


@dataclass(frozen=True)
class Product:
    """A product inside a step, ``a @ constants[weight] + constants[bias]``.

    ``a`` is the position of its input among the values that a step forward gives; ``bias`` is None
    where what is added is no constant.
    """

    a: int
    weight: int
    bias: int | None


@dataclass(frozen=True)
class Derivative:
    """A step forward and a step backward.

    Attributes
    ----------
    forward
        From ``(h, *rows, *constants)`` to ``(h', *values)``.
    outputs
        Positions of the step's outputs among the values.
    saved
        Positions of the values that a step backward needs.
    backward
        From ``(dh', *gradients of outputs, *saved, *rows, *constants)`` to ``(dh, *gradients)``:
        of ``rows``, of what came out of the ``products``, and of the constants ``direct``.
    rows, products, direct
        What has a gradient: positions of rows, products, and positions of the constants that are
        used otherwise than in products.
    shapes
        Of the values.
    """

    forward: fx.GraphModule
    outputs: tuple[int, ...]
    saved: tuple[int, ...]
    backward: fx.GraphModule
    rows: tuple[int, ...]
    products: tuple[Product, ...]
    direct: tuple[int, ...]
    shapes: tuple[torch.Size, ...]

    @property
    def constants(self) -> tuple[int, ...]:
        """Positions of the constants that have a gradient."""
        found = {product.weight for product in self.products} | set(self.direct)
        return tuple(sorted(found | {p.bias for p in self.products if p.bias is not None}))

    @property
    def num_operations(self) -> int:
        """Operations of a step, forward and backward."""
        nodes = [*self.forward.graph.nodes, *self.backward.graph.nodes]
        return sum(node.op == "call_function" for node in nodes)


class _Recorder(fx.Interpreter):
    """Runs a step, and keeps what went into every product with a weight, and what came out.

    A weight has no gradient there.
    """

    def __init__(self, graph: fx.GraphModule, weights: dict[str, tuple[int, int | None]]) -> None:
        super().__init__(graph)
        self.weights = weights
        self.products: dict[str, tuple[Tensor, Tensor]] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.name not in self.weights:
            return super().run_node(n)
        args, _ = self.fetch_args_kwargs_from_env(n)
        *addend, a, weight = args
        bias = self.weights[n.name][1]
        addend = [value if bias is None else value.detach() for value in addend]
        y = n.target(*addend, a, weight.detach())  # type: ignore[operator]
        if not y.requires_grad:
            y = y.detach().requires_grad_()
        self.products[n.name] = (a, y)
        return y


def differentiate(
    step: fx.Graph, num_rows: int, trainable: Sequence[bool], noise: Sequence[int]
) -> Derivative:
    """Differentiate a step; call it in the fake mode that its nodes are described in.

    Parameters
    ----------
    step
        From ``(h, *rows, *constants)``, ``num_rows`` of them before the constants, to
        ``(h', *outputs)``.
    num_rows
        Number of h and rows.
    trainable
        Which constants have a gradient.
    noise
        Positions of the rows that need none.
    """
    module = fx.GraphModule({}, step)
    inputs = [_like(node) for node in step.nodes if node.op == "placeholder"]
    (ends,) = [node.args[0] for node in step.nodes if node.op == "output"]
    tangents = [_like(node) for node in ends]
    weights = _weights(step, num_rows)
    direct = [i for i in _used_directly(step, num_rows, weights) if trainable[i]]
    kept: list[tuple[str, int]] = []
    num_values = len(ends) + len(weights)

    def joint(*tensors: Tensor) -> tuple[Tensor, ...]:
        rows = [row.detach().requires_grad_() for row in tensors[:num_rows]]
        constants = [value.detach() for value in tensors[num_rows : len(inputs)]]
        for i in direct:
            constants[i].requires_grad_()
        recorder = _Recorder(module, weights)
        with torch.enable_grad():
            outputs = recorder.run(*rows, *constants)
            wanted = {("row", i - 1): row for i, row in enumerate(rows) if i - 1 not in noise}
            products = list(recorder.products.values())
            wanted.update({("product", k): y for k, (_, y) in enumerate(products)})
            wanted.update({("direct", i): constants[i] for i in direct})
            pairs = zip(outputs, tensors[len(inputs) :], strict=True)
            of = [(output, tangent) for output, tangent in pairs if output.requires_grad]
            gradients = torch.autograd.grad(
                [output for output, _ in of],
                list(wanted.values()),
                [tangent for _, tangent in of],
                allow_unused=True,
            )
        found = dict(zip(wanted, gradients, strict=True))
        first = found.pop(("row", -1))
        kept[:] = [key for key, value in found.items() if value is not None]
        dh = torch.zeros_like(rows[0]) if first is None else first
        return *outputs, *(a for a, _ in products), dh, *(found[key] for key in kept)

    graph = make_fx(joint)(*inputs, *tangents).graph
    simplify(graph)
    graph.eliminate_dead_code()
    return _split(graph, num_rows, len(inputs), len(ends), num_values, weights, kept)


def _like(node: fx.Node) -> Tensor:
    value = node.meta["val"]
    return torch.zeros(value.shape, dtype=value.dtype, device=value.device)


def _weights(step: fx.Graph, num_rows: int) -> dict[str, tuple[int, int | None]]:
    """Return the numbers of weight and bias of every product with a constant, by its name."""
    constants = [node for node in step.nodes if node.op == "placeholder"][num_rows:]
    numbers = {node: i for i, node in enumerate(constants)}
    found = {}
    for node in step.nodes:
        is_product = node.target in (aten.addmm.default, aten.mm.default)
        if is_product and not node.kwargs and node.args[-1] in numbers:
            bias = numbers.get(node.args[0]) if node.target is aten.addmm.default else None
            is_vector = bias is not None and len(node.args[0].meta["val"].shape) == 1
            found[node.name] = (numbers[node.args[-1]], bias if is_vector else None)
    return found


def _used_directly(
    step: fx.Graph, num_rows: int, weights: dict[str, tuple[int, int | None]]
) -> list[int]:
    constants = [node for node in step.nodes if node.op == "placeholder"][num_rows:]
    used = []
    for i, node in enumerate(constants):
        users = [u for u in node.users if u.name not in weights or i not in weights[u.name]]
        if users:
            used.append(i)
    return used


def _split(
    graph: fx.Graph,
    num_rows: int,
    num_inputs: int,
    num_ends: int,
    num_values: int,
    weights: dict[str, tuple[int, int | None]],
    kept: Sequence[tuple[str, int]],
) -> Derivative:
    """Split the joint graph into a step forward and a step backward."""
    placeholders = [node for node in graph.nodes if node.op == "placeholder"]
    (ends,) = [node.args[0] for node in graph.nodes if node.op == "output"]
    forward, backward = ends[:num_values], ends[num_values:]
    early = _ancestors(graph, forward)
    h, rows = placeholders[0], placeholders[1:num_rows]
    given = {*rows, *placeholders[num_rows:]}
    late = _ancestors(graph, backward) - early
    crossing = [
        node
        for node in graph.nodes
        if (node in early or node is h)
        and node not in given
        and (node in backward or any(user in late for user in node.users))
    ]
    values = list(dict.fromkeys([*forward[1:], *crossing]))
    constants = placeholders[num_rows:num_inputs]
    saved = [values.index(node) for node in crossing]
    ahead = _subgraph(graph, [h, *rows, *constants], early, [forward[0], *values])
    tangents = placeholders[num_inputs:]
    back = _subgraph(graph, [*tangents, *crossing, *rows, *constants], late, list(backward))
    numbers = list(weights.values())
    inputs = [values.index(node) for node in forward[num_ends:]]
    products = {k: Product(inputs[k], *numbers[k]) for what, k in kept if what == "product"}
    return Derivative(
        forward=ahead,
        outputs=tuple(values.index(node) for node in forward[1:num_ends]),
        saved=tuple(saved),
        backward=back,
        rows=tuple(i for what, i in kept if what == "row"),
        products=tuple(products.values()),
        direct=tuple(i for what, i in kept if what == "direct"),
        shapes=tuple(node.meta["val"].shape for node in values),
    )


def _ancestors(graph: fx.Graph, ends: Sequence[fx.Node]) -> set[fx.Node]:
    """Return the calls that some nodes depend on, themselves included."""
    found = set(ends)
    for node in reversed(graph.nodes):
        if node in found:
            found.update(node.all_input_nodes)
    for node in graph.nodes:
        if node.target is operator.getitem and node.args[0] in found:
            found.add(node)
    return {node for node in found if node.op == "call_function"}


def _subgraph(
    graph: fx.Graph, inputs: Sequence[fx.Node], calls: set[fx.Node], ends: Sequence[fx.Node]
) -> fx.GraphModule:
    new = fx.Graph()
    values: dict[fx.Node, fx.Node] = {}
    for i, node in enumerate(inputs):
        values[node] = new.placeholder(f"input_{i}")
        values[node].meta = dict(node.meta)
    for node in graph.nodes:
        if node in calls and node not in values:
            values[node] = new.node_copy(node, lambda n: values[n])
    new.output(tuple(values[node] for node in ends))
    new.eliminate_dead_code()
    return fx.GraphModule({}, new)
