"""The entries of an observed value: which are there, and the density of those alone."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints, transform_to

from vaezoo.distributions.families import elements_of

__all__ = ["ObservedEntries", "feasible_value", "fill_missing", "observed_entries"]


class ObservedEntries(TorchDistribution):
    """A distribution whose density is that of the entries that are there.

    An entry that is missing has density one. Where the elements of an event are not independent, an
    event can be missing as a whole only: one that is so in part has the density nan.

    Parameters
    ----------
    base_dist
        Of the elements, without ``to_event`` (:func:`observed_entries` takes any distribution).
    present
        Which entries are there, in the shape of a value; by default those that are not nan.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> fn = ObservedEntries(dist.Normal(torch.zeros(2), 1.0))
    >>> fn.log_prob(torch.tensor([0.0, torch.nan]))
    tensor([-0.9189,  0.0000])
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)

    def __init__(self, base_dist: Any, present: Tensor | None = None) -> None:
        self.base_dist = base_dist
        self.present = present
        super().__init__(base_dist.batch_shape, base_dist.event_shape, validate_args=False)

    @property
    def has_rsample(self) -> bool:  # type: ignore[override]
        return bool(self.base_dist.has_rsample)

    @property
    def support(self) -> Any:
        return self.base_dist.support

    @property
    def mean(self) -> Tensor:
        return torch.as_tensor(self.base_dist.mean)

    @property
    def mode(self) -> Tensor:
        return torch.as_tensor(self.base_dist.mode)

    @property
    def variance(self) -> Tensor:
        return torch.as_tensor(self.base_dist.variance)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return ObservedEntries(self.base_dist.expand(torch.Size(batch_shape)), self.present)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return torch.as_tensor(self.base_dist.sample(sample_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return torch.as_tensor(self.base_dist.rsample(sample_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        present = _present(value, self.present)
        # What is missing is filled before the density is asked for: nan times 0 has no gradient.
        log_prob = self.base_dist.log_prob(fill_missing(self.base_dist, value, present))
        if not self.event_shape:
            return torch.where(present, log_prob, 0.0)
        of_event = present.flatten(-len(self.event_shape))
        in_part = torch.where(of_event.any(-1), torch.nan, 0.0)
        return torch.where(of_event.all(-1), log_prob, in_part)


def _present(value: Tensor, present: Tensor | None) -> Tensor:
    there = ~value.isnan()
    return there if present is None else there & present


def observed_entries(fn: Any, present: Tensor | None = None) -> Any:
    """Return a distribution with the density of the entries that are there.

    Parameters
    ----------
    fn
        Any distribution.
    present
        Which entries are there, in the shape of a value; by default those that are not nan.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> fn = observed_entries(dist.Normal(torch.zeros(3, 2), 1.0).to_event(1))
    >>> fn.batch_shape, fn.event_shape, fn.log_prob(torch.full((3, 2), torch.nan))
    (torch.Size([3]), torch.Size([2]), tensor([0., 0., 0.]))
    """
    elements = elements_of(fn)
    joined = len(fn.event_shape) - len(elements.event_shape)
    entries: Any = ObservedEntries(elements, present)
    return entries.to_event(joined) if joined else entries


def fill_missing(fn: Any, value: Tensor, present: Tensor) -> Tensor:
    """Return a value with something that the distribution can explain where it is missing.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> value = torch.tensor([3.0, torch.nan])
    >>> fill_missing(dist.Gamma(torch.ones(2), 1.0), value, ~value.isnan())
    tensor([3., 1.])
    """
    feasible = feasible_value(elements_of(fn), value.device)
    return torch.where(present, value, feasible.to(value.dtype))


def feasible_value(fn: Any, device: torch.device | None = None) -> Tensor:
    """Return a value inside the support of a distribution, which broadcasts with its draws.

    It is 0 of the reals and of counts, and the centre of an interval.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> [float(feasible_value(fn)) for fn in (dist.Normal(3.0, 1.0), dist.Uniform(2.0, 4.0))]
    [0.0, 3.0]
    >>> feasible_value(dist.OneHotCategorical(torch.ones(3)))
    tensor([1., 0., 0.])
    """
    try:
        support = fn.support
    except NotImplementedError:
        return torch.zeros((), device=device)
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is constraints.one_hot:
        return torch.eye(fn.event_shape[-1], device=device)[0]
    if support.is_discrete:
        # A number is not made a tensor by itself, which no graph of a GPU could hold.
        return torch.zeros((), device=device) + getattr(support, "lower_bound", 0)
    try:
        transform = transform_to(support)
        shape = transform.inverse_shape(fn.event_shape)
        return torch.as_tensor(transform(torch.zeros(shape, device=device)))
    except NotImplementedError:
        return torch.zeros((), device=device)
