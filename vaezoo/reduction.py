"""Captured graphs made smaller: without mutations, repetitions, and steps that change nothing."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch._functorch.compile_utils import fx_graph_cse
from torch.fx.experimental.proxy_tensor import make_fx

__all__ = ["reduce_graph"]

aten = torch.ops.aten

_FRESH = (aten.empty.memory_format, aten.empty_like.default, aten.new_empty.default)
_SAME_IF_SHAPE = (
    *(aten.view.default, aten._unsafe_view.default, aten.expand.default),
    *(aten.reshape.default, aten.detach.default, aten.alias.default),
)
_NEUTRAL: dict[Any, float] = {
    aten.mul.Tensor: 1.0,
    aten.div.Tensor: 1.0,
    aten.add.Tensor: 0.0,
    aten.sub.Tensor: 0.0,
    aten.mul.Scalar: 1.0,
    aten.pow.Tensor_Scalar: 1.0,
}
_OWN_INVERSE = (aten.t.default, aten.neg.default)


def reduce_graph(graph: fx.GraphModule, inputs: Sequence[Tensor]) -> fx.GraphModule:
    """Return a graph that computes the same values, the random ones included, in fewer nodes.

    A mutation of an input becomes one copy at the end. The graph is run once if it has any.
    """
    if any(_mutates(node) for node in graph.graph.nodes):
        with torch.no_grad():
            functional: Callable[..., Any] = torch.func.functionalize(graph, remove="mutations")
            graph = make_fx(functional)(*inputs)
    for node in list(graph.graph.nodes):
        same = _unchanged_input(node)
        if same is not None:
            node.replace_all_uses_with(same)
            graph.graph.erase_node(node)
    smaller = fx_graph_cse(graph.graph)
    smaller.eliminate_dead_code()
    return fx.GraphModule(graph, smaller)


def _mutates(node: fx.Node) -> bool:
    """Whether a node changes a tensor that others may see; random numbers fill fresh ones."""
    if not isinstance(node.target, torch._ops.OpOverload) or not node.target._schema.is_mutable:
        return False
    changed = node.args[0]
    return not (
        isinstance(changed, fx.Node)
        and changed.target in _FRESH
        and next(iter(changed.users)) is node
    )


def _unchanged_input(node: fx.Node) -> fx.Node | None:
    """Return the input of a node that only hands it on, None for a node that does something."""
    if node.op != "call_function" or not (node.args and isinstance(node.args[0], fx.Node)):
        return None
    given = node.args[0]
    if node.target in _OWN_INVERSE and given.target is node.target:
        inner = given.args[0]
        return inner if isinstance(inner, fx.Node) else None
    if node.target in _SAME_IF_SHAPE and _kind(node) == _kind(given):
        return given
    number = _NEUTRAL.get(node.target)
    neutral = number is not None and len(node.args) == 2 and node.args[1] == number
    return given if neutral and not node.kwargs and _kind(node) == _kind(given) else None


def _kind(node: fx.Node) -> object:
    value = node.meta.get("val")
    return (value.shape, value.dtype) if isinstance(value, Tensor) else node
