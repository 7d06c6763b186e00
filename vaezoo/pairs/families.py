"""Families of distributions, whatever wraps them."""

from typing import Any

import torch
from torch import Tensor

from vaezoo.errors import RequestError

__all__ = ["family", "mean_of"]


def family(fn: Any) -> str:
    """Return the name of a distribution, without what changes its shape only."""
    while type(fn).__name__ in ("Independent", "MaskedDistribution", "ExpandedDistribution"):
        fn = fn.base_dist
    return type(fn).__name__


def mean_of(fn: Any, name: str) -> Tensor:
    """Return the mean of a distribution; a refusal when it has no closed form."""
    refusal = RequestError(
        f"the {type(fn).__name__} of site '{name}' has no closed-form mean; ask for a sample"
    )
    try:
        mean = torch.as_tensor(fn.mean)
    except NotImplementedError as error:
        raise refusal from error
    if mean.numel() and bool(mean.isnan().all()):  # as a Categorical says it
        raise refusal
    return mean
