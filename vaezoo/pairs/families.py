"""Families of distributions, whatever wraps them."""

from typing import Any

__all__ = ["family"]


def family(fn: Any) -> str:
    """Return the name of a distribution, without what changes its shape only."""
    while type(fn).__name__ in ("Independent", "MaskedDistribution", "ExpandedDistribution"):
        fn = fn.base_dist
    return type(fn).__name__
