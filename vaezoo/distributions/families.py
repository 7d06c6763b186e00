"""Families of distributions, whatever wraps them: elements, names, supports, points."""

from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Independent, constraints

from vaezoo.errors import RequestError

__all__ = [
    "PointKind",
    "elements_of",
    "elements_of_both",
    "factorises",
    "family",
    "is_boolean",
    "is_discrete",
    "is_improper",
    "is_point",
    "mode_of",
    "point_of",
    "support_of",
    "unwrapped",
]

PointKind = Literal["mean", "mode", "draw"]
MEAN: PointKind = "mean"
MODE: PointKind = "mode"
DRAW: PointKind = "draw"

# What has the density of what it wraps, and another shape or a mask only.
WRAPPERS = ("Independent", "MaskedDistribution", "ExpandedDistribution", "ObservedEntries")


def elements_of(fn: Any) -> Any:
    """Return the distribution of the elements, without the ``to_event`` that joins them.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> elements_of(dist.Normal(torch.zeros(2, 3), 1.0).to_event(1)).batch_shape
    torch.Size([2, 3])
    """
    while isinstance(fn, Independent):
        fn = fn.base_dist
    return fn


def elements_of_both(p: Any, q: Any) -> tuple[Any, Any] | None:
    """Return the distributions of the elements of two sides, None where one does not factorise.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> normal = dist.Normal(torch.zeros(3, 2), 1.0).to_event(1)
    >>> joint = dist.MultivariateNormal(torch.zeros(3, 2), torch.eye(2))
    >>> elements_of_both(normal, normal) is None, elements_of_both(normal, joint) is None
    (False, True)
    """
    while isinstance(p, Independent) and isinstance(q, Independent):
        p, q = p.base_dist, q.base_dist
    return None if p.event_shape or q.event_shape else (p, q)


def unwrapped(fn: Any) -> Any:
    """Return a distribution without what changes its shape only, or leaves some of it out.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> unwrapped(dist.Normal(torch.zeros(2, 3), 1.0).mask(False).to_event(1))
    Normal(loc: torch.Size([2, 3]), scale: torch.Size([2, 3]))
    """
    while isinstance(fn, Independent) or type(fn).__name__ in WRAPPERS:
        fn = fn.base_dist
    return fn


def family(fn: Any) -> str:
    """Return the name of a distribution, without what changes its shape only.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> family(dist.Normal(torch.zeros(2, 3), 1.0).to_event(1).mask(False))
    'Normal'
    """
    return type(unwrapped(fn)).__name__


def factorises(fn: Any) -> bool:
    """Return whether the elements of a draw are independent.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> factorises(dist.Normal(torch.zeros(3, 2), 1.0).to_event(1))
    True
    >>> factorises(dist.MultivariateNormal(torch.zeros(3, 2), torch.eye(2)))
    False
    """
    return not unwrapped(fn).event_shape


def is_point(fn: Any) -> bool:
    """Return whether a distribution has all its mass at one value.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> is_point(dist.Delta(torch.zeros(3, 2)).to_event(1))
    True
    """
    return family(fn) == "Delta"


def is_improper(fn: Any) -> bool:
    """Return whether a distribution is flat without end, so that nothing can be drawn from it.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> is_improper(dist.ImproperUniform(constraints.real, (), (2,)))
    True
    """
    return family(fn) == "ImproperUniform"


def is_discrete(fn: Any) -> bool:
    """Return whether the draws of a distribution can be counted; not if it has no support.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> is_discrete(dist.Poisson(torch.ones(3))), is_discrete(dist.Normal(0.0, 1.0))
    (True, False)
    """
    try:
        return bool(fn.support.is_discrete)
    except NotImplementedError:
        return False


def support_of(fn: Any) -> Any:
    """Return the constraint of an element, as ``constraints.real``.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> support_of(dist.Gamma(torch.ones(3, 2), 1.0).to_event(1))
    GreaterThanEq(lower_bound=0.0)
    """
    support = fn.support
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    return support


def is_boolean(fn: Any) -> bool:
    """Return whether a distribution is one of zeros and ones.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> is_boolean(dist.Bernoulli(torch.full((4,), 0.5)).to_event(1))
    True
    """
    return support_of(fn) is constraints.boolean


def point_of(fn: Any) -> tuple[Tensor, PointKind]:
    """Return one value for a distribution, and what it is: its mean, else its mode, else a draw.

    A mean that is not finite, as that of a Categorical or a Cauchy, gives way to the mode.

    Raises
    ------
    RequestError
        When it has neither, and cannot be drawn from.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> point_of(dist.Gamma(2.0, 4.0))
    (tensor(0.5000), 'mean')
    >>> point_of(dist.Categorical(torch.tensor([0.1, 0.7, 0.2])))
    (tensor(1), 'mode')
    """
    partly: list[tuple[Tensor, PointKind]] = []
    for kind in (MEAN, MODE):
        try:
            value = torch.as_tensor(getattr(fn, kind))
        except (NotImplementedError, AttributeError):
            continue
        if bool(value.isfinite().all()):
            return value, kind
        if bool(value.isfinite().any()):
            partly.append((value, kind))
    if partly:
        return partly[0]
    try:
        return fn(), DRAW
    except NotImplementedError as error:
        raise RequestError(f"a {family(fn)} cannot be drawn from") from error


def mode_of(fn: Any) -> Tensor:
    """Return the most probable value; the mean where two values are equally probable.

    Raises
    ------
    RequestError
        When the mode of the distribution is not known.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> mode_of(dist.Bernoulli(torch.tensor([0.2, 0.5, 0.9])).to_event(1))
    tensor([0.0000, 0.5000, 1.0000])
    """
    plain = unwrapped(fn)
    try:
        mode = torch.as_tensor(plain.mode)
    except (NotImplementedError, AttributeError) as error:
        raise RequestError(
            f"the mode of a {family(fn)} is not known; take `x='mean'` or `x='sample'`"
        ) from error
    if mode.is_floating_point() and bool(mode.isnan().any()):
        mode = torch.where(mode.isnan(), plain.mean, mode)
    return mode.expand(*fn.batch_shape, *fn.event_shape)
