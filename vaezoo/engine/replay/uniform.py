"""Tensors of one value, as gradients of sums are: computed once, and not for each element."""

from typing import Any

import torch
from torch import Tensor, fx

__all__ = ["BY_ELEMENT", "compute_once"]

aten = torch.ops.aten

BY_ELEMENT = (
    *(aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor),
    *(aten.maximum.default, aten.minimum.default),
)
_UNARY = (aten.neg.default,)
_RESHAPING = (
    *(aten.expand.default, aten.view.default, aten.unsqueeze.default),
    *(aten.squeeze.dim, aten.reshape.default, aten._unsafe_view.default),
)


def compute_once(graph: fx.Graph) -> None:
    """Give operations on elements one number where all elements of an operand are one number.

    What was expanded otherwise is given as it was before: the operation broadcasts by itself.
    """
    numbers: dict[fx.Node, fx.Node] = {}
    for node in list(graph.nodes):
        number = _number_of(node, numbers)
        if number is not None:
            numbers[node] = number
        elif node.target in BY_ELEMENT and len(node.args) == 2 and not node.kwargs:
            for place in (0, 1):
                operand, other = node.args[place], node.args[1 - place]
                if _makes(other, node):
                    args = list(node.args)
                    args[place] = _smaller(operand, node, numbers)
                    node.args = tuple(args)


def _number_of(node: fx.Node, numbers: dict[fx.Node, fx.Node]) -> fx.Node | None:
    """Return a node ``()`` of the one value of a node, None where there may be several."""
    value = node.meta.get("val")
    if not isinstance(value, Tensor) or value.dim() == 0:
        return None
    if node.target in _RESHAPING:
        (source,) = node.all_input_nodes
        return numbers.get(source, source if _is_number(source) else None)
    operands = [arg for arg in node.args if isinstance(arg, fx.Node)]
    is_known = node.target in (*BY_ELEMENT, *_UNARY) and not node.kwargs
    if not is_known or not all(o in numbers or _is_number(o) for o in operands):
        return None
    if not all(_has_kind_of(node, operand) for operand in operands):
        return None
    with node.graph.inserting_before(node):
        args = tuple(numbers.get(arg, arg) if arg in operands else arg for arg in node.args)  # type: ignore[arg-type]
        number = node.graph.call_function(node.target, args)  # type: ignore[arg-type]
    number.meta["val"] = value.new_empty(())
    return number


def _is_number(value: Any) -> bool:
    tensor = value.meta.get("val") if isinstance(value, fx.Node) else None
    return isinstance(tensor, Tensor) and tensor.dim() == 0


def _has_kind_of(node: fx.Node, operand: fx.Node) -> bool:
    one, other = node.meta["val"], operand.meta.get("val")
    return isinstance(other, Tensor) and (one.dtype, one.device) == (other.dtype, other.device)


def _makes(operand: Any, node: fx.Node) -> bool:
    """Whether an operand alone gives a result its shape and dtype."""
    value = operand.meta.get("val") if isinstance(operand, fx.Node) else None
    result = node.meta.get("val")
    if not isinstance(value, Tensor) or not isinstance(result, Tensor):
        return False
    return (value.shape, value.stride(), value.dtype) == (
        result.shape,
        result.stride(),
        result.dtype,
    )


def _smaller(operand: Any, node: fx.Node, numbers: dict[fx.Node, fx.Node]) -> Any:
    """Return an operand as it was before it was expanded, if it was."""
    if not isinstance(operand, fx.Node) or not _has_kind_of(node, operand):
        return operand
    if operand in numbers:
        return numbers[operand]
    return operand.args[0] if operand.target is aten.expand.default else operand
