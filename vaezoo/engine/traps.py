"""What of torch cannot be captured, and what to write instead."""

from typing import Any

import torch
from torch import Tensor, fx

__all__ = ["is_of_changing_shape", "words_for_reading", "words_for_shape"]

_INSTEAD = {
    "__bool__": "`if` or `assert` of a tensor: write torch.where(condition, a, b)",
    "__contains__": "`in` of a tensor: write (tensor == value).any()",
    "one_hot": "one_hot: write torch.eye(k, device=c.device)[c]",
}
_OF_CHANGING_SHAPE = {
    "masked_select": "masked_select",
    "nonzero": "nonzero or torch.where(condition)",
    "repeat_interleave": "repeat_interleave by a tensor",
    "unique_dim": "unique",
    "_unique2": "unique",
}


def words_for_reading(operation: str) -> str:
    """Return why an operation that reads the value of a tensor is not captured.

    Examples
    --------
    >>> words_for_reading("one_hot")
    'the value of a tensor is read, by one_hot: write torch.eye(k, device=c.device)[c]'
    >>> words_for_reading("item")
    'the value of a tensor is read (.item(), float() or if): leave it a tensor'
    """
    if operation in _INSTEAD:
        return f"the value of a tensor is read, by {_INSTEAD[operation]}"
    return "the value of a tensor is read (.item(), float() or if): leave it a tensor"


def is_of_changing_shape(node: fx.Node) -> bool:
    """Return whether the shape of what a node gives depends on values, not on shapes alone."""
    return bool(_name_of(node))


def words_for_shape(node: fx.Node) -> str:
    """Return why such a node is not captured."""
    return (
        f"the shape of what {_name_of(node)} gives depends on values: weigh by the mask, as "
        "(mask * a).sum(), or write torch.where(mask, a, b)"
    )


def _name_of(node: fx.Node) -> str:
    if node.op != "call_function" or not isinstance(node.target, torch._ops.OpOverload):
        return ""
    name = node.target.overloadpacket.__name__
    if name == "repeat_interleave" and node.target._overloadname != "Tensor":
        return ""
    if name == "index" and any(map(_is_mask, node.args[1])):  # type: ignore[arg-type]
        return "x[mask]"
    return _OF_CHANGING_SHAPE.get(name, "")


def _is_mask(index: Any) -> bool:
    value = index.meta.get("val") if isinstance(index, fx.Node) else None
    return isinstance(value, Tensor) and value.dtype in (torch.bool, torch.uint8)
