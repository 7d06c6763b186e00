"""Distributions of positive numbers."""

import math
from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

__all__ = ["LogNormal"]


class LogNormal(TorchDistribution):
    """log x = N(loc, scale^2), with finite gradients where padding has put a 0.

    Parameters
    ----------
    loc, scale
        Of the logarithm.

    Examples
    --------
    >>> fn = LogNormal(torch.zeros(2), torch.ones(2))
    >>> fn.log_prob(torch.tensor([0.5, 2.0])).exp()
    tensor([0.6275, 0.1569])
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)
    support = constraints.positive
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        super().__init__(self.loc.shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "LogNormal":
        shape = torch.Size(batch_shape)
        return LogNormal(self.loc.expand(shape), self.scale.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        log = value.clamp(min=torch.finfo(value.dtype).tiny).log()
        u = (log - self.loc) / self.scale
        return -0.5 * u.square() - self.scale.log() - 0.5 * math.log(2 * math.pi) - log

    @property
    def mean(self) -> Tensor:
        return (self.loc + self.scale.square() / 2).exp()

    @property
    def mode(self) -> Tensor:
        return (self.loc - self.scale.square()).exp()

    @property
    def variance(self) -> Tensor:
        square = self.scale.square()
        return square.expm1() * (2 * self.loc + square).exp()

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.loc.dtype, device=self.loc.device)
        return (self.loc + self.scale * noise).exp()
