"""A proposal for each datum that sees what its guide missed: chains, guide and prior together.

Importance weights of draws from a guide are blind to modes that the guide never visits. Here draws
come from a mixture of three kinds of components, and the weights are those of the whole mixture
(balance heuristic, Veach & Guibas 1995):

=========  ======  ==============================================================================
component  share   what it is for
=========  ======  ==============================================================================
chains     0.6     Student t's, one with mean and covariance of each short HMC chain: where it went
guide      0.2     bounds the weights by 5 p / q, so that a good guide is never made worse
prior      0.2     finds modes that no chain went to, with few latents; bounds them by 5 p(x | z)
=========  ======  ==============================================================================

The t's have heavy tails, so that the posterior is covered where the chains were short. Weights are
exact for any chains, converged or not: those only say where to look. With more than about ten
latents in use the prior no longer finds anything.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaezoo.device import seeded
from vaezoo.errors import RequestError
from vaezoo.hmc import HMCResult
from vaezoo.particles import probing
from vaezoo.sites import Args
from vaezoo.target import Target, in_pieces
from vaezoo.weights import Weighted

__all__ = ["Students", "mixture_weights", "weigh"]

DEGREES = 5.0
SHARES = (0.6, 0.2, 0.2)


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
        Short chains of the same data (:func:`vaezoo.hmc.hmc`), 100 draws are enough.
    num_samples
        Draws S for each datum.
    shares
        Of chains, guide and prior among the draws; they add up to one.
    seed
        Seed of the draws.

    Returns
    -------
    Weighted
        For :func:`vaezoo.weights.pareto_smooth`, :func:`vaezoo.weights.log_evidence` and
        :func:`vaezoo.weights.resample`, as those of the guide.
    """
    device = args[0].device
    with probing(pair, device), seeded(seed, device):
        target = Target(pair, args, "the mixture proposal")
        u, log_weights = weigh(target, chains, num_samples, shares)
        pieces = in_pieces(lambda part: target.constrain(part)[0], u, target.rows_at_once())
    return Weighted({n: torch.cat([z[n] for z in pieces]) for n in pieces[0]}, log_weights)


def weigh(
    target: Target, chains: HMCResult, num_samples: int, shares: Sequence[float] = SHARES
) -> tuple[Tensor, Tensor]:
    """Return unconstrained draws ``(S, B, L)`` from the mixture, and log weights ``(S, B)``.

    For use inside :func:`vaezoo.particles.probing`.
    """
    if min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise RequestError(f"shares of the proposal add up to one, got {sum(shares):g}")
    if chains.unconstrained.shape[2:] != (target.num_data, target.num_latents):
        raise RequestError("these chains are of other data or latents; run hmc on this batch")
    students = Students.fit(chains.unconstrained)
    counts = _counts(num_samples, shares)
    draws = (students.draw(counts[0]), target.draw_guide, target.draw_prior)
    u = torch.cat([draws[0], *(d(n) for d, n in zip(draws[1:], counts[1:], strict=True) if n)])
    logs = torch.tensor([n / num_samples for n in counts], device=u.device, dtype=u.dtype).log()

    def log_weight(part: Tensor) -> Tensor:
        prior, likelihood = target.log_terms(part)
        parts = torch.stack([students.log_prob(part), target.log_guide(part), prior], -1)
        log_q = (parts.nan_to_num(-math.inf) + logs).logsumexp(-1)
        return (prior + likelihood - log_q).nan_to_num(-math.inf, math.inf)

    return u, torch.cat(in_pieces(log_weight, u, target.rows_at_once()))


def _counts(num_samples: int, shares: Sequence[float]) -> list[int]:
    """Return draws for each kind, which add up to ``num_samples``."""
    later = [round(share * num_samples) for share in shares[1:]]
    first = num_samples - sum(later)
    if first < 1:
        raise RequestError(f"{num_samples} draws are too few for a mixture; take 10 or more")
    return [first, *later]


@dataclass(frozen=True)
class Students:
    """Equal shares of K multivariate Student t's with 5 degrees of freedom, for each of B data.

    Attributes
    ----------
    loc
        Means, ``(K, B, L)``.
    factor
        Lower triangular factors of the scale matrices, ``(K, B, L, L)``.
    """

    loc: Tensor
    factor: Tensor

    @classmethod
    def fit(cls, chains: Tensor) -> "Students":
        """Return one t for each chain of ``(C, S, B, L)``, its scale the covariance of the chain.

        The covariance of a chain is drawn to that within all chains, and that to its diagonal,
        as much as L + 5 draws weigh.
        """
        number, size = chains.shape[1], chains.shape[-1]
        loc = chains.mean(1)
        centred = chains - loc.unsqueeze(1)
        own = torch.einsum("csbl,csbm->cblm", centred, centred) / number
        small = torch.finfo(chains.dtype).eps * (1 + loc.square().mean(0))
        pooled = own.mean(0)
        diagonal = torch.diag_embed(pooled.diagonal(dim1=-2, dim2=-1) + small)
        pooled = _between(pooled, diagonal, number * len(chains), size + 5)
        covariance = _between(own, pooled, number, size + 5)
        factor, failed = torch.linalg.cholesky_ex(covariance)
        plain = torch.diag_embed(diagonal.diagonal(dim1=-2, dim2=-1).sqrt())
        return cls(loc, torch.where(failed.bool()[..., None, None], plain, factor))

    def draw(self, num_samples: int) -> Tensor:
        """Draw ``(S, B, L)``, in turn from each component."""
        which = torch.arange(num_samples, device=self.loc.device) % len(self.loc)
        noise = torch.randn(num_samples, *self.loc.shape[1:]).to(self.loc)
        degrees = torch.full((num_samples, self.loc.shape[1], 1), 0.5 * DEGREES)
        noise = noise / (torch._standard_gamma(degrees) / (0.5 * DEGREES)).sqrt().to(self.loc)
        draws = torch.empty_like(noise)
        for k, (loc, factor) in enumerate(zip(self.loc, self.factor, strict=True)):
            draws[which == k] = loc + torch.einsum("blm,sbm->sbl", factor, noise[which == k])
        return draws

    def log_prob(self, u: Tensor) -> Tensor:
        """Return the log-density ``(S, B)`` of ``u (S, B, L)``."""
        size = u.shape[-1]
        constant = (
            math.lgamma(0.5 * (DEGREES + size))
            - math.lgamma(0.5 * DEGREES)
            - 0.5 * size * math.log(DEGREES * math.pi)
            - math.log(len(self.loc))
        )
        logs = []
        for loc, factor in zip(self.loc, self.factor, strict=True):
            centred = (u - loc).permute(1, 2, 0)
            white = torch.linalg.solve_triangular(factor, centred, upper=False)
            log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
            distance = white.square().sum(1) / DEGREES
            logs.append(constant - log_det - 0.5 * (DEGREES + size) * distance.log1p())
        return torch.stack(logs).logsumexp(0).T


def _between(covariance: Tensor, towards: Tensor, number: int, weight: int) -> Tensor:
    return (number * covariance + weight * towards) / (number + weight)
