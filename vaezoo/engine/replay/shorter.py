"""Fewer operations that give the same bits: constants are computed once, copies not at all.

Beyond what every tier gains from (:mod:`vaezoo.engine.reduction`): a compiler does this by itself,
and a graph of many seeds needs the operations as they were.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from vaezoo.engine.reduction import changes, is_random, origin, outputs_of
from vaezoo.engine.replay.uniform import BY_ELEMENT, compute_once

__all__ = ["shorten"]

aten = torch.ops.aten

# Larger constants are computed every time rather than kept.
_MOST_ELEMENTS = 2**18
_OF_SCALARS: dict[Any, Any] = {
    aten.add.Scalar: aten.add.Tensor,
    aten.sub.Scalar: aten.sub.Tensor,
    aten.mul.Scalar: aten.mul.Tensor,
    aten.div.Scalar: aten.div.Tensor,
}
_LIKE = (aten.ones_like.default, aten.zeros_like.default, aten.full_like.default)


def shorten(graph: fx.GraphModule) -> None:
    """Compute constants, drop what broadcasting does anyway, and take norms together."""
    compute_once(graph.graph)
    _fold_constants(graph)
    _keep_numbers(graph)
    _take_norms_together(graph.graph)
    graph.graph.eliminate_dead_code(is_impure_node=_stays)


def _stays(node: fx.Node) -> bool:
    return node.is_impure() or is_random(node) or changes(node)


def _fold_constants(graph: fx.GraphModule) -> None:
    """Compute what depends on no input, and on no tensor that anybody could change."""
    changed = {origin(node.args[0]) for node in graph.graph.nodes if changes(node)}
    values: dict[fx.Node, Tensor] = {}
    for node in graph.graph.nodes:
        if _is_constant(node, values) and origin(node) not in changed:
            args, kwargs = fx.node.map_arg((node.args, node.kwargs), partial(_value_of, values))
            values[node] = node.target(*args, **kwargs)
    outputs = set(map(origin, outputs_of(graph.graph)))
    for node, value in values.items():
        # What is given away may be written to.
        if origin(node) not in outputs and any(user not in values for user in node.users):
            _replace(graph, node, value)


def _is_constant(node: fx.Node, values: dict[fx.Node, Tensor]) -> bool:
    value = node.meta.get("val")
    return (
        node.op == "call_function"
        and isinstance(node.target, OpOverload)
        and node.target.namespace == "aten"
        and isinstance(value, Tensor)
        and value.numel() <= _MOST_ELEMENTS
        and not _stays(node)
        and node.target not in (aten.empty.memory_format, aten.empty_like.default)
        and (node.target in _LIKE or all(n in values for n in node.all_input_nodes))
    )


def _value_of(values: dict[fx.Node, Tensor], node: fx.Node) -> Tensor:
    """Return the value of a node, or, where nothing but its layout matters, a tensor like it."""
    if node in values:
        return values[node]
    like = node.meta["val"]
    return torch.empty_strided(like.shape, like.stride(), dtype=like.dtype, device=like.device)


def _replace(graph: fx.GraphModule, node: fx.Node, value: Tensor) -> None:
    name = f"computed_{node.name}"
    graph.register_buffer(name, value, persistent=False)
    with graph.graph.inserting_before(node):
        constant = graph.graph.get_attr(name)
    constant.meta = dict(node.meta)
    node.replace_all_uses_with(constant)


def _keep_numbers(graph: fx.GraphModule) -> None:
    """Make tensors of numbers, which torch would do in every call.

    On the CPU, where they are rounded alike; and in products and sums, since powers look at theirs.
    """
    numbers: dict[tuple[float, torch.dtype], fx.Node] = {}
    for node in graph.graph.nodes:
        target = _OF_SCALARS.get(node.target, node.target)
        value = node.meta.get("val")
        if target not in BY_ELEMENT or node.kwargs or not _is_real_on_cpu(value):
            continue
        x, *rest = node.args
        if len(rest) == 1 and isinstance(rest[0], float | int) and _has_layout(x, value):
            key = (float(rest[0]), value.dtype)
            if key not in numbers:
                with graph.graph.inserting_before(next(iter(graph.graph.nodes))):
                    numbers[key] = _constant(graph, f"number_{len(numbers)}", *key)
            node.target, node.args = target, (x, numbers[key])


def _constant(graph: fx.GraphModule, name: str, number: float, dtype: torch.dtype) -> fx.Node:
    graph.register_buffer(name, torch.tensor(number, dtype=dtype), persistent=False)
    node = graph.graph.get_attr(name)
    node.meta["val"] = getattr(graph, name)
    return node


def _is_real_on_cpu(value: Any) -> bool:
    reals = (torch.float32, torch.float64)
    return isinstance(value, Tensor) and value.device.type == "cpu" and value.dtype in reals


def _has_layout(x: Any, value: Tensor) -> bool:
    own = x.meta.get("val") if isinstance(x, fx.Node) else None
    return isinstance(own, Tensor) and own.shape == value.shape and own.dtype == value.dtype


def _take_norms_together(graph: fx.Graph) -> None:
    """Ask for the norms of all gradients at once.

    Not on a GPU, where one kernel for all of them adds in another order.
    """
    for node in list(graph.nodes):
        if node.target is aten.stack.default and len(node.args) == 1:
            norms: Sequence[fx.Node] = node.args[0]
            if len(norms) > 1 and all(map(_is_plain_norm, norms)):
                with graph.inserting_before(node):
                    tensors = [norm.args[0] for norm in norms]
                    together = graph.call_function(torch._foreach_norm, (tensors,))
                together.meta["val"] = [norm.meta["val"] for norm in norms]
                node.args = (together,)


def _is_plain_norm(node: fx.Node) -> bool:
    is_norm = node.target is aten.linalg_vector_norm.default
    value = node.meta.get("val")
    return (
        is_norm
        and isinstance(value, Tensor)
        and value.device.type == "cpu"
        and value.dtype in (torch.float32, torch.float64)
        and (len(node.args) == 1 or node.args[1:] == (2,))
        and not node.kwargs
        and math.prod(node.args[0].meta["val"].shape) > 0  # type: ignore[union-attr]
    )
