"""Which of many short chains lie in the same mode, and the shape of each mode.

Chains are ``(S, N, B, L)``: S draws of each of N chains for each of B data. What a chain says of
the width of its mode does not depend on where the others are, so that distances between chains are
taken in units of the covariance *within* chains: modes that lie apart do not widen it, however many
there are. Chains whose means are linked by steps that are short in that unit are in one mode
(single linkage); how short is short, the chains say themselves, by the distances to their nearest
neighbours, since 20 draws do not reach all of a mode of many latents.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import one_hot

__all__ = [
    "MOST_CLUSTERS",
    "Clusters",
    "cluster",
    "doubled",
    "is_settled",
    "pooled_covariance",
]

MOST_CLUSTERS = 24
LONGEST_LINK, SHORTEST_REACH = 2.0, 2.0  # times the median distance to the nearest; in sds
FAR = 3.0  # times a link: too far to be counted as a part of a cluster
WANDERING, MOST_WANDERING = 20.0, 0.25  # times the median variance; share of chains
TOWARDS_DIAGONAL = (0.05, 0.15, 0.3, 0.5, 0.7, 0.9, 0.98)
TOWARDS_OWN = (0.0, 0.25, 0.5, 0.75, 0.95)
SMALLEST_VARIANCE = 1e-14


@dataclass(frozen=True)
class Clusters:
    """The modes that chains found, the largest first: K for each of B data, some of them empty.

    Attributes
    ----------
    label
        The cluster of each chain, ``(N, B)``; K for a chain that is in none, as one that has not
        arrived.
    size
        Chains of each cluster, ``(K, B)``.
    loc
        Their means, ``(K, B, L)``.
    factor
        Lower triangular factors of their covariances, ``(K, B, L, L)``.
    """

    label: Tensor
    size: Tensor
    loc: Tensor
    factor: Tensor

    def members_of(self, chains: slice) -> Tensor:
        """Return how many of some chains are in each cluster, ``(K, B)``."""
        return _members(self.label[chains], len(self.size)).sum(1)


def doubled(value: Tensor) -> Tensor:
    """Return a tensor in float64, on the CPU if its device has none."""
    return (value.cpu() if value.device.type == "mps" else value).double()


def is_settled(draws: Tensor, log_joint: Tensor) -> Tensor:
    """Return which chains stay where the posterior is, ``(N, B)``.

    Some hang far below the others, and some go from mode to mode: neither says how wide a mode is.
    Where a quarter wanders, the posterior is made so, and they stay.

    Parameters
    ----------
    draws
        ``(S, N, B, L)``.
    log_joint
        log p(x, u) of them, ``(S, N, B)``, in nats.

    Examples
    --------
    >>> draws = torch.randn(20, 8, 1, 2)
    >>> log_joint = torch.tensor([0.0] * 7 + [-100.0]).expand(20, 8).unsqueeze(-1)
    >>> is_settled(draws, log_joint).squeeze().sum()
    tensor(7)
    """
    height = log_joint.mean(0).nan_to_num(neginf=torch.finfo(log_joint.dtype).min)
    # A posterior of L latents lies within some sqrt(L / 2) nats of where it mostly is.
    depth = 10.0 + 5.0 * math.sqrt(draws.shape[-1] / 2)
    near = height > height.quantile(0.75, 0) - depth
    variance = draws.var(0)
    typical = variance.median(0).values.clamp(min=SMALLEST_VARIANCE)
    wanders = (variance > WANDERING * typical).any(-1)
    few = wanders.to(draws.dtype).mean(0) < MOST_WANDERING
    return near & ~(wanders & few)


def cluster(draws: Tensor, settled: Tensor) -> Clusters:
    """Return the modes that chains lie in, and the shape of each.

    How far the covariance of all goes to its diagonal, and that of a mode to its own, is chosen for
    each datum by the likelihood of that half of the chains that it was not made from.

    Examples
    --------
    >>> draws = torch.randn(20, 16, 1, 2)
    >>> draws[:, :4] += 30
    >>> cluster(draws, torch.ones(16, 1, dtype=torch.bool)).size.squeeze()
    tensor([12.,  4.], dtype=torch.float64)
    """
    draws = doubled(draws)
    label, number = _labels(draws, settled.to(draws.device))
    whole = _Moments.of(draws, label, number)
    return Clusters(label, whole.size, whole.loc, _factors(draws, label, whole))


def pooled_covariance(draws: Tensor, settled: Tensor) -> Tensor:
    """Return the covariance within modes, ``(B, L, L)``; few chains are drawn to its diagonal.

    Examples
    --------
    >>> draws = torch.randn(20, 16, 1, 2)
    >>> draws[:, :4] += 30
    >>> bool(pooled_covariance(draws, torch.ones(16, 1, dtype=torch.bool)).max() < 2)
    True
    """
    draws = doubled(draws)
    pooled = _Moments.of(draws, *_labels(draws, settled.to(draws.device))).pooled
    number, size = draws.shape[1], draws.shape[-1]
    return _towards_diagonal(pooled, torch.tensor((size + 5) / (number + size + 5)))


def _labels(draws: Tensor, settled: Tensor) -> tuple[Tensor, int]:
    """Return the cluster of each chain, ``(N, B)``, the largest first, and how many there are.

    What is in none has their number.
    """
    distance = _distances(draws, settled)
    nearest = distance.min(-1).values.masked_fill(~settled.T, math.nan)
    reach = (LONGEST_LINK * nearest.nanmedian(1).values).clamp(min=SHORTEST_REACH)[:, None]
    linked = _linked(distance < reach[..., None])
    size = torch.zeros_like(nearest).scatter_add_(1, linked, settled.T.to(nearest.dtype))
    by_size = size.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    place = by_size.gather(1, linked)
    # What is more than can be kept joins the nearest chain of a larger cluster, if that is near.
    small = place >= MOST_CLUSTERS
    to_large, at = distance.masked_fill(small[:, None, :], math.inf).min(-1)
    other = torch.where(to_large < FAR * reach, place.gather(1, at), MOST_CLUSTERS)
    place = torch.where(small, other, place)
    label = place.T.masked_fill(~settled, MOST_CLUSTERS)
    number = int(label.masked_fill(label == MOST_CLUSTERS, 0).max()) + 1  # one, if an empty one
    return label.clamp(max=number), number


def _distances(draws: Tensor, settled: Tensor) -> Tensor:
    """Return those between the means of settled chains, ``(B, N, N)``; infinite for others."""
    loc = draws.mean(0)
    factor = _factor(_within_chains(draws, settled))
    white = torch.linalg.solve_triangular(factor, loc.permute(1, 2, 0), upper=False).mT
    distance = torch.cdist(white, white)
    both = settled.T[:, :, None] & settled.T[:, None, :]
    itself = torch.eye(len(loc), dtype=torch.bool, device=loc.device)
    return distance.masked_fill(~both | itself, math.inf)


def _within_chains(draws: Tensor, settled: Tensor) -> Tensor:
    """Return the covariance of chains, each about its own mean, ``(B, L, L)``."""
    number, size = settled.sum(0).to(draws.dtype), draws.shape[-1]
    centred = (draws - draws.mean(0)) * settled[..., None]
    total = (max(1, len(draws) - 1) * number.clamp(min=1))[:, None, None]
    covariance = torch.einsum("snbl,snbm->blm", centred, centred) / total
    return _towards_diagonal(covariance, (size + 5) / (number + size + 5))


def _linked(near: Tensor) -> Tensor:
    """Return the smallest number of what each of ``(B, N, N)`` is linked to, ``(B, N)``."""
    number = near.shape[-1]
    label = torch.arange(number, device=near.device).expand(near.shape[:2])
    while True:
        of_near = torch.where(near, label[:, None, :], number).min(-1).values
        smaller = torch.minimum(label, of_near)
        if torch.equal(smaller, label):
            return label
        label = smaller


def _members(label: Tensor, number: int) -> Tensor:
    """Return whether each chain is in each cluster, ``(K, N, B)``, as numbers."""
    return one_hot(label, number + 1).permute(2, 0, 1)[:number].double()


@dataclass(frozen=True)
class _Moments:
    """Of clusters: ``size (K, B)``, ``loc (K, B, L)``, ``covariance (K, B, L, L)``."""

    size: Tensor
    loc: Tensor
    covariance: Tensor

    @classmethod
    def of(cls, draws: Tensor, label: Tensor, number: int) -> "_Moments":
        member = _members(label, number)
        size = member.sum(1)
        count = (len(draws) * size).clamp(min=1)[..., None]
        loc = torch.einsum("knb,snbl->kbl", member, draws) / count
        covariance = [
            torch.einsum("nb,snbl,snbm->blm", of_one, centred, centred)
            for of_one, centred in ((one, draws - at) for one, at in zip(member, loc, strict=True))
        ]
        return cls(size, loc, torch.stack(covariance) / count[..., None])

    @property
    def pooled(self) -> Tensor:
        """The covariance within clusters, ``(B, L, L)``."""
        share = self.size / self.size.sum(0).clamp(min=1)
        return torch.einsum("kb,kblm->blm", share, self.covariance)


def _factors(draws: Tensor, label: Tensor, whole: _Moments) -> Tensor:
    """Return the factor of the covariance of each cluster, ``(K, B, L, L)``."""
    number = len(whole.size)
    # Every other chain: independent of those between, and of all kinds of starts.
    halves = [_Moments.of(draws[:, i::2], label[i::2], number) for i in (0, 1)]
    to_diagonal = _best(
        TOWARDS_DIAGONAL,
        [_score_pooled(one, other, TOWARDS_DIAGONAL) for one, other in _both_ways(halves)],
    )
    to_own = _best(
        TOWARDS_OWN,
        [_score_own(one, other, to_diagonal, TOWARDS_OWN) for one, other in _both_ways(halves)],
    )
    weight = to_own * (whole.size > 1) * whole.size / (whole.size + 2)
    return _factor(_shrunk(whole, to_diagonal, weight))


def _both_ways(halves: Sequence[_Moments]) -> list[tuple[_Moments, _Moments]]:
    return [(halves[0], halves[1]), (halves[1], halves[0])]


def _best(choices: Sequence[float], scores: Sequence[Tensor]) -> Tensor:
    """Return the choice of the highest sum of scores ``(choices, B)``, ``(B,)``."""
    place = torch.stack([*scores]).sum(0).argmax(0)
    return torch.tensor(choices, dtype=scores[0].dtype, device=place.device)[place]


def _score_pooled(one: _Moments, other: _Moments, choices: Sequence[float]) -> Tensor:
    pooled, test = one.pooled, other.pooled
    return torch.stack(
        [_log_likelihood(_towards_diagonal(pooled, torch.tensor(c)), test) for c in choices]
    )


def _score_own(
    one: _Moments, other: _Moments, to_diagonal: Tensor, choices: Sequence[float]
) -> Tensor:
    scores = []
    for choice in choices:
        covariance = _shrunk(one, to_diagonal, choice * (one.size > 1))
        score = _log_likelihood(covariance, other.covariance)
        scores.append(torch.where(other.size > 0, other.size * score, 0.0).sum(0))
    return torch.stack(scores)


def _shrunk(moments: _Moments, to_diagonal: Tensor, own: Tensor) -> Tensor:
    """Return covariances between that within all clusters and, by ``own (K, B)``, their own."""
    pooled = _towards_diagonal(moments.pooled, to_diagonal)
    each = _towards_diagonal(moments.covariance, to_diagonal)
    return pooled + own[..., None, None] * (each - pooled)


def _towards_diagonal(covariance: Tensor, share: Tensor | float) -> Tensor:
    """Return ``covariance (..., B, L, L)`` without a share ``(B,)`` of what is off its diagonal."""
    share = torch.as_tensor(share, dtype=covariance.dtype, device=covariance.device)
    variance = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=SMALLEST_VARIANCE)
    kept = (1 - share)[..., None, None] * covariance
    return kept + torch.diag_embed(share[..., None] * variance)


def _log_likelihood(covariance: Tensor, of: Tensor) -> Tensor:
    """Return that of a draw with covariance ``of``, but for a constant; -inf for no covariance."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    eye = torch.eye(covariance.shape[-1], dtype=covariance.dtype, device=covariance.device)
    factor = torch.where(failed.bool()[..., None, None], eye, factor)
    trace = torch.cholesky_solve(of, factor).diagonal(dim1=-2, dim2=-1).sum(-1)
    score = -factor.diagonal(dim1=-2, dim2=-1).log().sum(-1) - 0.5 * trace
    return score.masked_fill(failed.bool(), -math.inf).nan_to_num(-math.inf, -math.inf, -math.inf)


def _factor(covariance: Tensor) -> Tensor:
    """Return the Cholesky factor; of what has none by rounding, that of its diagonal."""
    factor, failed = torch.linalg.cholesky_ex(covariance)
    variance = covariance.diagonal(dim1=-2, dim2=-1).clamp(min=SMALLEST_VARIANCE)
    return torch.where(failed.bool()[..., None, None], torch.diag_embed(variance.sqrt()), factor)
