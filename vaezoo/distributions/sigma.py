"""How wide a distribution is at each of its elements, and where a value lies in it."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from vaezoo.distributions.columns import ByColumn
from vaezoo.distributions.entries import ObservedEntries
from vaezoo.distributions.families import is_discrete, point_of, unwrapped

__all__ = ["Scaled", "is_present", "scaled"]

NUM_REPLICATES = 200  # where a distribution function is not known
ONE_PARAMETER = ("ContinuousBernoulli", "Exponential")  # their mean says how wide they are


class Scaled(NamedTuple):
    """Of each entry of a value, all of one shape; nan where there is none.

    Attributes
    ----------
    x
        The value.
    mean, sigma
        Mean and standard deviation, or scale, of its distribution.
    pit
        P(X <= x), the probability integral transform.
    """

    x: Tensor
    mean: Tensor
    sigma: Tensor
    pit: Tensor


def is_present(fn: Any, value: Tensor) -> Tensor:
    """Return which entries of a value are there, as what wraps its distribution says.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> is_present(dist.Normal(torch.zeros(2), 1.0), torch.tensor([0.0, torch.nan]))
    tensor([ True, False])
    """
    there = ~value.isnan()
    while hasattr(fn, "base_dist"):
        if isinstance(fn, ObservedEntries) and fn.present is not None:
            there = there & fn.present
        fn = fn.base_dist
    return there


def scaled(fn: Any, value: Tensor) -> tuple[Scaled | None, str]:
    """Return mean, sigma and distribution function at a value; or None, and why there are none.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> sides, _ = scaled(dist.Normal(torch.zeros(2), 3.0).to_event(1), torch.zeros(2))
    >>> sides.sigma, sides.pit
    (tensor([3., 3.]), tensor([0.5000, 0.5000]))
    >>> scaled(dist.Bernoulli(torch.full((2,), 0.5)), torch.zeros(2))[1]
    'a Bernoulli has no sigma of its own: its values are discrete'
    """
    plain = unwrapped(fn)
    if isinstance(plain, ByColumn):
        return _of_columns(plain, value)
    name = type(plain).__name__
    if plain.event_shape:
        return None, f"a {name} joins its elements, and sigma is of independent ones"
    if is_discrete(plain):
        return None, f"a {name} has no sigma of its own: its values are discrete"
    if name in ONE_PARAMETER:
        return None, f"a {name} has no sigma of its own: it follows from the mean"
    scale = _scale(plain)
    if scale is None:
        return None, f"a {name} has neither a standard deviation nor a scale"
    mean, scale = (side.expand(value.shape) for side in (point_of(plain)[0], scale))
    there = torch.where(value.isnan(), mean, value)
    return Scaled(value, mean, scale, _distribution_function(plain, there)), ""


def _scale(plain: Any) -> Tensor | None:
    """Return the standard deviation of each element; its scale, where that is not finite."""
    try:
        sigma = torch.as_tensor(plain.variance).sqrt()
    except (NotImplementedError, AttributeError):
        sigma = torch.full((), torch.nan)
    if bool(sigma.isfinite().all()):
        return sigma
    scale = getattr(plain, "scale", None)
    return None if scale is None else torch.where(sigma.isfinite(), sigma, scale)


def _distribution_function(plain: Any, value: Tensor) -> Tensor:
    """Return P(X <= value), by draws where it is not known."""
    try:
        return torch.as_tensor(plain.cdf(value))
    except NotImplementedError:
        below = sum((plain.sample() < value).float() for _ in range(NUM_REPLICATES))
        return (below + torch.rand_like(value)) / (NUM_REPLICATES + 1)


def _of_columns(plain: ByColumn, value: Tensor) -> tuple[Scaled | None, str]:
    """Return the same of the columns of a table that have a sigma; of others it is nan."""
    whole = [torch.full_like(value, torch.nan) for _ in Scaled._fields]
    faults = []
    for places, fn in plain.groups.values():
        sides, fault = scaled(fn, value.index_select(-1, places))
        faults.append(fault)
        for side, part in zip(whole, sides or (), strict=sides is not None):
            side[..., places] = part
    return (None, faults[0]) if all(faults) else (Scaled(*whole), "")
