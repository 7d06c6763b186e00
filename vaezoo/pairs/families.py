"""Families of distributions, whatever wraps them: elements, names, supports, means."""

from typing import Any

import torch
from torch import Tensor
from torch.distributions import Independent, constraints

from vaezoo.errors import RequestError

__all__ = [
    "elements_of",
    "elements_of_both",
    "factorises",
    "family",
    "is_boolean",
    "is_discrete",
    "is_point",
    "mean_of",
    "support_of",
]

# What has the density of what it wraps, and another shape or a mask only.
WRAPPERS = ("Independent", "MaskedDistribution", "ExpandedDistribution")


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


def _unwrapped(fn: Any) -> Any:
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
    return type(_unwrapped(fn)).__name__


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
    return not _unwrapped(fn).event_shape


def is_point(fn: Any) -> bool:
    """Return whether a distribution has all its mass at one value.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> is_point(dist.Delta(torch.zeros(3, 2)).to_event(1))
    True
    """
    return family(fn) == "Delta"


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


def mean_of(fn: Any, name: str) -> Tensor:
    """Return the mean of a distribution, at the site of a name.

    Raises
    ------
    RequestError
        When it has no closed form.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> mean_of(dist.Gamma(2.0, 4.0), "rate")
    tensor(0.5000)
    """
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
