"""Distributions of shares, on [0, 1]."""

from typing import Any

import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor

__all__ = ["ContinuousBernoulli"]

_NEAR_ZERO = 0.1  # where a series has more digits than the closed form


class ContinuousBernoulli(TorchDistribution):
    """p(x) = exp(logits x) / C(logits) on [0, 1].

    Loaiza-Ganem & Cunningham 2019, arXiv:1907.06845, eqs. 5 and 6. It is written in its natural
    parameter, so that C has all its digits at any logit; that of torch clamps probabilities, and
    does not integrate to 1 beyond logits of about 16.

    Parameters
    ----------
    logits
        log(lambda / (1 - lambda)) of the paper, of any shape: the batch shape.

    Examples
    --------
    >>> fn = ContinuousBernoulli(torch.tensor([0.0, 40.0]))
    >>> fn.log_prob(torch.tensor([0.3, 1.0]))  # uniform; log 40
    tensor([0.0000, 3.6889])
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)
    support = constraints.unit_interval
    has_rsample = True

    def __init__(self, logits: Tensor) -> None:
        self.logits = logits
        super().__init__(logits.shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "ContinuousBernoulli":
        return ContinuousBernoulli(self.logits.expand(torch.Size(batch_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        return self.logits * value - _log_normaliser(self.logits)

    @property
    def mean(self) -> Tensor:
        """1 / (1 - exp(-logits)) - 1 / logits, eq. 10 of the paper."""
        logits, far = _away_from_zero(self.logits)
        closed = 1 / -torch.expm1(-logits) - 1 / logits
        return torch.where(far, closed, 0.5 + self.logits / 12 - self.logits**3 / 720)

    @property
    def variance(self) -> Tensor:
        logits, far = _away_from_zero(self.logits)
        closed = 1 / logits**2 - 1 / (2 * torch.sinh(logits.clamp(-80, 80) / 2)) ** 2
        return torch.where(far, closed, 1 / 12 - self.logits**2 / 240)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Invert the distribution function, of the side on which it loses no digits."""
        shape = self._extended_shape(torch.Size(sample_shape))
        u = torch.rand(shape, dtype=self.logits.dtype, device=self.logits.device)
        logits, far = _away_from_zero(self.logits)
        size = logits.abs()
        x = 1 + torch.log(u + (1 - u) * torch.exp(-size)) / size
        x = torch.where(logits > 0, x, 1 - x).clamp(0, 1)
        return torch.where(far.expand(shape), x, u)


def _log_normaliser(logits: Tensor) -> Tensor:
    """Return log((exp(logits) - 1) / logits)."""
    away, far = _away_from_zero(logits)
    size = away.abs()
    closed = torch.log(-torch.expm1(-size) / size) + away.clamp(min=0)
    series = logits / 2 + logits**2 / 24 - logits**4 / 2880
    return torch.where(far, closed, series)


def _away_from_zero(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return logits of which none is near 0, and which of them are the given ones."""
    far = logits.abs() > _NEAR_ZERO
    return torch.where(far, logits, 1.0), far
