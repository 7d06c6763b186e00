"""Captured graphs made smaller: without mutations, repetitions, and steps that change nothing."""

import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_flatten

__all__ = [
    "changes",
    "is_random",
    "origin",
    "outputs_of",
    "placeholders",
    "reduce_graph",
    "simplify",
    "without_mutations",
]

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

    A mutation of an input becomes one copy at the end; the graph is run once if it has any. All
    draws stay, used or not, so that generators go on as they would have. No output shares memory
    with another one.
    """
    # Noise is drawn into fresh memory. Nobody sees that mutation, and leaving it spares most pairs,
    # which have no other, a second recording.
    if any(changes(node) and not _fills_fresh_memory(node) for node in graph.graph.nodes):
        graph = without_mutations(graph, inputs)
    simplify(graph.graph)
    # After the merging, which makes one output of two that are equal.
    _separate_outputs(graph.graph)
    graph.graph.eliminate_dead_code(is_impure_node=_has_effect)
    graph.recompile()
    return graph


@torch.no_grad()
def without_mutations(graph: fx.GraphModule, inputs: Sequence[Tensor]) -> fx.GraphModule:
    """Record a graph again, with a copy at the end for each input that it changes."""
    functional: Callable[..., Any] = torch.func.functionalize(graph, remove="mutations")
    return make_fx(functional)(*inputs)


def simplify(graph: fx.Graph) -> None:
    """Skip steps that change nothing, and do once what is done twice."""
    _skip_what_changes_nothing(graph)
    _merge_repetitions(graph)


def placeholders(graph: fx.Graph) -> list[fx.Node]:
    """Return the inputs of a graph, in their order."""
    return [node for node in graph.nodes if node.op == "placeholder"]


def outputs_of(graph: fx.Graph) -> list[fx.Node]:
    """Return what a graph gives, in its order."""
    return list(cast("tuple[fx.Node, ...]", graph.output_node().args[0]))


def changes(node: fx.Node) -> bool:
    """Whether a node changes its first argument."""
    return isinstance(node.target, OpOverload) and node.target._schema.is_mutable


def origin(value: Any) -> Any:
    """Return the node whose memory a node shows, itself if it is no view."""
    while isinstance(value, fx.Node) and _is_view(value):
        value = value.args[0]
    return value


def _is_view(node: fx.Node) -> bool:
    if not (node.args and isinstance(node.args[0], fx.Node)):
        return False
    target, made_by = node.target, node.args[0].target
    if target is operator.getitem and isinstance(made_by, OpOverload):
        return made_by._schema.returns[0].alias_info is not None
    return isinstance(target, OpOverload) and target._schema.arguments[0].alias_info is not None


def is_random(node: fx.Node) -> bool:
    """Whether a node draws from torch's generators."""
    is_op = isinstance(node.target, OpOverload)
    return is_op and torch.Tag.nondeterministic_seeded in node.target.tags  # type: ignore[union-attr]


def _has_effect(node: fx.Node) -> bool:
    return node.is_impure() or is_random(node) or changes(node)


def _fills_fresh_memory(node: fx.Node) -> bool:
    """Whether a node that changes something fills memory that nobody has seen."""
    changed = node.args[0]
    return (
        isinstance(changed, fx.Node)
        and changed.target in _FRESH
        and next(iter(changed.users)) is node
    )


def _skip_what_changes_nothing(graph: fx.Graph) -> None:
    for node in list(graph.nodes):
        same = _unchanged_input(node)
        if same is not None:
            node.replace_all_uses_with(same)
            graph.erase_node(node)


def _unchanged_input(node: fx.Node) -> fx.Node | None:
    """Return the input of a node that only hands it on, None for a node that does something."""
    if node.op != "call_function" or not (node.args and isinstance(node.args[0], fx.Node)):
        return None
    source = node.args[0]
    if node.target in _OWN_INVERSE and source.target is node.target:
        inner = source.args[0]
        return inner if isinstance(inner, fx.Node) else None
    if node.target in _SAME_IF_SHAPE and _layout(node) == _layout(source):
        return source
    number = _NEUTRAL.get(node.target)
    neutral = number is not None and len(node.args) == 2 and node.args[1] == number
    # 1.0 * x is another tensor where x is of integers, or is broadcast.
    return source if neutral and not node.kwargs and _layout(node) == _layout(source) else None


def _layout(node: fx.Node) -> object:
    value = node.meta.get("val")
    return (value.shape, value.stride(), value.dtype) if isinstance(value, Tensor) else node


def _merge_repetitions(graph: fx.Graph) -> None:
    """Do once what is done twice: much of what model and guide, or forward and backward, share."""
    seen: dict[object, fx.Node] = {}
    for node in list(graph.nodes):
        if node.op != "call_function" or _has_effect(node) or node.target in _FRESH:
            continue
        # Types belong to the key: 1, 1.0 and True are equal, and what they make of a tensor is not.
        leaves, structure = tree_flatten((node.args, dict(node.kwargs)))
        key = (node.target, str(structure), *[(type(leaf), _hashable(leaf)) for leaf in leaves])
        if key in seen:
            node.replace_all_uses_with(seen[key])
            graph.erase_node(node)
        else:
            seen[key] = node


def _hashable(leaf: Any) -> Any:
    return leaf if isinstance(leaf, fx.Node) else repr(leaf)


def _separate_outputs(graph: fx.Graph) -> None:
    """Copy what another output, an input or a constant shows the memory of, before that changes."""
    end = graph.output_node()
    # Updates of inputs stand at the end of a functional graph; copies have to be made before them.
    last = next((n for n in graph.nodes if changes(n) and origin(n).op != "call_function"), end)
    taken: set[fx.Node] = set()
    outputs: list[fx.Node] = []
    for value in outputs_of(graph):
        source = origin(value)
        if source in taken or source.op != "call_function":
            with graph.inserting_before(last):
                copy = graph.call_function(aten.clone.default, (value,))
            copy.meta = dict(value.meta)
            outputs.append(copy)
        else:
            outputs.append(value)
        taken.add(source)
    end.args = (tuple(outputs),)
