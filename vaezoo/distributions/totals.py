"""Counts of which the total is known of each row: words of a document, molecules of a cell."""

import math
from typing import Any

import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

__all__ = ["Binomial", "MultinomialOfTotals"]


class Binomial(dist.Binomial):
    """So many of a total that all elements share, and that is no tensor: the support is known.

    Examples
    --------
    >>> Binomial(16, torch.zeros(3)).support
    IntegerInterval(lower_bound=0, upper_bound=16)
    """

    def __init__(self, total: int, logits: Tensor) -> None:
        self.largest = total
        super().__init__(total, logits=logits, validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.integer_interval(0, self.largest)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Binomial":
        return Binomial(self.largest, self.logits.expand(torch.Size(batch_shape)))


class MultinomialOfTotals(TorchDistribution):
    """p(x | N = sum x) = N! / prod x_d! prod pi_d^x_d: the total of each row is its own.

    A missing count is nan: the others are then counts of their own total, with the shares that are
    left, which is what the distribution says of them.

    Parameters
    ----------
    logits
        Of the shares pi, ``(..., *event_shape)``.
    total
        Of draws, and of means; what is observed has its own.
    event_dim
        Number of the last dimensions of the logits that are the event.

    Examples
    --------
    >>> fn = MultinomialOfTotals(torch.zeros(2), total=10)
    >>> fn.log_prob(torch.tensor([[1.0, 0.0], [1.0, 1.0]])).exp()
    tensor([0.5000, 0.5000])
    >>> fn.mean
    tensor([5., 5.])
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)

    def __init__(self, logits: Tensor, total: int, event_dim: int = 1) -> None:
        shape = logits.shape[-event_dim:]
        self.logits = logits.flatten(-event_dim).log_softmax(-1)
        self.total = total
        super().__init__(logits.shape[:-event_dim], shape, validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.independent(constraints.nonnegative_integer, len(self.event_shape))

    def expand(self, batch_shape: Any, _instance: Any = None) -> "MultinomialOfTotals":
        shape = (*torch.Size(batch_shape), *self.event_shape)
        logits = self.logits.expand(*torch.Size(batch_shape), -1).reshape(shape)
        return MultinomialOfTotals(logits, self.total, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        value = value.flatten(-len(self.event_shape))
        there = ~value.isnan()
        counts = torch.where(there, value, 0.0)
        # Shares of the counts that are there; of a row without any, nothing is asked.
        none = ~there.any(-1, keepdim=True)
        logits = self.logits.masked_fill(~(there | none), -math.inf)
        shares = self.logits - logits.logsumexp(-1, keepdim=True)
        of_order = (counts.sum(-1) + 1).lgamma() - (counts + 1).lgamma().sum(-1)
        return of_order + (counts * shares).sum(-1)

    @property
    def mean(self) -> Tensor:
        return (self.total * self.logits.exp()).unflatten(-1, self.event_shape)

    @property
    def variance(self) -> Tensor:
        shares = self.logits.exp()
        return (self.total * shares * (1 - shares)).unflatten(-1, self.event_shape)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        batch, size = torch.Size(sample_shape) + self.batch_shape, self.logits.shape[-1]
        probs = self.logits.exp().expand(*batch, size).reshape(-1, size)
        index = torch.multinomial(probs, self.total, replacement=True)
        counts = torch.zeros_like(probs).scatter_add_(-1, index, torch.ones_like(index).to(probs))
        return counts.reshape(*batch, *self.event_shape)
