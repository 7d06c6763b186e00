"""What parameters were called in runs of earlier versions, and what they are called now."""

from collections.abc import Container, Mapping

from torch import Tensor

__all__ = ["with_present_names"]

# Networks and their last layers stood side by side, until a likelihood owned its decoder, and a
# prior or posterior its encoder. Which of the names is today's depends on the model.
_PREFIXES = {
    "decoder.": ("decoder.net.", "likelihood.net."),
    "likelihood.": ("decoder.",),
    "decoder_head.": ("decoder.", "likelihood."),
    "encoder.": ("encoder.net.", "posterior.net."),
    "posterior.": ("encoder.",),
    "encoder_head.": ("encoder.", "posterior.", "encoder.head."),
    "prior_net.": ("prior.net.",),
    "prior_head.": ("prior.",),
    "standard.": ("prior.",),
    "static.": ("prior.",),
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
    renamed = {_present(name, wanted): tensor for name, tensor in tensors.items()}
    return renamed if all(name in wanted for name in renamed) else tensors


def _present(name: str, wanted: Container[str]) -> str:
    part, dot, rest = name.partition(".")
    choices = (name, *(prefix + rest for prefix in _PREFIXES.get(part + dot, ())))
    return next((choice for choice in choices if choice in wanted), name)
