"""The derivative of one step of a recurrence: a graph forward, and a graph backward."""

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from vaezoo.engine.reduction import outputs_of, placeholders, simplify

__all__ = ["Derivative", "Product", "differentiate", "product_of", "subgraph"]

aten = torch.ops.aten

Key = tuple[str, int]


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
        positions = {product.weight for product in self.products} | set(self.direct)
        return tuple(sorted(positions | {p.bias for p in self.products if p.bias is not None}))

    @property
    def num_operations(self) -> int:
        """Operations of a step, forward and backward."""
        nodes = [*self.forward.graph.nodes, *self.backward.graph.nodes]
        return sum(node.op == "call_function" for node in nodes)


def differentiate(
    step: fx.GraphModule, num_rows: int, trainable: Sequence[bool], noise: Sequence[int]
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
    nodes = placeholders(step.graph)
    inputs, constants = [_like(node) for node in nodes], nodes[num_rows:]
    tangents = [_like(node) for node in outputs_of(step.graph)]
    factors = _factors(step.graph, constants)
    direct = [i for i in _used_directly(constants, factors) if trainable[i]]
    joint = _Joint(step, num_rows, len(inputs), factors, direct, noise)
    graph = make_fx(joint.run)(*inputs, *tangents).graph
    # Autograd hands on what it saved through detach; without such nodes it crosses as one value.
    simplify(graph)
    graph.eliminate_dead_code()
    return _split(graph, joint)


def _like(node: fx.Node) -> Tensor:
    value = node.meta["val"]
    return torch.zeros(value.shape, dtype=value.dtype, device=value.device)


def product_of(node: fx.Node) -> tuple[Any, Any, Any]:
    """Return bias (or None), input and weight of a product of matrices; all None for another."""
    if node.target is aten.addmm.default and not node.kwargs:
        return node.args[0], node.args[1], node.args[2]
    if node.target is aten.mm.default and not node.kwargs:
        return None, node.args[0], node.args[1]
    return None, None, None


def _factors(step: fx.Graph, constants: Sequence[fx.Node]) -> dict[str, tuple[int, int | None]]:
    """Return the numbers of weight and bias of every product with a constant, by its name."""
    numbers: dict[Any, int] = {node: i for i, node in enumerate(constants)}
    factors: dict[str, tuple[int, int | None]] = {}
    for node in step.nodes:
        bias, _, weight = product_of(node)
        if weight in numbers:
            # The gradient of a bias is a sum over rows, which holds for vectors only.
            is_vector = bias in numbers and len(bias.meta["val"].shape) == 1
            factors[node.name] = (numbers[weight], numbers[bias] if is_vector else None)
    return factors


def _used_directly(
    constants: Sequence[fx.Node], factors: Mapping[str, tuple[int, int | None]]
) -> list[int]:
    """Return the numbers of the constants that are used otherwise than in products."""
    return [
        i
        for i, node in enumerate(constants)
        if any(user.name not in factors or i not in factors[user.name] for user in node.users)
    ]


class _Recorder(fx.Interpreter):
    """Runs a step, and cuts the products with constants loose from these.

    The gradient of a weight is then no part of a step backward: a product is a leaf behind which
    autograd stops, and its input, kept beside it, gives the gradient of the weight after the loop.
    """

    def __init__(self, step: fx.GraphModule, factors: Mapping[str, tuple[int, int | None]]) -> None:
        super().__init__(step)
        self.factors = factors
        self.products: dict[str, tuple[Tensor, Tensor]] = {}

    def run_node(self, n: fx.Node) -> Any:
        if n.name not in self.factors:
            return super().run_node(n)
        args, _ = self.fetch_args_kwargs_from_env(n)
        *addend, a, weight = args
        bias = self.factors[n.name][1]
        addend = [value if bias is None else value.detach() for value in addend]
        y = n.target(*addend, a, weight.detach())  # type: ignore[operator]
        if not y.requires_grad:  # as where a step detaches its input
            y = y.detach().requires_grad_()
        self.products[n.name] = (a, y)
        return y


class _Joint:
    """A step forward and, behind it, the step backward: what is recorded as one graph.

    Attributes
    ----------
    kept
        What the gradients are of that there are: rows, products and constants, by their numbers.
    """

    def __init__(
        self,
        step: fx.GraphModule,
        num_rows: int,
        num_inputs: int,
        factors: Mapping[str, tuple[int, int | None]],
        direct: Sequence[int],
        noise: Sequence[int],
    ) -> None:
        self.step = step
        self.num_rows = num_rows
        self.num_inputs = num_inputs
        self.factors = factors
        self.direct = direct
        self.noise = noise
        self.kept: list[Key] = []

    def run(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        """Return ``(*ends, *inputs of products, dh, *gradients)``."""
        rows = [row.detach().requires_grad_() for row in tensors[: self.num_rows]]
        constants = [value.detach() for value in tensors[self.num_rows : self.num_inputs]]
        for i in self.direct:
            constants[i].requires_grad_()
        recorder = _Recorder(self.step, self.factors)
        with torch.enable_grad():
            ends = recorder.run(*rows, *constants)
            products = list(recorder.products.values())
            wanted = self._wanted(rows, [y for _, y in products], constants)
            gradients = _gradients(ends, tensors[self.num_inputs :], list(wanted.values()))
        by_key = dict(zip(wanted, gradients, strict=True))
        first = by_key.pop(("row", -1))
        self.kept = [key for key, value in by_key.items() if value is not None]
        dh = torch.zeros_like(rows[0]) if first is None else first
        kept = [value for value in by_key.values() if value is not None]
        return *ends, *(a for a, _ in products), dh, *kept

    def _wanted(
        self, rows: Sequence[Tensor], products: Sequence[Tensor], constants: Sequence[Tensor]
    ) -> dict[Key, Tensor]:
        wanted: dict[Key, Tensor] = {
            ("row", i - 1): row for i, row in enumerate(rows) if i - 1 not in self.noise
        }
        wanted |= {("product", k): y for k, y in enumerate(products)}
        return wanted | {("direct", i): constants[i] for i in self.direct}


def _gradients(
    ends: Sequence[Tensor], tangents: Sequence[Tensor], wanted: Sequence[Tensor]
) -> tuple[Tensor | None, ...]:
    pairs = [pair for pair in zip(ends, tangents, strict=True) if pair[0].requires_grad]
    outputs, grad_outputs = [end for end, _ in pairs], [tangent for _, tangent in pairs]
    return torch.autograd.grad(outputs, wanted, grad_outputs, allow_unused=True)


def _split(graph: fx.Graph, joint: _Joint) -> Derivative:
    """Split the joint graph into a step forward and a step backward."""
    nodes, ends = placeholders(graph), outputs_of(graph)
    inputs, tangents = nodes[: joint.num_inputs], nodes[joint.num_inputs :]
    num_ends = len(tangents)
    num_values = num_ends + len(joint.factors)
    ahead, back = ends[:num_values], ends[num_values:]
    early = _ancestors(graph, ahead)
    late = _ancestors(graph, back) - early
    crossing = _crossing(graph, early | {inputs[0]}, late, back)
    values = list(dict.fromkeys([*ahead[1:], *crossing]))
    of_products = [values.index(node) for node in ahead[num_ends:]]
    factors = list(joint.factors.values())
    return Derivative(
        forward=subgraph(graph, inputs, early, [ahead[0], *values]),
        outputs=tuple(values.index(node) for node in ahead[1:num_ends]),
        saved=tuple(values.index(node) for node in crossing),
        backward=subgraph(graph, [*tangents, *crossing, *inputs[1:]], late, back),
        rows=tuple(i for what, i in joint.kept if what == "row"),
        products=tuple(
            Product(of_products[k], *factors[k]) for what, k in joint.kept if what == "product"
        ),
        direct=tuple(i for what, i in joint.kept if what == "direct"),
        shapes=tuple(node.meta["val"].shape for node in values),
    )


def _crossing(
    graph: fx.Graph, early: set[fx.Node], late: set[fx.Node], back: Sequence[fx.Node]
) -> list[fx.Node]:
    """Return what is made early and read late, in the order of the graph."""
    return [
        node
        for node in graph.nodes
        if node in early and (node in back or any(user in late for user in node.users))
    ]


def _ancestors(graph: fx.Graph, ends: Sequence[fx.Node]) -> set[fx.Node]:
    """Return the calls that some nodes depend on, themselves included."""
    nodes = set(ends)
    for node in reversed(graph.nodes):
        if node in nodes:
            nodes.update(node.all_input_nodes)
    # An operation of several results is not to be torn apart: all of them stay on its side.
    for node in graph.nodes:
        if node.target is operator.getitem and node.args[0] in nodes:
            nodes.add(node)
    return {node for node in nodes if node.op == "call_function"}


def subgraph(
    graph: fx.Graph, inputs: Sequence[fx.Node], calls: set[fx.Node], ends: Sequence[fx.Node]
) -> fx.GraphModule:
    """Return some calls of a graph as one of their own, from some nodes to others.

    What is among the inputs is one, though it is a call of the whole graph.
    """
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
