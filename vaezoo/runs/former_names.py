"""What parameters were called in runs of earlier versions, and what they are called now."""

from collections.abc import Container, Mapping

from torch import Tensor

__all__ = ["with_present_names"]

# The image models kept networks and their last layers side by side, until a likelihood owned its
# decoder and a posterior its encoder.
_PREFIXES = {
    "decoder.": "decoder.net.",
    "likelihood.": "decoder.",
    "encoder.": "encoder.net.",
    "posterior.": "encoder.",
}


def with_present_names(
    tensors: Mapping[str, Tensor], wanted: Container[str]
) -> Mapping[str, Tensor]:
    """Return tensors by the names that a pair wants, when all fit after renaming; else as they are.

    Examples
    --------
    >>> import torch
    >>> former = {"likelihood.logits.0.bias": torch.ones(1)}
    >>> with_present_names(former, {"decoder.logits.0.bias"})
    {'decoder.logits.0.bias': tensor([1.])}
    """
    if all(name in wanted for name in tensors):
        return tensors
    renamed = {_present(name): tensor for name, tensor in tensors.items()}
    return renamed if all(name in wanted for name in renamed) else tensors


def _present(name: str) -> str:
    part, dot, rest = name.partition(".")
    return _PREFIXES.get(part + dot, part + dot) + rest
