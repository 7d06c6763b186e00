"""A proposal for each datum that sees what its guide missed: chains, guide and prior together.

Importance weights of draws from a guide are blind to modes that the guide never visits. Here draws
come from a mixture of three kinds of components, and the weights are those of the whole mixture
(balance heuristic, Veach & Guibas 1995):

=========  ======  ==============================================================================
component  share   what it is for
=========  ======  ==============================================================================
chains     0.6     Student t's: for each short HMC chain one with its mean and covariance, and one,
                   of a third of the share, where it began, in case that it left a mode for good
guide      0.2     bounds the weights by 5 p / q, so that a good guide is never made worse
prior      0.2     finds modes that no chain went to, with few latents; bounds them by 5 p(x | z)
=========  ======  ==============================================================================

The t's have heavy tails, so that the posterior is covered where the chains were short. Weights are
exact for any chains, converged or not: those only say where to look. With more than about ten
latents in use the prior no longer finds anything.

Where chains start decides which modes they see. Here they start at draws from guide and prior,
resampled by their weights, that lie far from each other.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.inference.hmc import ChainSettings, HMCResult, run_chains
from vaezoo.inference.importance import Weighted, systematic
from vaezoo.inference.target import Target
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import in_pieces
from vaezoo.pairs.sites import Args

__all__ = ["StudentTMixture", "mixture_weights", "run_short_chains", "short_chains", "weigh"]

DEGREES = 5.0
SHARES = (0.6, 0.2, 0.2)
FEWEST = 10
BEGINNINGS = 1 / 3
NUM_PILOT, NUM_CANDIDATES = 1500, 64


def mixture_weights(
    pair: nn.Module,
    args: Args,
    chains: HMCResult,
    num_samples: int = 4000,
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> Weighted:
    """Draw from the mixture that chains, guide and prior make, and weigh the draws.

    Parameters
    ----------
    pair, args
        A pair with continuous latents, and a batch of B data.
    chains
        Short chains of the same data, as those of :func:`short_chains`.
    num_samples
        Draws S for each datum.
    shares
        Of chains, guide and prior among the draws; they add up to one.
    seed
        Seed of the draws.

    Returns
    -------
    Weighted
        For :func:`vaezoo.inference.importance.pareto_smooth`,
        :func:`vaezoo.inference.importance.log_evidence` and
        :func:`vaezoo.inference.importance.resample`, as those of the guide.

    Examples
    --------
    >>> from vaezoo.inference.importance import log_evidence
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> chains = short_chains(pair, (x,), num_samples=20, num_warmup=30)
    >>> log_weights = mixture_weights(pair, (x,), chains).log_weights
    >>> bool(((log_evidence(log_weights) - pair.log_evidence(x)).abs() < 0.1).all())
    True
    """
    with probing(pair, args[0].device, seed=seed):
        target = Target(pair, args, "the mixture proposal")
        if chains.unconstrained.shape[2:] != (target.num_data, target.num_latents):
            raise RequestError("these chains are of other data or latents; run them on this batch")
        mixture = StudentTMixture.fit(chains.unconstrained, chains.start)
        u, log_weights = weigh(target, mixture, num_samples, shares)
        latents, _ = in_pieces(target.constrain, u, target.rows_at_once())
    return Weighted(latents, log_weights)


def short_chains(
    pair: nn.Module,
    args: Args,
    *,
    num_chains: int = 4,
    num_samples: int = 100,
    num_warmup: int = 150,
    seed: int = 0,
) -> HMCResult:
    """Run chains that say where the posterior is, for :func:`mixture_weights`.

    As :func:`vaezoo.inference.hmc.hmc`, but one chain starts at a draw from the prior, and the
    others at draws from guide and prior that have weight and lie apart.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> short_chains(pair, (x,), num_samples=10, num_warmup=20).unconstrained.shape
    torch.Size([4, 10, 3, 2])
    """
    with probing(pair, args[0].device, seed=seed):
        target = Target(pair, args, "the mixture proposal")
        return run_short_chains(target, num_chains, ChainSettings(num_samples, num_warmup))


def run_short_chains(target: Target, num_chains: int, settings: ChainSettings) -> HMCResult:
    """Return the same of a target, for use inside :func:`vaezoo.pairs.particles.probing`."""
    u, log_weights = weigh(target, None, NUM_PILOT, (0.0, 1 / 3, 2 / 3))
    chosen = systematic(log_weights.cpu().double(), NUM_CANDIDATES).to(u.device)
    candidates = u[chosen, torch.arange(target.num_data, device=u.device)]
    start = [target.draw_prior(1)]
    if num_chains > 1:
        start.append(_far_apart(candidates, num_chains - 1))
    return run_chains(target, torch.cat(start), settings)


def _far_apart(candidates: Tensor, number: int) -> Tensor:
    """Return some of ``(R, B, L)``, each as far as can be from those before, ``(number, B, L)``.

    Distances are in standard deviations of the candidates, so that no latent counts by its scale.
    """
    white = candidates / candidates.std(0).clamp(min=1e-6)
    data = torch.arange(candidates.shape[1], device=candidates.device)
    chosen = torch.zeros_like(data)
    distance = torch.full_like(white[..., 0], math.inf)
    starts = []
    for _ in range(number):
        starts.append(candidates[chosen, data])
        distance = distance.minimum((white - white[chosen, data]).square().sum(-1))
        chosen = distance.argmax(0)
    return torch.stack(starts)


def weigh(
    target: Target,
    mixture: "StudentTMixture | None",
    num_samples: int,
    shares: Sequence[float] = SHARES,
) -> tuple[Tensor, Tensor]:
    """Return unconstrained draws ``(S, B, L)`` from the mixture, and log weights ``(S, B)``.

    For use inside :func:`vaezoo.pairs.particles.probing`.
    """
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise RequestError(f"shares of the proposal add up to one, got {sum(shares):g}")
    if num_samples < FEWEST:
        raise RequestError(f"{num_samples} draws are too few for a mixture; take {FEWEST} or more")
    counts = _split(num_samples, shares)
    sides = (mixture.draw if mixture else None, target.draw_guide, target.draw_prior)
    u = torch.cat([draw(n) for draw, n in zip(sides, counts, strict=True) if draw and n])
    logs = torch.tensor([n / num_samples for n in counts], device=u.device, dtype=u.dtype).log()

    def log_weight(part: Tensor) -> Tensor:
        prior, likelihood = target.log_terms(part)
        guide = target.log_guide(part)
        chains = mixture.log_prob(part) if mixture else torch.zeros_like(prior)
        parts = torch.stack([chains, guide, prior], -1).nan_to_num(-math.inf)
        log_q = (parts + logs).logsumexp(-1)
        return (prior + likelihood - log_q).nan_to_num(-math.inf, math.inf)

    return u, in_pieces(log_weight, u, target.rows_at_once())


@dataclass(frozen=True)
class StudentTMixture:
    """A mixture of K multivariate Student-t's with 5 degrees of freedom, for each of B data.

    Attributes
    ----------
    loc
        Means, ``(K, B, L)``.
    factor
        Lower triangular factors of the scale matrices, ``(K, B, L, L)``.
    shares
        Of the components, K numbers that add up to one.
    """

    loc: Tensor
    factor: Tensor
    shares: tuple[float, ...]

    @classmethod
    def fit(cls, chains: Tensor, start: Tensor) -> "StudentTMixture":
        """Return t's of chains ``(C, S, B, L)`` and of the places ``(C, B, L)`` where they began.

        Scales are covariances. That of a chain is drawn to the one within all chains, and this one
        to its diagonal, as much as L + 5 draws weigh; places have that within all chains.
        """
        number, size = chains.shape[1], chains.shape[-1]
        loc = chains.mean(1)
        centred = chains - loc.unsqueeze(1)
        own = torch.einsum("csbl,csbm->cblm", centred, centred) / number
        small = torch.finfo(chains.dtype).eps * (1 + loc.square().mean(0))
        variance = own.mean(0).diagonal(dim1=-2, dim2=-1) + small
        diagonal = torch.diag_embed(variance)
        pooled = _between(own.mean(0), diagonal, number * len(chains), size + 5)
        covariance = torch.cat([_between(own, pooled, number, size + 5), pooled.expand_as(own)])
        factor, failed = torch.linalg.cholesky_ex(covariance)
        factor = torch.where(failed.bool()[..., None, None], diagonal.sqrt(), factor)
        shares = [(1 - BEGINNINGS) / len(loc)] * len(loc) + [BEGINNINGS / len(loc)] * len(loc)
        return cls(torch.cat([loc, start]), factor, tuple(shares))

    def draw(self, num_samples: int) -> Tensor:
        """Draw ``(S, B, L)``, from each component in proportion to its share."""
        draws = []
        counts = _split(num_samples, self.shares)
        for loc, factor, number in zip(self.loc, self.factor, counts, strict=True):
            noise = torch.randn(number, *loc.shape, dtype=loc.dtype, device=loc.device)
            degrees = noise.new_full((number, len(loc), 1), 0.5 * DEGREES)
            spread = torch.distributions.Gamma(degrees, degrees).sample().rsqrt()
            draws.append(loc + torch.einsum("blm,sbm->sbl", factor, noise * spread))
        return torch.cat(draws)

    def log_prob(self, u: Tensor) -> Tensor:
        """Return the log-density ``(S, B)`` of ``u (S, B, L)``."""
        size = u.shape[-1]
        constant = (
            math.lgamma(0.5 * (DEGREES + size))
            - math.lgamma(0.5 * DEGREES)
            - 0.5 * size * math.log(DEGREES * math.pi)
        )
        logs = []
        for loc, factor, share in zip(self.loc, self.factor, self.shares, strict=True):
            centred = (u - loc).permute(1, 2, 0)
            white = torch.linalg.solve_triangular(factor, centred, upper=False)
            log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
            distance = white.square().sum(1) / DEGREES
            log_t = constant - log_det - 0.5 * (DEGREES + size) * distance.log1p()
            logs.append(log_t + math.log(share))
        return torch.stack(logs).logsumexp(0).T


def _between(covariance: Tensor, towards: Tensor, number: int, weight: int) -> Tensor:
    return (number * covariance + weight * towards) / (number + weight)


def _split(num_samples: int, shares: Sequence[float]) -> list[int]:
    """Return numbers of draws in proportion to shares, which add up to ``num_samples``."""
    ends = [round(sum(shares[: i + 1]) * num_samples) for i in range(len(shares))]
    return [end - start for start, end in pairwise([0, *ends])]
