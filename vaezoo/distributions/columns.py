"""A row of a table, whose columns are of several kinds."""

from collections.abc import Mapping
from typing import Any

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor
from torch.distributions import constraints

from vaezoo.distributions.entries import observed_entries
from vaezoo.distributions.families import mode_of, point_of, support_of

__all__ = ["ByColumn", "Group"]

Group = tuple[Tensor, TorchDistribution]


class ByColumn(TorchDistribution):
    """Independent columns, each of the family of its group; the event is a row.

    Missing entries, nan, are left out of the density. The mean of a column of categories is its
    most probable category, since these have no mean.

    Parameters
    ----------
    groups
        Places of columns ``(n,)``, and the distribution of their entries: of batch shape
        ``(..., n)``, or with the event ``(n,)``. Together they are all places of a row.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> normal = dist.Normal(torch.zeros(5, 2), 1.0)
    >>> coin = dist.Bernoulli(torch.full((5, 1), 0.5))
    >>> row = ByColumn({"real": (torch.tensor([0, 2]), normal), "coin": (torch.tensor([1]), coin)})
    >>> row.log_prob(torch.tensor([torch.nan, 1.0, torch.nan]))[0]
    tensor(-0.6931)
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)

    def __init__(self, groups: Mapping[str, Group]) -> None:
        self.groups = dict(groups)
        self._places = torch.cat([places for places, _ in self.groups.values()])
        fn = next(iter(self.groups.values()))[1]
        batch = fn.batch_shape if fn.event_shape else fn.batch_shape[:-1]
        super().__init__(batch, torch.Size([len(self._places)]), validate_args=False)

    @property
    def support(self) -> Any:
        return _Columns(self.groups)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "ByColumn":
        shape = torch.Size(batch_shape)
        wide = {
            n: shape if fn.event_shape else (*shape, len(at)) for n, (at, fn) in self.groups.items()
        }
        return ByColumn({n: (at, fn.expand(wide[n])) for n, (at, fn) in self.groups.items()})

    def log_prob(self, value: Tensor) -> Tensor:
        total = torch.zeros((), device=value.device)
        for at, fn in self.groups.values():
            log_prob = observed_entries(fn).log_prob(value.index_select(-1, at))
            total = total + (log_prob if fn.event_shape else log_prob.sum(-1))
        return total

    def _row(self, values: list[Tensor]) -> Tensor:
        """Return values of the groups as rows."""
        dtype = torch.get_default_dtype()
        together = torch.cat([value.to(dtype) for value in values], -1)
        return together.index_select(-1, self._places.argsort())

    @property
    def mean(self) -> Tensor:
        return self._row([point_of(fn)[0] for _, fn in self.groups.values()])

    @property
    def mode(self) -> Tensor:
        return self._row([mode_of(fn) for _, fn in self.groups.values()])

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self._row([fn.sample(torch.Size(sample_shape)) for _, fn in self.groups.values()])


class _Columns(constraints.Constraint):
    """Rows whose entries are in the supports of their groups.

    ``reals`` are the places of those that may be any real number.
    """

    event_dim = 1

    def __init__(self, groups: Mapping[str, Group]) -> None:
        self.supports = [(places, support_of(fn)) for places, fn in groups.values()]
        self.is_discrete = all(support.is_discrete for _, support in self.supports)
        of_reals = [at for at, support in self.supports if support is constraints.real]
        self.reals = torch.cat(of_reals) if of_reals else torch.zeros(0, dtype=torch.long)

    def check(self, value: Tensor) -> Tensor:
        inside = [s.check(value.index_select(-1, at)) for at, s in self.supports]
        of_rows = [
            i if s.event_dim else i.all(-1) for i, (_, s) in zip(inside, self.supports, strict=True)
        ]
        return torch.stack(of_rows).all(0)
