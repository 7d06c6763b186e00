"""Families of one element, fitted to data in closed form, and mixtures of rows of independent ones.

The simplest models there are of ``x (N, D)``: each element by itself, or K such models of which
each row has one (expectation-maximisation; Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39).
What the mixture gains is what latents can explain. Missing entries are nan, and count nowhere.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import torch
from torch import Tensor
from torch import distributions as dist

from vaezoo.distributions.levels import DiscretizedLogistic
from vaezoo.distributions.unit import ContinuousBernoulli

__all__ = [
    "FAMILIES",
    "Family",
    "Moments",
    "bernoulli_of",
    "fit_mixture",
    "normal_of",
    "poisson_of",
]

LogProb: TypeAlias = Callable[[Tensor], Tensor]  # of x (N, D): (N, D)
Fit: TypeAlias = Callable[[Tensor, Tensor], LogProb]  # x (N, D), weights of the rows (N,)

HALF_A_COUNT = 0.5  # so that what was never seen has a probability (Jeffreys' prior)
SMALLEST_SIGMA = 1e-3  # of the deviation of an element: a mixture could end on single rows
MOST_LEVELS = 256
ITERATIONS = 30
DEGREES = 5.0  # of freedom of a Student-t


@dataclass(frozen=True)
class Family:
    """A distribution of an element.

    Attributes
    ----------
    name
        In the plural of the field, as ``categorical``.
    explains
        Whether all of some values ``(M,)`` are in its support.
    fit
        The maximum-likelihood fit to weighted rows, or one by moments.
    is_density
        Whether it says nats of a density, which compare among densities of the same unit only.
    about
        What it assumes.
    """

    name: str
    explains: Callable[[Tensor], bool]
    fit: Fit
    is_density: bool
    about: str


def fit_mixture(family: Family, x: Tensor, num_components: int = 1, *, seed: int = 0) -> LogProb:
    """Fit a mixture of independent elements to rows ``(N, D)``; one component is closed-form.

    Returns
    -------
    callable
        From rows ``(M, D)`` to their log-densities ``(M,)``, in nats.

    Examples
    --------
    >>> x = torch.tensor([[0.0, 0.0], [1.0, 1.0]]).repeat(50, 1).double()
    >>> bernoulli = FAMILIES["bernoulli"]
    >>> one, two = (fit_mixture(bernoulli, x, k)(x).mean() for k in (1, 2))
    >>> round(float(one), 2), round(float(two), 2)  # two coins; one coin, shown twice
    (-1.39, -0.71)
    """
    shares = _first_shares(x, num_components, seed)
    for _ in range(ITERATIONS if num_components > 1 else 1):
        log_joint = _maximised(family, x, shares)
        shares = log_joint(x).softmax(-1)
    return lambda rows: log_joint(rows).logsumexp(-1)


def _maximised(family: Family, x: Tensor, shares: Tensor) -> LogProb:
    """Return log p(x, k) ``(M, K)`` of the components that explain their shares of rows best."""
    size = shares.sum(0) + HALF_A_COUNT
    log_size = (size / size.sum()).log()
    components = [family.fit(x, share) for share in shares.T]

    def log_joint(rows: Tensor) -> Tensor:
        is_there = ~rows.isnan()
        whole = rows.nan_to_num()
        of_each = [torch.where(is_there, of(whole), 0.0).sum(-1) for of in components]
        return torch.stack(of_each, -1) + log_size

    return log_joint


def _first_shares(x: Tensor, num_components: int, seed: int) -> Tensor:
    """Return which component each row begins in: that of the nearest of K rows, ``(N, K)``."""
    if num_components == 1:
        return x.new_ones(len(x), 1)
    generator = torch.Generator().manual_seed(seed)
    whole = x.nan_to_num()
    whole = (whole - whole.mean(0)) / whole.std(0).clamp(min=1e-12)
    places = torch.randperm(len(x), generator=generator)[:num_components]
    nearest = torch.cdist(whole, whole[places]).argmin(-1)
    return torch.nn.functional.one_hot(nearest, num_components).to(x.dtype)


class Moments:
    """Weighted count, mean and variance of each element, ``(D,)`` in float64, piece by piece.

    Pieces are merged about their own means, so that a large mean takes nothing from the variance
    (Chan, Golub & LeVeque 1983).

    Examples
    --------
    >>> moments = Moments().add(torch.tensor([[1e9], [1e9 + 1]], dtype=torch.float64))
    >>> moments.add(torch.tensor([[1e9 + 2], [torch.nan]], dtype=torch.float64)).variance
    tensor([0.6667], dtype=torch.float64)
    """

    def __init__(self) -> None:
        self.count = self.mean = self._squares = torch.zeros((), dtype=torch.float64)

    def add(self, x: Tensor, weights: Tensor | None = None) -> "Moments":
        """Count rows ``(M, D)``, missing entries nan, each with its weight ``(M,)``, or 1."""
        there = (~x.isnan()).double() * (1 if weights is None else weights[:, None])
        whole, count = x.nan_to_num().double(), there.sum(0)
        mean = (there * whole).sum(0) / count.clamp(min=1e-12)
        squares = (there * (whole - mean) ** 2).sum(0)
        both, apart = self.count.to(count) + count, mean - self.mean.to(mean)
        share = count / both.clamp(min=1e-12)
        self._squares = self._squares.to(mean) + squares + apart**2 * self.count.to(mean) * share
        self.mean = self.mean.to(mean) + apart * share
        self.count = both
        return self

    @property
    def variance(self) -> Tensor:
        return self._squares / self.count.clamp(min=1e-12)

    def share(self, most: float = 1.0) -> Tensor:
        """The mean over ``most``, away from 0 and 1."""
        total = most * self.count
        return (self.count * self.mean + HALF_A_COUNT) / (total + 2 * HALF_A_COUNT)

    @property
    def rate(self) -> Tensor:
        return (self.count * self.mean + HALF_A_COUNT) / self.count.clamp(min=1)


def bernoulli_of(moments: Moments) -> dist.Distribution:
    """Return the Bernoulli of each element."""
    return dist.Bernoulli(moments.share(), validate_args=False)


def poisson_of(moments: Moments) -> dist.Distribution:
    """Return the Poisson of each element."""
    return dist.Poisson(moments.rate, validate_args=False)


def normal_of(moments: Moments, smallest: Tensor | float) -> dist.Distribution:
    """Return the normal of each element, with a smallest standard deviation."""
    sigma = moments.variance.sqrt()
    sigma = torch.maximum(sigma, torch.as_tensor(smallest, dtype=sigma.dtype, device=sigma.device))
    return dist.Normal(moments.mean, sigma, validate_args=False)


def _bernoulli(x: Tensor, weights: Tensor) -> LogProb:
    return bernoulli_of(Moments().add(x, weights)).log_prob


def _binomial(x: Tensor, weights: Tensor) -> LogProb:
    most = int(x.nan_to_num().max())
    share = Moments().add(x, weights).share(most)
    binomial = dist.Binomial(most, share, validate_args=False)
    return lambda rows: torch.where(
        rows <= most, binomial.log_prob(rows.clamp(max=most)), -math.inf
    )


def _poisson(x: Tensor, weights: Tensor) -> LogProb:
    return poisson_of(Moments().add(x, weights)).log_prob


def _negative_binomial(x: Tensor, weights: Tensor) -> LogProb:
    """By moments: variance = mean + mean^2 / r; hardly more than the mean is a Poisson."""
    moments = Moments().add(x, weights)
    excess = (moments.variance - moments.rate).clamp(min=1e-3 * moments.rate)
    count = moments.rate**2 / excess
    logits = (moments.rate / count).log()
    return dist.NegativeBinomial(count, logits=logits, validate_args=False).log_prob


def _categorical(x: Tensor, weights: Tensor) -> LogProb:
    low = x.nan_to_num(nan=math.inf).min()
    high = x.nan_to_num(nan=-math.inf).max()
    levels, size = int(high - low) + 1, x.shape[1]
    there = ~x.isnan()
    columns = levels * torch.arange(size, device=x.device)
    places = ((x - low).nan_to_num().long() + columns)[there]
    counts = x.new_zeros(size * levels)
    counts.index_add_(0, places, weights[:, None].expand_as(x)[there])
    counts = counts.reshape(size, levels) + HALF_A_COUNT
    log_share = (counts / counts.sum(-1, keepdim=True)).log().flatten()

    def log_prob(rows: Tensor) -> Tensor:
        at = (rows - low).long()
        inside = (at >= 0) & (at < levels)
        return log_share[at.clamp(0, levels - 1) + columns].masked_fill(~inside, -math.inf)

    return log_prob


def _normal(x: Tensor, weights: Tensor) -> LogProb:
    deviation = Moments().add(x).variance.clamp(min=1e-12).sqrt()
    return normal_of(Moments().add(x, weights), SMALLEST_SIGMA * deviation).log_prob


def _log_normal(x: Tensor, weights: Tensor) -> LogProb:
    normal = _normal(x.log(), weights)
    return lambda rows: normal(rows.clamp(min=1e-300).log()) - rows.clamp(min=1e-300).log()


def _gamma(x: Tensor, weights: Tensor) -> LogProb:
    """Minka 2002, *Estimating a Gamma distribution*: a start that is within 1.5 %."""
    mean, of_log = (Moments().add(value, weights).mean for value in (x, x.log()))
    s = (mean.log() - of_log).clamp(min=1e-6)
    shape = (3 - s + ((s - 3) ** 2 + 24 * s).sqrt()) / (12 * s)
    gamma = dist.Gamma(shape, shape / mean.clamp(min=1e-300), validate_args=False)
    return lambda rows: gamma.log_prob(rows.clamp(min=1e-300))


def _beta(x: Tensor, weights: Tensor) -> LogProb:
    """By moments."""
    moments = Moments().add(x, weights)
    spread = moments.mean * (1 - moments.mean)
    total = (spread / moments.variance.clamp(min=1e-9) - 1).clamp(min=1e-2)
    beta = dist.Beta(moments.mean * total, (1 - moments.mean) * total, validate_args=False)
    return lambda rows: beta.log_prob(rows.clamp(1e-7, 1 - 1e-7))


def _continuous_bernoulli(x: Tensor, weights: Tensor) -> LogProb:
    """The mean determines the logit, which is found by bisection."""
    mean = Moments().add(x, weights).mean
    low, high = torch.full_like(mean, -1e3), torch.full_like(mean, 1e3)
    for _ in range(50):
        middle = (low + high) / 2
        is_below = ContinuousBernoulli(middle).mean < mean
        low, high = torch.where(is_below, middle, low), torch.where(is_below, high, middle)
    return ContinuousBernoulli((low + high) / 2).log_prob


def _laplace(x: Tensor, weights: Tensor) -> LogProb:
    """The median, and the mean distance from it."""
    share = weights[:, None] * ~x.isnan()
    order = x.nan_to_num(nan=math.inf).argsort(0)
    passed = share.gather(0, order).cumsum(0) < share.sum(0) / 2
    loc = x.gather(0, order).gather(0, passed.sum(0, keepdim=True)).nan_to_num()
    distance = (share * (x - loc).abs().nan_to_num()).sum(0) / share.sum(0).clamp(min=1e-12)
    smallest = SMALLEST_SIGMA * Moments().add(x).variance.clamp(min=1e-12).sqrt()
    return dist.Laplace(loc[0], torch.maximum(distance, smallest), validate_args=False).log_prob


def _student_t(x: Tensor, weights: Tensor) -> LogProb:
    """By expectation-maximisation, of 5 degrees of freedom (Lange, Little & Taylor 1989)."""
    share = weights[:, None] * ~x.isnan()
    moments = Moments().add(x, weights)
    smallest = SMALLEST_SIGMA * Moments().add(x).variance.clamp(min=1e-12).sqrt()
    loc, scale = moments.mean, torch.maximum(moments.variance.sqrt(), smallest)
    for _ in range(ITERATIONS):
        nearness = share * (DEGREES + 1) / (DEGREES + ((x - loc) / scale).square())
        loc = (nearness * x).nansum(0) / nearness.nansum(0).clamp(min=1e-12)
        spread = (nearness * (x - loc).square()).nansum(0) / share.sum(0).clamp(min=1e-12)
        scale = torch.maximum(spread.sqrt(), smallest)
    return dist.StudentT(DEGREES, loc, scale, validate_args=False).log_prob


def _discretized_logistic(x: Tensor, weights: Tensor) -> LogProb:
    """By moments; rounding adds 1/12 to the variance."""
    moments, most = Moments().add(x, weights), int(x.nan_to_num().max())
    scale = (moments.variance - 1 / 12).clamp(min=1e-2).mul(3).sqrt() / math.pi
    levels = DiscretizedLogistic(moments.mean, scale, most + 1)
    return lambda rows: torch.where(rows <= most, levels.log_prob(rows), -math.inf)


def _are_counts(values: Tensor) -> bool:
    return bool((values >= 0).all() and (values == values.round()).all())


def _are_levels(values: Tensor) -> bool:
    whole = bool((values == values.round()).all())
    return whole and float(values.max() - values.min()) < MOST_LEVELS


FAMILIES = {
    family.name: family
    for family in (
        Family(
            "bernoulli",
            lambda x: bool(((x == 0) | (x == 1)).all()),
            _bernoulli,
            False,
            "0 or 1",
        ),
        Family(
            "categorical",
            lambda x: _are_levels(x) and not _is_binary(x),
            _categorical,
            False,
            "each level has its own probability",
        ),
        Family(
            "binomial",
            lambda x: _are_counts(x) and _are_levels(x) and not _is_binary(x),
            _binomial,
            False,
            "so many of n",
        ),
        Family(
            "poisson",
            lambda x: _are_counts(x) and not _is_binary(x),
            _poisson,
            False,
            "counts, variance = mean",
        ),
        Family(
            "negative-binomial",
            lambda x: _are_counts(x) and not _is_binary(x),
            _negative_binomial,
            False,
            "counts, variance > mean",
        ),
        Family(
            "discretized-logistic",
            lambda x: _are_counts(x) and _are_levels(x) and not _is_binary(x),
            _discretized_logistic,
            False,
            "levels near each other are alike",
        ),
        Family("gaussian", lambda x: not _is_whole(x), _normal, True, "real numbers"),
        Family("laplace", lambda x: not _is_whole(x), _laplace, True, "real, some far off"),
        Family(
            "student-t", lambda x: not _is_whole(x), _student_t, True, "real, some very far off"
        ),
        Family(
            "continuous-bernoulli",
            lambda x: not _is_whole(x) and bool(((x >= 0) & (x <= 1)).all()),
            _continuous_bernoulli,
            True,
            "0 ... 1, the ends included",
        ),
        Family(
            "log-normal",
            lambda x: not _is_whole(x) and bool((x > 0).all()),
            _log_normal,
            True,
            "positive, the logarithm Gaussian",
        ),
        Family(
            "gamma",
            lambda x: not _is_whole(x) and bool((x > 0).all()),
            _gamma,
            True,
            "positive, deviation ~ mean",
        ),
        Family(
            "beta",
            lambda x: not _is_whole(x) and bool(((x > 0) & (x < 1)).all()),
            _beta,
            True,
            "between 0 and 1",
        ),
    )
}


def _is_binary(values: Tensor) -> bool:
    return bool(((values == 0) | (values == 1)).all())


def _is_whole(values: Tensor) -> bool:
    return bool((values == values.round()).all())
