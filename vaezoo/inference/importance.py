"""Importance weights of each datum: how good draws of its latents are, and draws that are better.

Draws z_s from a proposal q, here the guide, have the weights w_s = p(x, z_s) / q(z_s | x). Their
mean estimates p(x) without bias, and draws taken in proportion to them are draws from p(z | x)
(sampling-importance-resampling, Rubin 1988). Both hold only where q has draws: **a mode of the
posterior that q never visits leaves no sign in its weights**. Log weights are ``(S, B)``, S draws
for each of B data, in nats. What is computed from them is
in float64, on the CPU.

Pareto smoothing (PSIS) fits a generalised Pareto distribution to the largest weights of a datum,
and puts the quantiles of the fit in their place. Its shape k-hat says whether the weights can be
averaged: they have 1/k moments.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.pairs.accounting import log_mean_exp, log_weight
from vaezoo.pairs.admission import DENSITY, UNCOUNTED, admit
from vaezoo.pairs.particles import Particles, choose_particles, probing
from vaezoo.pairs.pieces import MOST_ROWS, join, rows_at_once, slices, trial_rows
from vaezoo.pairs.sites import Args, guide_of, model_of, trace_pair
from vaezoo.runtime.device import seeded
from vaezoo.sequences.paths import training_form

__all__ = [
    "Smoothed",
    "Weighted",
    "effective_share",
    "importance_weights",
    "largest_good_k",
    "log_evidence",
    "log_evidence_error",
    "pareto_smooth",
    "resample",
    "summary",
    "systematic",
]

DATA_AT_ONCE = 256
SHORTEST_TAIL = 5
PRIOR_SCALE, PRIOR_SHAPE = 3, 10
UNDERFLOW = math.log(torch.finfo(torch.float64).tiny)
NO_SPREAD = 1e-3


@dataclass(frozen=True)
class Weighted:
    """Draws of the latents of each datum, and their log weights.

    Attributes
    ----------
    latents
        Draws by site, ``(S, B, *event)``.
    log_weights
        log p(x, z) - log q(z), ``(S, B)``, in nats; not normalised.
    """

    latents: Mapping[str, Tensor]
    log_weights: Tensor


@dataclass(frozen=True)
class Smoothed:
    """Log weights after Pareto smoothing.

    Attributes
    ----------
    log_weights
        ``(S, B)``, on the scale of the weights that were given.
    k_hat
        Shape of the tail, ``(B,)``. Up to 0.7 averages can be trusted, above 1 they cannot
        (:func:`largest_good_k`); with 1,000 draws its noise is 0.1, with 4,000 half of that.
        0 where the largest weights are equal to 0.1 %, as those of an exact guide are;
        infinite where there are too few draws to say.
    """

    log_weights: Tensor
    k_hat: Tensor


def importance_weights(
    pair: nn.Module,
    args: Args,
    num_samples: int = 4000,
    *,
    seed: int = 0,
    max_rows: int = MOST_ROWS,
) -> Weighted:
    """Draw from the guide, and weigh the draws by the model.

    Parameters
    ----------
    pair
        Any pair with latents, continuous or discrete; of a sequence pair, whole paths.
    args
        A batch, tensors of ``(B, ...)``.
    num_samples
        Draws S for each datum.
    seed
        Seed of the draws.
    max_rows
        Most rows that go through the pair at a time.

    Raises
    ------
    RequestError
        When the pair has no latents, or a guide without a density, or sites that data share.

    Examples
    --------
    The guide of this pair is exact, so that each weight is p(x).

    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> weighted = importance_weights(pair, (x,), 100)
    >>> error = weighted.log_weights - pair.log_evidence(x)
    >>> weighted.latents["z"].shape, bool((error.abs() < 1e-4).all())
    (torch.Size([100, 3, 2]), True)
    """
    if num_samples < 1:
        raise RequestError(f"importance weights take 1 draw or more, got {num_samples}")
    pair = training_form(pair)
    with probing(pair, args[0].device, seed=seed):
        few = trial_rows(args)
        trace = trace_pair(pair, few)
        kinds = (*DENSITY, *UNCOUNTED, "shared")
        admit(pair, trace, "importance weighting", kinds, num_rows=len(few[0]))
        in_plate = choose_particles(pair, few, 2).in_plate
        pieces = slices(num_samples, rows_at_once(len(args[0]), most=max_rows))
        sizes = [piece.stop - piece.start for piece in pieces]
        return join([_draw(pair, args, Particles(size, in_plate)) for size in sizes])


def _draw(pair: nn.Module, args: Args, particles: Particles) -> Weighted:
    trace = particles.trace(model_of(pair), guide_of(pair), args)
    latents = {name: particles.by_datum(q["value"]) for name, (_, q) in trace.latents.items()}
    return Weighted(latents, particles.by_datum(log_weight(trace)))


def effective_share(log_weights: Tensor) -> Tensor:
    """Return the effective sample size as a share of the draws, ``(B,)``, between 1/S and 1.

    (sum_s w_s)^2 / (S sum_s w_s^2) (Kong 1992).

    Examples
    --------
    >>> effective_share(torch.tensor([[0.0], [0.0], [-99.0], [-99.0]]))
    tensor([0.5000], dtype=torch.float64)
    """
    log_w = log_weights.cpu().double().log_softmax(0)
    return (-(2 * log_w).logsumexp(0)).exp() / len(log_w)


def log_evidence(log_weights: Tensor) -> Tensor:
    """Return log 1/S sum_s w_s, ``(B,)``, in nats.

    With the weights as they are, the estimate of log p(x) of Burda et al. 2016 (arXiv:1509.00519,
    eq. 8), a lower bound in expectation. With smoothed weights it is that of PSIS: less noise, no
    bound.

    Examples
    --------
    >>> log_evidence(torch.tensor([[1.0], [3.0]]).log())
    tensor([0.6931], dtype=torch.float64)
    """
    return log_mean_exp(log_weights.cpu().double())


def log_evidence_error(log_weights: Tensor) -> Tensor:
    """Return the standard error of :func:`log_evidence`, ``(B,)``, in nats.

    sd(w) / (mean(w) sqrt(S)), by the delta method; it is right where k-hat is good.

    Examples
    --------
    >>> log_evidence_error(torch.zeros(100, 1))
    tensor([0.], dtype=torch.float64)
    """
    number = len(log_weights)
    return ((1 / effective_share(log_weights) - 1).clamp(min=0) / number).sqrt()


def largest_good_k(num_samples: int) -> float:
    """Return the k-hat up to which averages over so many draws are reliable.

    min(1 - 1 / log10 S, 0.7) (Vehtari et al. 2024, arXiv:1507.02646, sec. 3.2.4).

    Examples
    --------
    >>> round(largest_good_k(100), 2), round(largest_good_k(4000), 2)
    (0.5, 0.7)
    """
    return min(1 - 1 / math.log10(num_samples), 0.7) if num_samples > 1 else 0.0


@torch.no_grad()
def resample(
    latents: Mapping[str, Tensor], log_weights: Tensor, num_samples: int, *, seed: int = 0
) -> dict[str, Tensor]:
    """Take draws in proportion to their weights: draws from the posterior of each datum.

    Parameters
    ----------
    latents
        Draws by site, ``(S, B, *event)``.
    log_weights
        ``(S, B)``; those of :func:`pareto_smooth` have less noise.
    num_samples
        Draws R that are returned, at most as many as are different in effect.
    seed
        Seed of the choice.

    Returns
    -------
    dict
        Draws by site, ``(R, B, *event)``, in random order.

    Notes
    -----
    The choice is systematic: a draw with the share w of the weight is taken R w times, rounded up
    or down.

    Examples
    --------
    >>> log_weights = torch.tensor([[0.0], [-99.0]])
    >>> resample({"z": torch.tensor([[1.0], [2.0]])}, log_weights, 3)["z"].squeeze(1)
    tensor([1., 1., 1.])
    """
    with seeded(seed, torch.device("cpu")):
        chosen = systematic(log_weights.cpu().double(), num_samples)
        chosen = chosen.gather(0, torch.rand(chosen.shape).argsort(0))
    data = torch.arange(chosen.shape[1])
    return {name: z[chosen.to(z.device), data.to(z.device)] for name, z in latents.items()}


def systematic(log_weights: Tensor, num_samples: int) -> Tensor:
    """Return the places ``(R, B)`` of draws in proportion to their weights ``(S, B)``.

    It works where the weights are, in their precision; one number is drawn for each datum.

    Examples
    --------
    >>> systematic(torch.tensor([[0.5], [0.25], [0.25]]).log(), 4).squeeze(1)
    tensor([0, 0, 1, 2])
    """
    cumulative = log_weights.softmax(0).cumsum(0).T.contiguous()
    start = torch.rand_like(cumulative[:, :1])
    places = (start + torch.arange(num_samples, device=start.device)) / num_samples
    return torch.searchsorted(cumulative, places).clamp(max=len(log_weights) - 1).T


def summary(log_weights: Tensor, smoothed: Smoothed) -> dict[str, Tensor]:
    """Return ``elbo``, ``iwae``, ``psis``, ``k_hat`` and ``ess`` of weights of the guide, ``(B,)``.

    The first three are in nats: mean log weight, log mean weight, and that of smoothed weights.

    Examples
    --------
    >>> log_weights = torch.zeros(100, 1)
    >>> values = summary(log_weights, pareto_smooth(log_weights))
    >>> {name: round(float(value), 3) for name, value in values.items()}
    {'elbo': 0.0, 'iwae': 0.0, 'psis': 0.0, 'k_hat': 0.0, 'ess': 1.0}
    """
    return {
        "elbo": log_weights.mean(0),
        "iwae": log_evidence(log_weights),
        "psis": log_evidence(smoothed.log_weights),
        "k_hat": smoothed.k_hat,
        "ess": effective_share(log_weights),
    }


@torch.no_grad()
def pareto_smooth(log_weights: Tensor) -> Smoothed:
    """Smooth the largest weights of each datum (PSIS).

    Parameters
    ----------
    log_weights
        ``(S, B)``, in nats.

    Notes
    -----
    Vehtari et al. 2024, arXiv:1507.02646, with the estimator of Zhang & Stephens 2009 and its weak
    prior for the shape. ArviZ has the same as ``psislw``; its sign differs between 0.23, which
    takes log weights, and 1.x, which takes log-likelihoods. All data are fitted at once here.

    Examples
    --------
    These weights have no mean, as the shape of their tail is 2.

    >>> log_weights = torch.distributions.Exponential(0.5).sample((4000, 1))
    >>> bool(pareto_smooth(log_weights).k_hat > largest_good_k(4000))
    True
    """
    parts = log_weights.cpu().double().split(DATA_AT_ONCE, 1)
    smoothed, k_hat = zip(*(_smooth(part.T) for part in parts), strict=True)
    return Smoothed(torch.cat(smoothed).T, torch.cat(k_hat))


def _smooth(log_weights: Tensor) -> tuple[Tensor, Tensor]:
    """Smooth log weights ``(B, S)``; the tails are the last columns once they are sorted."""
    number = log_weights.shape[1]
    size = math.ceil(min(number / 5, 3 * math.sqrt(number)))
    largest = log_weights.max(1, keepdim=True).values
    log_w, order = (log_weights - largest).sort(1)
    if number <= size:
        return log_weights, log_weights.new_full((len(log_w),), math.inf)
    cutoff = log_w[:, -size - 1 : -size].clamp(min=UNDERFLOW)
    tail = log_w[:, -size:]
    inside = tail > cutoff
    count = inside.sum(1, keepdim=True)
    excess = torch.where(inside, tail.exp() - cutoff.exp(), 0.0)
    shape, scale = _fit_pareto(excess, inside, count)
    rank = torch.arange(0.5, size, dtype=log_w.dtype) - (size - count)
    quantile = _pareto_quantile(rank / count.clamp(min=1), shape, scale)
    fitted = (quantile + cutoff.exp()).log().clamp(max=0.0)
    enough = (count >= SHORTEST_TAIL) & shape.isfinite()
    log_w[:, -size:] = torch.where(inside & enough, fitted, tail)
    flat = cutoff > -NO_SPREAD
    k_hat = torch.where(enough, shape, math.inf)
    k_hat = torch.where(flat, 0.0, k_hat).squeeze(1)
    return torch.empty_like(log_w).scatter_(1, order, log_w) + largest, k_hat


def _fit_pareto(excess: Tensor, inside: Tensor, count: Tensor) -> tuple[Tensor, Tensor]:
    """Return shape and scale, each ``(B, 1)``, of sorted excesses ``(B, M)`` over a cutoff.

    The posterior mean of b = -shape / scale over a grid (Zhang & Stephens 2009, eqs. 6 to 8).
    """
    size = excess.shape[1]
    num_points = 30 + count.double().sqrt().floor()
    index = torch.arange(1, 31 + math.isqrt(size), dtype=excess.dtype)
    used = index <= num_points
    quartile = (count / 4 + 0.5).floor().long() - 1 + (size - count)
    quartile_excess = excess.gather(1, quartile.clamp(0, size - 1))
    b = (1 - (num_points / (index - 0.5)).sqrt()) / (PRIOR_SCALE * quartile_excess)
    b = b + 1 / excess[:, -1:]
    shapes = _mean_log(b, excess, inside, count)
    log_likelihood = count * ((-b / shapes).log() - shapes - 1)
    weights = torch.where(used, log_likelihood, -math.inf).softmax(1)
    b_mean = torch.where(used, weights * b, 0.0).sum(1, keepdim=True)
    shape = _mean_log(b_mean, excess, inside, count)
    scale = -shape / b_mean
    return (count * shape + PRIOR_SHAPE * 0.5) / (count + PRIOR_SHAPE), scale


def _mean_log(b: Tensor, excess: Tensor, inside: Tensor, count: Tensor) -> Tensor:
    """Return the mean of log(1 - b x) over a tail, ``(B, number of b)``."""
    values = torch.log1p(-b.unsqueeze(-1) * excess.unsqueeze(1))
    return torch.where(inside.unsqueeze(1), values, 0.0).sum(-1) / count


def _pareto_quantile(p: Tensor, shape: Tensor, scale: Tensor) -> Tensor:
    exponential = -torch.log1p(-p.clamp(0, 1))
    is_zero = shape.abs() < torch.finfo(shape.dtype).eps
    return scale * torch.where(is_zero, exponential, torch.expm1(shape * exponential) / shape)
