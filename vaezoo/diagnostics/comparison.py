"""How far draws of one distribution are from those of another: a guide against its reference.

The reference are draws from the posterior that can be trusted, as converged chains, resampled
particles, or those that :mod:`vaezoo.diagnostics.checking` returns. Draws are ``(S, B, L)`` and
``(R, B, L)``, for each of B data. Three numbers see different things:

=================  ==========================  =================================================
number             same distribution           sees
=================  ==========================  =================================================
``wasserstein``    0, in sds of the reference  how far mass has to be moved, in all directions
``gaussian_kl``    0, in nats                  means and covariances, correlations among them
``c2st``           1/2                         whether a classifier can tell one draw from another
=================  ==========================  =================================================

With few draws the first two are above 0 also for the same distribution, by about 2 / sqrt(S) and
L (L + 3) / (2 S). Draws that depend on each other, as those of chains, count as fewer. All is
computed in float64, on the CPU.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from vaezoo.errors import RequestError
from vaezoo.runtime.device import seeded

__all__ = ["Comparison", "DrawsLike", "c2st", "compare_draws", "gaussian_kl", "sliced_wasserstein"]

MOST_NUMBERS = 4_000_000
MOST_CROSSED = 16
PENALTY = 1.0
NEWTON_STEPS = 12
CONVERGED = 1e-3
FEWEST = 10
SHORTENED = (1.0, 0.5, 0.25, 0.0625)

DrawsLike = Tensor | Mapping[str, Tensor]


@dataclass(frozen=True)
class Comparison:
    """How far draws are from those of a reference, each ``(B,)``.

    Attributes
    ----------
    wasserstein
        Sliced Wasserstein-1 distance, in standard deviations of the reference.
    largest_wasserstein
        Wasserstein-1 distance of the worst latent by itself, in the same units.
    gaussian_kl
        KL of the Gaussians with the same moments, in nats.
    c2st
        Accuracy of a classifier on draws that it was not fitted to.
    """

    wasserstein: Tensor
    largest_wasserstein: Tensor
    gaussian_kl: Tensor
    c2st: Tensor


@torch.no_grad()
def compare_draws(draws: DrawsLike, reference: DrawsLike, *, seed: int = 0) -> Comparison:
    """Compare draws with those of a reference, for each datum.

    Parameters
    ----------
    draws
        Vectors ``(S, B, L)``, or latents by site, ``(S, B, *event)``.
    reference
        Of the same data and latents, ``(R, B, ...)``.
    seed
        Seed of directions and folds.

    Raises
    ------
    RequestError
        When there are other data or latents, numbers that are not finite, or too few draws.

    Examples
    --------
    >>> import torch
    >>> draws = torch.randn(500, 1, 2, generator=torch.Generator().manual_seed(0))
    >>> shifted = compare_draws(draws + 2, draws)
    >>> round(float(shifted.largest_wasserstein), 1), float(shifted.c2st) > 0.9
    (2.0, True)
    """
    ours, theirs = _standardised(draws, reference)
    alone = _distances(ours, theirs, torch.eye(ours.shape[-1], dtype=ours.dtype))
    return Comparison(
        sliced_wasserstein(draws, reference, seed=seed),
        alone.max(-1).values,
        gaussian_kl(draws, reference),
        c2st(draws, reference, seed=seed),
    )


@torch.no_grad()
def sliced_wasserstein(
    draws: DrawsLike, reference: DrawsLike, *, num_directions: int = 64, seed: int = 0
) -> Tensor:
    """Return the sliced Wasserstein-1 distance, ``(B,)``, in sds of the reference.

    The mean over random directions of the distance of what draws are along them, each latent
    divided by its standard deviation under the reference (Rabin et al. 2012). With one latent it is
    the distance itself, and a shift by d sds is d; with L, a shift is d sqrt(2 / (pi L)) or so.

    Examples
    --------
    >>> draws = torch.randn(500, 1, 1)
    >>> round(float(sliced_wasserstein(draws + 2 * draws.std(), draws)), 3)
    2.0
    """
    if num_directions < 1:
        raise RequestError(f"num_directions is 1 or more, got {num_directions}")
    ours, theirs = _standardised(draws, reference)
    with seeded(seed, torch.device("cpu")):
        directions = torch.randn(num_directions, ours.shape[-1], dtype=ours.dtype)
    directions = directions / directions.norm(dim=-1, keepdim=True)
    return _distances(ours, theirs, directions).mean(-1)


def _distances(ours: Tensor, theirs: Tensor, directions: Tensor) -> Tensor:
    """Return Wasserstein-1 distances along directions ``(P, L)``, ``(B, P)``."""
    columns = len(directions) * (ours.shape[1] + theirs.shape[1])
    size = max(1, MOST_NUMBERS // columns)
    parts = zip(ours.split(size), theirs.split(size), strict=True)
    return torch.cat([_wasserstein(directions @ a.mT, directions @ b.mT) for a, b in parts])


def _wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """Return the area between the distribution functions of ``(..., S)`` and ``(..., R)``."""
    if a.shape == b.shape:
        return (a.sort(-1).values - b.sort(-1).values).abs().mean(-1)
    places, order = torch.cat([a, b], -1).sort(-1)
    rise = torch.cat([a.new_full(a.shape[-1:], 1 / a.shape[-1]), -b.new_ones(b.shape[-1:])])
    rise[a.shape[-1] :] /= b.shape[-1]
    height = rise[order].cumsum(-1)[..., :-1]
    return (height.abs() * places.diff(dim=-1)).sum(-1)


@torch.no_grad()
def gaussian_kl(draws: DrawsLike, reference: DrawsLike) -> Tensor:
    """Return KL(N(m, C) || N(m_ref, C_ref)) of means and covariances, ``(B,)``, in nats.

    Infinite where draws have no spread in some direction; not a number for such a reference.

    Examples
    --------
    >>> draws = torch.randn(500, 1, 1)
    >>> round(float(gaussian_kl(draws + 2 * draws.std(), draws)), 3)
    2.0
    """
    ours, theirs = _standardised(draws, reference)
    least, size = min(ours.shape[1], theirs.shape[1]), ours.shape[-1]
    if least <= size:
        raise RequestError(f"covariances of {size} latents take {size + 1} draws, got {least}")
    (mean, factor), (mean_ref, factor_ref) = _moments(ours), _moments(theirs)
    spread = torch.linalg.solve_triangular(factor_ref, factor, upper=False)
    shift = (mean - mean_ref).unsqueeze(-1)
    shift = torch.linalg.solve_triangular(factor_ref, shift, upper=False)
    log_ratio = _log_diagonal(factor_ref) - _log_diagonal(factor)
    return 0.5 * (spread.square().sum((1, 2)) + shift.square().sum((1, 2)) - size) + log_ratio


def _moments(draws: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean ``(B, L)`` and factor of the covariance ``(B, L, L)`` of ``(B, S, L)``."""
    mean = draws.mean(1)
    centred = draws - mean.unsqueeze(1)
    factor, failed = torch.linalg.cholesky_ex(centred.mT @ centred / (draws.shape[1] - 1))
    return mean, torch.where(failed.bool()[:, None, None], 0.0, factor)


def _log_diagonal(factor: Tensor) -> Tensor:
    return factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)


@torch.no_grad()
def c2st(draws: DrawsLike, reference: DrawsLike, *, num_folds: int = 5, seed: int = 0) -> Tensor:
    """Return the accuracy of a classifier that tells draws from the reference, ``(B,)``.

    The classifier two-sample test (Lopez-Paz & Oquab 2017, arXiv:1610.06545): 1/2 where the two
    cannot be told apart, with an error of 0.65 / sqrt(S + R); 1 where they do not overlap. Both
    sides count alike, whatever their numbers of draws.

    Notes
    -----
    The classifier is a logistic regression on latents, squares and products of two (with more than
    16 latents, without products), the best one between Gaussians; it does not see a difference
    that is in higher moments alone. Its accuracy is of draws in folds that it was not fitted to.

    Examples
    --------
    >>> draws = torch.randn(500, 1, 1)
    >>> float(c2st(draws + 10, draws))
    1.0
    """
    ours, theirs = _standardised(draws, reference)
    numbers = (ours.shape[1], theirs.shape[1])
    if not 2 <= num_folds <= min(numbers):
        raise RequestError(f"num_folds lies between 2 and {min(numbers)}, got {num_folds}")
    label = torch.cat([torch.ones(numbers[0]), torch.zeros(numbers[1])]).to(ours.dtype)
    with seeded(seed, torch.device("cpu")):
        fold = torch.cat([torch.randperm(number) % num_folds for number in numbers])
    width = _features(ours[:1, :1]).shape[-1]
    size = max(1, MOST_NUMBERS // (sum(numbers) * width))
    parts = zip(ours.split(size), theirs.split(size), strict=True)
    return torch.cat([_accuracy(torch.cat(part, 1), label, fold) for part in parts])


def _accuracy(draws: Tensor, label: Tensor, fold: Tensor) -> Tensor:
    """Return the accuracy ``(B,)`` of folds ``(n,)`` that are held out of ``draws (B, n, L)``."""
    centred = draws - draws.mean(1, keepdim=True)
    features = _features(centred / centred.std(1, keepdim=True).clamp(min=1e-12))
    right = torch.zeros(draws.shape[:2], dtype=draws.dtype)
    for held_out in range(int(fold.max()) + 1):
        used = (fold != held_out).to(draws.dtype)
        weight = used * _balance(label, used)
        said = (features @ _fit_logistic(features, label, weight).unsqueeze(-1)).squeeze(-1) > 0
        right = torch.where(fold == held_out, (said == label.bool()).to(draws.dtype), right)
    return (right * _balance(label, torch.ones_like(label))).mean(1)


def _balance(label: Tensor, used: Tensor) -> Tensor:
    """Return weights ``(n,)`` that give both sides half of those that are used."""
    ours = (label * used).sum()
    theirs = used.sum() - ours
    return torch.where(label.bool(), 0.5 / ours, 0.5 / theirs) * used.sum()


def _features(z: Tensor) -> Tensor:
    """Return 1, latents, and products of two (or squares), ``(B, n, F)``."""
    size = z.shape[-1]
    first, second = torch.triu_indices(size, size) if size <= MOST_CROSSED else [range(size)] * 2
    return torch.cat([torch.ones_like(z[..., :1]), z, z[..., first] * z[..., second]], -1)


def _fit_logistic(features: Tensor, label: Tensor, weight: Tensor) -> Tensor:
    """Return coefficients ``(B, F)`` of a logistic regression with a ridge, by Newton's method.

    Each step has the best of four lengths, so that data that can be separated do no harm.
    """
    beta = features.new_zeros(len(features), features.shape[-1])
    ridge = PENALTY * torch.eye(features.shape[-1], dtype=features.dtype)
    logit = features.new_zeros(features.shape[:2])
    lengths = features.new_tensor(SHORTENED)[:, None, None]
    for _ in range(NEWTON_STEPS):
        share = logit.sigmoid()
        slope = ((weight * (label - share)).unsqueeze(1) @ features).squeeze(1) - PENALTY * beta
        curvature = (weight * share * (1 - share)).unsqueeze(-1) * features
        factor = torch.linalg.cholesky(features.mT @ curvature + ridge)
        step = torch.cholesky_solve(slope.unsqueeze(-1), factor)
        ahead = (features @ step).squeeze(-1)
        margins = (2 * label - 1) * (logit + lengths * ahead)
        penalties = PENALTY / 2 * (beta + lengths * step.squeeze(-1)).square().sum(-1)
        losses = (weight * softplus(-margins)).sum(-1) + penalties
        length = lengths[losses.argmin(0), 0]
        beta, logit = beta + length * step.squeeze(-1), logit + length * ahead
        if float(ahead.abs().max()) < CONVERGED:
            break
    return beta


def _standardised(draws: DrawsLike, reference: DrawsLike) -> tuple[Tensor, Tensor]:
    """Return both as ``(B, S, L)`` and ``(B, R, L)``, in sds of the reference."""
    ours, theirs = _vectors(draws, reference), _vectors(reference, reference)
    if ours.shape[::2] != theirs.shape[::2] or min(ours.shape[1], theirs.shape[1]) < FEWEST:
        raise RequestError(
            f"draws (B, S, L) of {tuple(ours.shape)} and {tuple(theirs.shape)} cannot be compared; "
            f"take {FEWEST} or more of the same data and latents"
        )
    if not bool(ours.isfinite().all() & theirs.isfinite().all()):
        raise RequestError("some draws are not finite; leave their data out of the comparison")
    scale = theirs.std(1, keepdim=True).clamp(min=1e-12)
    centre = theirs.mean(1, keepdim=True)
    return (ours - centre) / scale, (theirs - centre) / scale


def _vectors(draws: DrawsLike, like: DrawsLike) -> Tensor:
    """Return draws as ``(B, S, L)``, their sites in the order of others."""
    if isinstance(draws, Tensor) and isinstance(like, Tensor):
        if draws.dim() != 3:
            raise RequestError(f"draws are (S, B, L), got {tuple(draws.shape)}")
        return draws.cpu().double().transpose(0, 1)
    if isinstance(draws, Tensor) or isinstance(like, Tensor) or draws.keys() != like.keys():
        raise RequestError("these draws have other sites than the reference; give both the same")
    sites = [draws[name].cpu().double() for name in like]
    return torch.cat([z.reshape(*z.shape[:2], -1) for z in sites], -1).transpose(0, 1)
