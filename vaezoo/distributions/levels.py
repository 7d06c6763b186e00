"""Distributions of whole numbers 0, 1, ..., K - 1: levels, as grey levels or ratings."""

import math
from typing import Any

import torch
from pyro.distributions import MixtureSameFamily, TorchDistribution, constraints
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["DiscretizedLogistic", "LevelMixture", "Levels", "ordinal_logits"]


class Levels(TorchDistribution):
    """p(x = k) = softmax(logits)_k of levels that have an order, so that they have a mean.

    Parameters
    ----------
    logits
        Of the K levels, ``(..., K)``; all but the last dimension are the batch shape.

    Examples
    --------
    >>> fn = Levels(torch.tensor([0.2, 0.3, 0.5]).log())
    >>> fn.log_prob(torch.tensor(2.0)).exp(), fn.mean
    (tensor(0.5000), tensor(1.3000))
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)
    has_enumerate_support = True

    def __init__(self, logits: Tensor) -> None:
        self.log_probs = logits.log_softmax(-1)
        self.num_levels = logits.shape[-1]
        super().__init__(logits.shape[:-1], validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.integer_interval(0, self.num_levels - 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "Levels":
        return Levels(self.log_probs.expand(*torch.Size(batch_shape), self.num_levels))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of each level; -inf of what is none."""
        index = value.long()
        is_level = (index == value) & (index >= 0) & (index < self.num_levels)
        index = index.clamp(0, self.num_levels - 1).unsqueeze(-1)
        shape = torch.broadcast_shapes(index.shape[:-1], self.log_probs.shape[:-1])
        log_probs = self.log_probs.expand(*shape, self.num_levels)
        chosen = log_probs.gather(-1, index.expand(*shape, 1)).squeeze(-1)
        return chosen.masked_fill(~is_level, -math.inf)

    @property
    def _levels(self) -> Tensor:
        return torch.arange(self.num_levels, device=self.log_probs.device).to(self.log_probs)

    @property
    def mean(self) -> Tensor:
        return (self.log_probs.exp() * self._levels).sum(-1)

    @property
    def variance(self) -> Tensor:
        apart = self._levels - self.mean.unsqueeze(-1)
        return (self.log_probs.exp() * apart.square()).sum(-1)

    @property
    def mode(self) -> Tensor:
        return self.log_probs.argmax(-1).to(self.log_probs)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        probs = self.log_probs.exp().expand(*shape, self.num_levels)
        index = torch.multinomial(probs.reshape(-1, self.num_levels), 1)
        return index.reshape(shape).to(self.log_probs)

    def enumerate_support(self, expand: bool = True) -> Tensor:
        values = self._levels.reshape(-1, *[1] * len(self.batch_shape))
        return values.expand(-1, *self.batch_shape) if expand else values


def ordinal_logits(location: Tensor, cuts: Tensor) -> Tensor:
    """Return log p(x = k) of a logistic latent that falls between two of K - 1 rising cuts.

    p(x <= k) = sigmoid(cuts_k - location), the proportional odds of McCullagh 1980 (J. R. Stat.
    Soc. B 42, eq. 2.4).

    Parameters
    ----------
    location
        Of any shape ``(...)``.
    cuts
        Rising, ``(..., K - 1)``.

    Returns
    -------
    Tensor
        ``(..., K)``; their exponentials sum to 1.

    Examples
    --------
    >>> ordinal_logits(torch.zeros(()), torch.tensor([0.0])).exp()
    tensor([0.5000, 0.5000])
    """
    edges = cuts - location.unsqueeze(-1)
    least = logsigmoid(edges[..., :1])
    most = logsigmoid(-edges[..., -1:])
    return torch.cat([least, _log_between(edges[..., 1:], edges[..., :-1]), most], -1)


def _log_between(upper: Tensor, lower: Tensor) -> Tensor:
    """Return log(sigmoid(upper) - sigmoid(lower)), without taking the difference."""
    return logsigmoid(upper) + logsigmoid(-lower) + torch.log(-torch.expm1(lower - upper))


class DiscretizedLogistic(TorchDistribution):
    """A logistic variable rounded to the levels 0 ... K - 1, its tails counted at the ends.

    p(x) = sigmoid((x + 1/2 - loc) / scale) - sigmoid((x - 1/2 - loc) / scale), with the first term
    1 at x = K - 1 and the second 0 at x = 0 (Salimans et al. 2017, arXiv:1701.05517, eq. 2).

    Parameters
    ----------
    loc, scale
        In units of levels.
    num_levels
        K.

    Examples
    --------
    >>> fn = DiscretizedLogistic(torch.tensor(1.0), torch.tensor(0.3), 4)
    >>> round(float(fn.log_prob(torch.arange(4.0)).exp().sum()), 4), fn.mode
    (1.0, tensor(1.))
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)

    def __init__(self, loc: Tensor, scale: Tensor, num_levels: int) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        self.num_levels = num_levels
        super().__init__(self.loc.shape, validate_args=False)

    @property
    def support(self) -> Any:
        return constraints.integer_interval(0, self.num_levels - 1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "DiscretizedLogistic":
        shape = torch.Size(batch_shape)
        return DiscretizedLogistic(
            self.loc.expand(shape), self.scale.expand(shape), self.num_levels
        )

    def log_prob(self, value: Tensor) -> Tensor:
        upper = (value + 0.5 - self.loc) / self.scale
        lower = (value - 0.5 - self.loc) / self.scale
        is_first, is_last = value <= 0, value >= self.num_levels - 1
        inside = torch.log(-torch.expm1(-1 / self.scale))
        below = torch.where(is_last, 0.0, logsigmoid(upper))
        above = torch.where(is_first, 0.0, logsigmoid(-lower))
        return below + above + torch.where(is_first | is_last, 0.0, inside)

    @property
    def mean(self) -> Tensor:
        """The sum of p(x > k) over the levels k."""
        total = torch.zeros_like(self.loc)
        for level in range(self.num_levels - 1):
            total = total + torch.sigmoid((self.loc - level - 0.5) / self.scale)
        return total

    @property
    def mode(self) -> Tensor:
        """The most probable of the nearest level and the two ends."""
        last = self.num_levels - 1
        ends = torch.stack([self.loc.clamp(0, last).round(), self.loc * 0, self.loc * 0 + last])
        best = self.log_prob(ends).argmax(0, keepdim=True)
        return ends.gather(0, best).squeeze(0)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        u = torch.rand(shape, dtype=self.loc.dtype, device=self.loc.device).clamp(1e-7, 1 - 1e-7)
        x = self.loc + self.scale * u.logit()
        return x.round().clamp(0, self.num_levels - 1)


class LevelMixture(MixtureSameFamily):  # type: ignore[misc]
    """A mixture of distributions of the same levels, whose support is theirs.

    Examples
    --------
    >>> components = DiscretizedLogistic(torch.tensor([0.0, 3.0]), torch.tensor(0.3), 4)
    >>> mixture = LevelMixture(torch.distributions.Categorical(torch.ones(2)), components)
    >>> mixture.support
    IntegerInterval(lower_bound=0, upper_bound=3)
    """

    @property
    def num_levels(self) -> int:
        number: int = self.component_distribution.num_levels
        return number

    @property
    def support(self) -> Any:
        return self.component_distribution.support
