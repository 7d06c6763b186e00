"""Loops over time as a captured graph has them, without the operations that they are."""

from torch import fx

__all__ = ["is_loop", "is_loop_backward"]

_THERE, _BACK = "vaezoo.recurrence.default", "vaezoo.recurrence_backward.default"


def is_loop(node: fx.Node) -> bool:
    """Whether a node of a captured graph is a loop over time, there or back."""
    return str(node.target) in (_THERE, _BACK)


def is_loop_backward(node: fx.Node) -> bool:
    """Whether a node is a loop from the last step to the first."""
    return str(node.target) == _BACK
