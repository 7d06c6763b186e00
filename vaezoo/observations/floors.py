"""The least that a model should know of data: simple models of what it observes, fitted exactly.

Of a model that ends at independent elements, neither latents nor memory have learned anything.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import chain
from typing import Any, Protocol, TypeAlias

import torch
from torch import Tensor, nn
from torch import distributions as dist

from vaezoo.distributions.families import family
from vaezoo.distributions.fits import FAMILIES, Moments, bernoulli_of, normal_of, poisson_of
from vaezoo.observations.missing import filled
from vaezoo.observations.roles import Observation, roles_of
from vaezoo.pairs.accounting import num_units
from vaezoo.pairs.lengths import frame_mask
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import trial_rows
from vaezoo.pairs.sites import Args, argument_names, lengths_of, step_of, takes_lengths, trace_pair

__all__ = [
    "SMALLEST_SIGMA",
    "Independent",
    "Markov",
    "Observed",
    "Rows",
    "Simple",
    "independent_elements",
    "simple_models",
]

SMALLEST_SIGMA = 0.01  # the floor of a Gaussian likelihood, so that constants compare alike

# The fit of an element by itself, for families that have one by moments.
_BY_MOMENTS: dict[str, Callable[[Moments], Any]] = {
    "Bernoulli": bernoulli_of,
    "Normal": partial(normal_of, smallest=SMALLEST_SIGMA),
    "Poisson": poisson_of,
}
# Those that are fitted to all rows at once.
_BY_ROWS = {
    "Beta": "beta",
    "Binomial": "binomial",
    "Categorical": "categorical",
    "ContinuousBernoulli": "continuous-bernoulli",
    "DiscretizedLogistic": "discretized-logistic",
    "Gamma": "gamma",
    "Laplace": "laplace",
    "LogNormal": "log-normal",
    "NegativeBinomial": "negative-binomial",
    "StudentT": "student-t",
}
_FEWEST_PAIRS = 1e-9

LogProb: TypeAlias = Callable[[Mapping[str, "Rows"]], Tensor]


@dataclass(frozen=True)
class Rows:
    """What a site observes, a datum or frame in each row, in float64.

    Attributes
    ----------
    x
        The rows, ``(M, D)``, missing entries nan.
    before
        Of frames those just before them, ``(M, D)``, nan before the first; None without frames.
    """

    x: Tensor
    before: Tensor | None = None


@dataclass(frozen=True)
class Observed:
    """What a pair observes: of each site its family, and where its values stand.

    Attributes
    ----------
    pair
        The pair.
    families, taken
        By site.
    """

    pair: nn.Module
    families: Mapping[str, str]
    taken: Mapping[str, Observation]

    @classmethod
    def by(cls, pair: nn.Module, batch: Args) -> "Observed | None":
        """Return what a pair observes of a batch; None where that is computed, or mixed.

        None, too, where the pair explains more than that by a factor, as what is missing.
        """
        few = tuple(map(filled, trial_rows(batch)))
        names: dict[str, set[str]] = {}
        with probing(pair, batch[0].device):
            trace, roles = trace_pair(pair, few), roles_of(pair, few)
        for name, site in trace.observed.items():
            step = step_of(name) if takes_lengths(pair) else None
            names.setdefault(step[0] if step else name, set()).add(_family(site["fn"]))
        taken = {site: where for site, where in roles.observed.items() if where is not None}
        if trace.factors or len(taken) < len(roles.observed):
            return None
        if any(len(names.get(s, ())) != 1 for s in taken):
            return None
        return cls(pair, {site: min(names[site]) for site in taken}, taken)

    def rows(self, args: Args) -> dict[str, Rows]:
        """Return what each site observes of a batch."""
        return {site: _rows(self.pair, args, where) for site, where in self.taken.items()}


class Simple(Protocol):
    """A simple model: it is shown rows, then fitted."""

    def add(self, rows: Mapping[str, Rows]) -> None:
        """Take note of training rows, by site."""

    def fitted(self) -> LogProb | None:
        """Return the sum of log p over rows, by site; None where it cannot be had."""


class Independent:
    """Each element of each site by itself, in the family that the model gives it.

    Parameters
    ----------
    observed
        What is observed, in families of which each has a fit in closed form.
    """

    def __init__(self, observed: Observed) -> None:
        self.families = observed.families
        self.moments = {site: Moments() for site in self.families}
        self.whole: dict[str, list[Tensor]] = {site: [] for site in self.families}

    @staticmethod
    def of(observed: Observed) -> "Independent | None":
        """Return the model; None where the fit of a family is not known."""
        fits = _BY_MOMENTS.keys() | _BY_ROWS.keys()
        return Independent(observed) if set(observed.families.values()) <= fits else None

    def add(self, rows: Mapping[str, Rows]) -> None:
        for site, kind in self.families.items():
            if kind in _BY_MOMENTS:
                self.moments[site].add(rows[site].x)
            else:
                self.whole[site].append(rows[site].x)

    def fitted(self) -> LogProb:
        fits = {site: self._fit(site, kind) for site, kind in self.families.items()}
        return lambda rows: torch.stack([_total(fits[site], rows[site].x) for site in fits]).sum()

    def _fit(self, site: str, kind: str) -> Callable[[Tensor], Tensor]:
        if kind in _BY_MOMENTS:
            log_prob: Callable[[Tensor], Tensor] = _BY_MOMENTS[kind](self.moments[site]).log_prob
            return log_prob
        x = torch.cat(self.whole[site])
        return FAMILIES[_BY_ROWS[kind]].fit(x, x.new_ones(len(x)))


class Markov:
    """Each element by itself, given its own value in the frame before.

    Normal elements are regressed on it (an autoregression of order 1), binary ones have a
    probability after 0 and one after 1; the first frame has the moments of all.

    Parameters
    ----------
    observed
        What is observed.
    """

    def __init__(self, observed: Observed) -> None:
        self.families = observed.families
        self.sums = {site: _Sums() for site in self.families}

    @staticmethod
    def of(observed: Observed) -> "Markov | None":
        """Return the model; None where there are no frames, or a family has no such fit."""
        if not takes_lengths(observed.pair):
            return None
        return (
            Markov(observed) if set(observed.families.values()) <= {"Bernoulli", "Normal"} else None
        )

    def add(self, rows: Mapping[str, Rows]) -> None:
        for site, sums in self.sums.items():
            sums.add(rows[site])

    def fitted(self) -> LogProb:
        fits = {
            site: (self.sums[site].bernoulli if kind == "Bernoulli" else self.sums[site].normal)
            for site, kind in self.families.items()
        }
        return lambda rows: torch.stack(
            [_total(fits[site](rows[site]).log_prob, rows[site].x) for site in fits]
        ).sum()


class _Sums:
    """Moments of an element, of those before it, and of both together."""

    def __init__(self) -> None:
        self.alone, self.x, self.before, self.sum = (Moments() for _ in range(4))

    def add(self, rows: Rows) -> None:
        self.alone.add(rows.x)
        if rows.before is None:
            return
        both = rows.x + rows.before
        gaps = both.isnan()
        for moments, values in ((self.x, rows.x), (self.before, rows.before), (self.sum, both)):
            moments.add(values.masked_fill(gaps, torch.nan))

    @property
    def covariance(self) -> Tensor:
        return (self.sum.variance - self.x.variance - self.before.variance) / 2

    def normal(self, rows: Rows) -> dist.Distribution:
        marginal = normal_of(self.alone, SMALLEST_SIGMA)
        if rows.before is None:
            return marginal
        slope = self.covariance / self.before.variance.clamp(min=_FEWEST_PAIRS)
        variance = self.x.variance - slope * self.covariance
        sigma = variance.clamp(min=SMALLEST_SIGMA**2).sqrt()
        loc = self.x.mean + slope * (rows.before - self.before.mean)
        first = rows.before.isnan()
        loc = torch.where(first, marginal.mean, loc)
        sigma = torch.where(first, marginal.stddev, sigma.expand_as(loc))
        return dist.Normal(loc, sigma, validate_args=False)

    def bernoulli(self, rows: Rows) -> dist.Distribution:
        marginal = self.alone.share()
        if rows.before is None:
            return dist.Bernoulli(marginal, validate_args=False)
        count, ones = self.x.count, self.x.count * self.x.mean
        before = self.before.count * self.before.mean
        both = count * (self.covariance + self.x.mean * self.before.mean)
        after_one = (both + 0.5) / (before + 1)
        after_zero = (ones - both + 0.5) / (count - before + 1)
        probability = torch.where(rows.before > 0.5, after_one, after_zero)
        probability = torch.where(rows.before.isnan(), marginal, probability).clamp(0.0, 1.0)
        return dist.Bernoulli(probability, validate_args=False)


@torch.no_grad()
def simple_models(
    pair: nn.Module,
    train: Iterable[Args],
    held_out: Iterable[Args],
    kinds: Mapping[str, Callable[[Observed], Simple | None]],
) -> dict[str, float]:
    """Return the mean log-density of held-out data under simple models, in nats per datum.

    The training rows are read once, and so are those that are held out.

    Parameters
    ----------
    pair
        The pair; of it only the families of its observed sites are used.
    train, held_out
        Batches of arguments, missing entries nan.
    kinds
        By name, what makes a model of what is observed, or None where there is none.

    Returns
    -------
    dict
        Nats per datum, per frame for sequences, of those models that there are.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x = torch.tensor([[1.0], [-1.0]]).expand(2, 4)
    >>> simple_models(LinearPair(), [(x,)], [(x,)], {"independent": Independent.of})
    {'independent': -5.675754132818691}
    """
    batches = iter(train)
    first = next(batches)
    observed = Observed.by(pair, first)
    if observed is None:
        return {}
    made = {name: kind(observed) for name, kind in kinds.items()}
    models = {name: model for name, model in made.items() if model is not None}
    for args in chain([first], batches) if models else ():
        rows = observed.rows(args)
        for model in models.values():
            model.add(rows)
    fits = {name: fit for name, model in models.items() if (fit := model.fitted()) is not None}
    return _means(observed, held_out, fits)


def _means(
    observed: Observed, held_out: Iterable[Args], fits: Mapping[str, LogProb]
) -> dict[str, float]:
    totals, units = dict.fromkeys(fits, 0.0), 0.0
    for args in held_out if fits else ():
        units += float(num_units(observed.pair, args))
        rows = observed.rows(args)
        for name, log_prob in fits.items():
            totals[name] += float(log_prob(rows))
    return {name: total / units for name, total in totals.items() if total == total}


def independent_elements(
    pair: nn.Module, train: Iterable[Args], held_out: Iterable[Args]
) -> float | None:
    """Return the mean log-density of held-out data under independent elements, in nats per datum.

    Each element of each observed site has the family that the model gives it, with parameters of
    its own, fitted to the training data; frames of sequences share them. It is the ELBO of a pair
    whose latents carry nothing and whose outputs are constant.

    Parameters
    ----------
    pair, train, held_out
        As :func:`simple_models` takes them.

    Returns
    -------
    float or None
        Nats per datum, per frame for sequences; None where the fit of a family is not known in
        closed form, or a site observes what is computed.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x = torch.tensor([[1.0], [-1.0]]).expand(2, 4)
    >>> round(independent_elements(LinearPair(), [(x,)], [(x,)]), 4)  # of 4 N(0, 1)
    -5.6758
    """
    kinds = {"independent": Independent.of}
    return simple_models(pair, train, held_out, kinds).get("independent")


def _total(log_prob: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Return the sum over what is not missing."""
    return torch.where(x.isnan(), 0.0, log_prob(filled(x))).sum()


def _family(fn: Any) -> str:
    """Return the family of an observed site, of one for all frames that of a frame."""
    return family(fn.steps if family(fn) == "Frames" else fn)


def _rows(pair: nn.Module, args: Args, taken: Observation) -> Rows:
    """Return what a site observes, a datum or frame in each row."""
    x = args[argument_names(pair).index(taken.argument)].double()
    length = lengths_of(pair, args)
    if length is None or x.dim() < 2 or x.shape[1] != args[0].shape[1]:
        return Rows(_elements(x, taken))
    mask = frame_mask(length, x.shape[1])
    before = torch.cat([torch.full_like(x[:, :1], torch.nan), x[:, :-1]], 1)
    return Rows(_elements(x[mask], taken), _elements(before[mask], taken))


def _elements(x: Tensor, taken: Observation) -> Tensor:
    x = x.reshape(len(x), -1)
    return x if taken.elements is None else x[:, taken.elements.to(x.device)]
