"""What of torch cannot be captured, and what to write instead."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import pyro
import torch
from torch import Tensor, fx

__all__ = ["is_of_changing_shape", "without_reads", "words_for_reading", "words_for_shape"]

# Those that imported torch_item or warn_if_nan by name: each has to be given its own stand-in.
_PYRO_READS = ("trace_elbo", "trace_mean_field_elbo", "tracegraph_elbo", "elbo", "util")

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


@contextmanager
def without_reads() -> Iterator[None]:
    """Let Pyro's estimators neither read their loss back from a tensor nor test it for NaN.

    They give a loss the gradient of a surrogate by ``loss + (surrogate - torch_item(surrogate))``;
    detached, the surrogate is the same number, and stays a tensor. The engine tests every step, on
    the device.
    """
    replaced: list[tuple[Any, str, Any]] = []
    try:
        for name in _PYRO_READS:
            module = import_module(f"pyro.infer.{name}")
            for attribute, stand_in in (("torch_item", _detached), ("warn_if_nan", _unchanged)):
                if hasattr(module, attribute):
                    replaced.append((module, attribute, getattr(module, attribute)))
                    setattr(module, attribute, stand_in)
        with pyro.validation_enabled(False):
            yield
    finally:
        for module, attribute, original in replaced:
            setattr(module, attribute, original)


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _unchanged(value: Any, *args: Any, **kwargs: Any) -> Any:
    return value
