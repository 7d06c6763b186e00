"""Does a decoder say of the data what is true? Posterior predictive checks.

Each datum x gets one draw z from the guide, and p(x | z) is held against x: by draws x' from it,
the replicated data, and for binary data by its probabilities. If the model is right and the guide
exact, (x, z) is a draw from p(x, z), so that x is one draw more from p(x | z), and everything below
is exactly calibrated. (With x' of several z it would not be: x would have been used twice.)

===========  =====================================================================================
reliability  of binary elements: how often x_d is one where p_d is said to be its probability; the
             curve rises by pool-adjacent-violators, with consistency bands (Dimitriadis et al.
             2021, arXiv:2008.03033)
PIT          of all others: share of replicated x'_d below x_d, ties broken at random, so that it is
             uniform for counts and categories too (Czado et al. 2009); a U is a sigma too small, a
             hump one too large
statistics   of a datum, averaged over the data, and as often over replicated data
===========  =====================================================================================

Data that the pair was trained on look better than they should; take others. A frame of a sequence
is a datum, given the frames before it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from scipy.optimize import isotonic_regression
from torch import Tensor, nn

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.uniformity import grade_of, uniform_p_value
from vaezoo.distributions.families import factorises, family
from vaezoo.errors import RequestError
from vaezoo.pairs.admission import admit
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import split_rows, trial_rows
from vaezoo.pairs.sites import Args, Site, step_of, takes_lengths, trace_pair
from vaezoo.sequences.paths import Frames, training_form
from vaezoo.sequences.unrolled import by_rows

__all__ = [
    "STATISTICS",
    "PredictiveCheck",
    "Reliability",
    "StatisticCheck",
    "predictive_checks",
    "reliability",
]

ROWS_AT_ONCE = 1000
FEWEST_REPLICATES = 20
MOST_VALUES = 10_000
NUM_POINTS, NUM_CURVES = 50, 199
BAND = (0.025, 0.975)

Statistic = Callable[[Tensor], Tensor]


def _sparsity(x: Tensor) -> Tensor:
    """0 where all elements are alike, 1 where one is not zero (Hoyer 2004, section 3.1)."""
    flat = x.reshape(len(x), -1)
    root = flat.shape[1] ** 0.5
    norm = flat.norm(dim=1).clamp(min=torch.finfo(x.dtype).tiny)
    return (root - flat.abs().sum(1) / norm) / max(root - 1, 1e-9)


def _total_variation(x: Tensor) -> Tensor:
    """Sum of the steps between neighbours; of an image along both axes."""
    if x.dim() == 1:  # one number has no neighbours
        return torch.zeros_like(x)
    axes = [-1] if x.dim() == 2 else [-2, -1]
    return torch.stack([x.diff(dim=a).abs().reshape(len(x), -1).sum(1) for a in axes]).sum(0)


STATISTICS: Mapping[str, Statistic] = {
    "mean": lambda x: x.reshape(len(x), -1).mean(1),
    "variance": lambda x: x.reshape(len(x), -1).var(1, correction=0),
    "sparsity": _sparsity,
    "total variation": _total_variation,
}


@dataclass(frozen=True)
class Reliability:
    """How often what is said to have a probability happens, at up to 50 probabilities.

    Attributes
    ----------
    probability
        What is said, rising, ``(K,)``.
    frequency
        What happens, by isotonic regression, ``(K,)``.
    lower, upper
        Where the frequency lies with 95 % at each point, if what is said is right, ``(K,)``.
    miscalibration
        Brier score of what is said, minus that of the frequency; 0 is best.
    p_value
        How often it is as large if what is said is right.
    """

    probability: Array
    frequency: Array
    lower: Array
    upper: Array
    miscalibration: float
    p_value: float


@dataclass(frozen=True)
class StatisticCheck:
    """A statistic of the data, and of replicated data.

    Attributes
    ----------
    observed
        Its mean over the data.
    replicated
        The same of each replicate, ``(R,)``.
    p_value
        Share of the replicates that have more, ties broken at random; 0 or 1 is a misfit.
    """

    observed: float
    replicated: Tensor
    p_value: float

    @property
    def grade(self) -> str:
        """``good``, ``caution`` or ``bad``, by the two-sided p value: from 5 %, from 1 %, below."""
        return grade_of(2 * min(self.p_value, 1 - self.p_value))


@dataclass(frozen=True)
class PredictiveCheck:
    """What an observed site says of its data.

    Attributes
    ----------
    reliability
        Of binary data, else None.
    pit
        Of other data, of up to 10,000 elements taken at random, ``(M,)``, else None. Where the
        elements of a datum do not factorise, one of each datum.
    statistics
        By name.
    """

    reliability: Reliability | None
    pit: Tensor | None
    statistics: Mapping[str, StatisticCheck]

    @cached_property
    def grades(self) -> dict[str, str]:
        """``good``, ``caution`` or ``bad``, by ``reliability`` or ``pit`` and by statistic."""
        grades = {}
        if self.reliability is not None:
            grades["reliability"] = grade_of(self.reliability.p_value)
        if self.pit is not None:
            grades["pit"] = grade_of(uniform_p_value(self.pit))
        return {**grades, **{name: check.grade for name, check in self.statistics.items()}}


def predictive_checks(
    pair: nn.Module,
    args: Args,
    *,
    num_replicates: int = 200,
    statistics: Mapping[str, Statistic] = STATISTICS,
    seed: int = 0,
) -> dict[str, PredictiveCheck]:
    """Check each observed site of a pair against its data.

    Parameters
    ----------
    pair
        Any pair. Frames of a sequence pair are replicated given the true frames before them.
    args
        Data that it was not trained on, tensors of ``(B, ...)``.
    num_replicates
        Replicated data sets R.
    statistics
        Functions of data ``(N, *x_shape)``, one number for each, ``(N,)``.
    seed
        Seed of the draws.

    Returns
    -------
    dict
        By observed site, the steps of a sequence joined.

    Raises
    ------
    RequestError
        When there are too few replicates, or sites that data share.

    Examples
    --------
    Data that are far larger than any that the model makes.

    >>> from vaezoo.testing.pairs import LinearPair
    >>> predictive_checks(LinearPair(), (torch.full((200, 4), 50.0),))["x"].grades["pit"]
    'bad'
    """
    if num_replicates < FEWEST_REPLICATES:
        raise RequestError(
            f"predictive checks take {FEWEST_REPLICATES} replicates or more, got {num_replicates}"
        )
    whole = training_form(pair)
    tallies: dict[str, _Tally] = {}
    with probing(pair, args[0].device, seed=seed):
        few = trial_rows(args)
        trace = trace_pair(whole, few)
        admit(whole, trace, "a predictive check", ["shared"], num_rows=len(few[0]))
        for part in split_rows(args, ROWS_AT_ONCE):
            for name, site in trace_pair(whole, part).observed.items():
                step = step_of(name) if takes_lengths(whole) else None
                base = step[0] if step else name
                tally = tallies.setdefault(base, _Tally(num_replicates, statistics))
                tally.add(*_rows(site))
        return {name: tally.finish(seed) for name, tally in tallies.items()}


def _rows(site: Site) -> tuple[Any, Tensor, Tensor]:
    """Return distribution and value of all rows, and which of them are data."""
    fn, value = site["fn"], site["value"]
    if isinstance(fn, Frames):
        return fn.steps, by_rows(value), fn.path.mask.T.flatten()
    every = torch.ones(len(value), dtype=torch.bool, device=value.device)
    return fn, value, every & site["mask"] if isinstance(site["mask"], Tensor) else every


class _Tally:
    """What is counted of one observed site."""

    def __init__(self, num_replicates: int, statistics: Mapping[str, Statistic]) -> None:
        self.functions = statistics
        self.number = 0
        self.said: list[Tensor] = []
        self.happened: list[Tensor] = []
        self.pit: list[Tensor] = []
        self.sums = {n: torch.zeros(1 + num_replicates).double() for n in statistics}
        self.num_replicates = num_replicates

    def add(self, fn: Any, value: Tensor, keep: Tensor) -> None:
        """Count some rows, and replicate them."""
        value, independent = value[keep], factorises(fn)
        is_binary = independent and family(fn) == "Bernoulli"
        if is_binary:
            self.said.append(fn.mean[keep].flatten())
            self.happened.append(value.flatten())
        self.number += len(value)
        self._sum(0, value)
        rank = _Rank(value)
        for r in range(self.num_replicates):
            replicate = fn.sample()[keep]
            self._sum(1 + r, replicate)
            if not is_binary:
                rank.count(replicate)
        if not is_binary:
            self.pit.append(_independent(rank.pit(self.num_replicates), independent))

    def _sum(self, place: int, x: Tensor) -> None:
        x = x.reshape(len(x), *(x.shape[1:] or (1,)))
        x = x if x.is_floating_point() else x.float()
        for name, function in self.functions.items():
            self.sums[name][place] += function(x).cpu().double().sum()

    def finish(self, seed: int) -> PredictiveCheck:
        """Return the checks of the rows so far."""
        checks = {name: self._statistic(sums / self.number) for name, sums in self.sums.items()}
        if not self.said:
            return PredictiveCheck(None, _chosen([torch.cat(self.pit)])[0], checks)
        said, happened = _chosen([torch.cat(self.said), torch.cat(self.happened)])
        curve = reliability(said.cpu().numpy(), happened.cpu().numpy(), seed=seed)
        return PredictiveCheck(curve, None, checks)

    def _statistic(self, means: Tensor) -> StatisticCheck:
        observed, replicated = means[0], means[1:]
        rank = _Rank(observed)
        for value in replicated:
            rank.count(value)
        above = 1 - float(rank.pit(self.num_replicates))
        return StatisticCheck(float(observed), replicated, above)


class _Rank:
    """Where values are among replicated ones."""

    def __init__(self, value: Tensor) -> None:
        self.value = value
        self.below = torch.zeros(value.shape, device=value.device)
        self.equal = torch.zeros_like(self.below)

    def count(self, replicated: Tensor) -> None:
        self.below += replicated < self.value
        self.equal += replicated == self.value

    def pit(self, number: int) -> Tensor:
        """Return the share of replicated values below, ties broken at random."""
        below, equal = self.below.cpu().double(), self.equal.cpu().double()
        return (below + torch.rand_like(below) * (equal + 1)) / (number + 1)


def _independent(pit: Tensor, all_elements: bool) -> Tensor:
    """Return all PIT of data ``(N, *x_shape)``, or of each datum one at random."""
    flat = pit.reshape(len(pit), -1)
    if all_elements:
        return flat.flatten()
    which = torch.randint(flat.shape[1], (len(flat), 1))
    return flat.gather(1, which).flatten()


def _chosen(values: list[Tensor]) -> list[Tensor]:
    """Return the same elements, not too many, of some tensors ``(M,)``."""
    number = len(values[0])
    if number <= MOST_VALUES:
        return values
    places = torch.randperm(number)[:MOST_VALUES]
    return [value[places.to(value.device)] for value in values]


# Reliability


def reliability(said: Array, happened: Array, *, seed: int = 0) -> Reliability:
    """Return the reliability curve of probabilities ``(M,)`` of what happened, 0 or 1, ``(M,)``.

    Notes
    -----
    CORP (Dimitriadis et al. 2021, arXiv:2008.03033): isotonic regression of what happened; its
    bands and p value are those of 199 resampled outcomes.

    Examples
    --------
    >>> said = np.linspace(0.05, 0.95, 1000)
    >>> happened = (np.random.default_rng(0).random(1000) < said).astype(float)
    >>> reliability(said, happened).p_value > 0.01
    True
    """
    p, group, count = np.unique(
        np.asarray(said, dtype=np.float64), return_inverse=True, return_counts=True
    )
    share = np.bincount(group, np.asarray(happened, dtype=np.float64)) / count
    frequency, excess = _isotonic(p, share, count)
    generator = np.random.default_rng(seed)
    resampled = [
        _isotonic(p, generator.binomial(count, p) / count, count) for _ in range(NUM_CURVES)
    ]
    quantiles = (np.arange(NUM_POINTS) + 0.5) / NUM_POINTS * count.sum()
    points = np.unique(np.searchsorted(count.cumsum(), quantiles))
    lower, upper = np.quantile([curve[points] for curve, _ in resampled], BAND, axis=0)
    as_large = sum(other >= excess for _, other in resampled)
    p_value = (1 + as_large) / (1 + NUM_CURVES)
    return Reliability(p[points], frequency[points], lower, upper, excess, p_value)


def _isotonic(p: Array, share: Array, count: Array) -> tuple[Array, float]:
    """Return the rising curve nearest to shares, and how much nearer it is than p."""
    curve = isotonic_regression(share, weights=count).x
    excess = np.average((p - share) ** 2 - (curve - share) ** 2, weights=count)
    return curve, float(excess)
