"""A proposal for each datum that sees what its guide missed: scouts, guide and prior together.

Importance weights of draws from a guide are blind to modes that the guide never visits. Here draws
come from a mixture of three kinds of components, and the weights are those of the whole mixture
(balance heuristic, Veach & Guibas 1995):

=========  ======  ==============================================================================
component  share   what it is for
=========  ======  ==============================================================================
scouts     0.6     a Student t for each mode that scouts found (:mod:`vaezoo.inference.scouts`),
                   with a share of its own, found by pilot draws
guide      0.2     bounds the weights by 5 p / q, so that a good guide is never made worse
prior      0.2     finds modes that no scout went to, with few latents; bounds them by 5 p(x | z)
=========  ======  ==============================================================================

The t's have heavy tails, so that the posterior is covered where scouts were few. Weights are exact
for any scouts, arrived or not: those only say where to look.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.inference.clusters import Clusters
from vaezoo.inference.importance import Weighted, systematic
from vaezoo.inference.scouts import Scouts, ScoutSettings, send_scouts
from vaezoo.inference.target import Target
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import in_pieces
from vaezoo.pairs.sites import Args

__all__ = [
    "StudentTMixture",
    "log_weights_at",
    "mixture_weights",
    "proposal",
    "scout",
    "weigh",
]

DEGREES = 5.0
SHARES = (0.6, 0.2, 0.2)
FEWEST = 10
NUM_PILOT = 1000
# Of a component's share: by pilot draws, by members, and the same for each.
BY_MASS, BY_SIZE, ALIKE = 0.7, 0.15, 0.15


def scout(
    pair: nn.Module, args: Args, *, settings: ScoutSettings | None = None, seed: int = 0
) -> Scouts:
    """Send scouts that say where the posterior of each datum is, for :func:`mixture_weights`.

    Parameters
    ----------
    pair, args
        A pair with continuous latents, and a batch of B data.
    settings
        How many are sent, and how far.
    seed
        Seed of everything.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> scouts = scout(LinearPair(), (torch.zeros(3, 4),))
    >>> scouts.draws.shape  # 20 draws of 64 scouts for each of 3 data
    torch.Size([20, 64, 3, 2])
    """
    with probing(pair, args[0].device, seed=seed):
        return send_scouts(Target(pair, args, "the mixture proposal"), settings)


def mixture_weights(
    pair: nn.Module,
    args: Args,
    scouts: Scouts,
    num_samples: int = 4000,
    *,
    shares: Sequence[float] = SHARES,
    seed: int = 0,
) -> Weighted:
    """Draw from the mixture that scouts, guide and prior make, and weigh the draws.

    Parameters
    ----------
    pair, args
        A pair with continuous latents, and a batch of B data.
    scouts
        Of the same data.
    num_samples
        Draws S for each datum.
    shares
        Of scouts, guide and prior among the draws; they add up to one.
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
    >>> log_weights = mixture_weights(pair, (x,), scout(pair, (x,))).log_weights
    >>> bool(((log_evidence(log_weights) - pair.log_evidence(x)).abs() < 0.1).all())
    True
    """
    with probing(pair, args[0].device, seed=seed):
        target = Target(pair, args, "the mixture proposal")
        if scouts.draws.shape[2:] != (target.num_data, target.num_latents):
            raise RequestError("these scouts are of other data or latents; send them on this batch")
        mixture = proposal(target, scouts.clusters)
        u, log_weights = weigh(target, mixture, num_samples, shares)
        latents, _ = in_pieces(target.constrain, u, target.rows_at_once())
    return Weighted(latents, log_weights)


def proposal(target: Target, clusters: Clusters) -> "StudentTMixture":
    """Return a t for each mode, with the shares that pilot draws give them.

    For use inside :func:`vaezoo.pairs.particles.probing`.
    """
    occupied = (clusters.size > 0).double()
    by_size = clusters.size / clusters.size.sum(0)
    alike = occupied / occupied.sum(0)
    first = StudentTMixture(clusters.loc, clusters.factor, (by_size + alike) / 2)
    mass = first.masses(*weigh(target, first, NUM_PILOT))
    return replace(first, shares=BY_MASS * mass + BY_SIZE * by_size + ALIKE * alike)


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
    draws = [draw(n) for draw, n in zip(sides, counts, strict=True) if draw and n]
    u = torch.cat([_as(some, draws[-1]) for some in draws])
    return u, log_weights_at(target, mixture, u, [n / num_samples for n in counts])


def log_weights_at(
    target: Target,
    mixture: "StudentTMixture | None",
    u: Tensor,
    shares: Sequence[float] = SHARES,
) -> Tensor:
    """Return log importance weights ``(S, B)`` of any unconstrained latents ``(S, B, L)``.

    For use inside :func:`vaezoo.pairs.particles.probing`.
    """
    logs = torch.tensor(shares, device=u.device, dtype=u.dtype).log()

    def log_weight(part: Tensor) -> Tensor:
        prior, likelihood = target.log_terms(part)
        guide = target.log_guide(part)
        modes = mixture.log_prob(part) if mixture else torch.zeros_like(prior)
        parts = torch.stack([modes, guide, prior], -1).nan_to_num(-math.inf)
        log_q = (parts + logs).logsumexp(-1)
        return (prior + likelihood - log_q).nan_to_num(-math.inf, math.inf)

    return in_pieces(log_weight, u, target.rows_at_once())


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
        Of the components, ``(K, B)``; they add up to one, and some may be 0.
    """

    loc: Tensor
    factor: Tensor
    shares: Tensor

    def draw(self, num_samples: int) -> Tensor:
        """Draw ``(S, B, L)``, from each component in proportion to its share."""
        component = systematic(self.shares.log(), num_samples)
        noise = torch.randn(
            num_samples, *self.loc.shape[1:], dtype=self.loc.dtype, device=self.loc.device
        )
        degrees = noise.new_full((num_samples, len(noise[0]), 1), 0.5 * DEGREES)
        noise = noise * torch.distributions.Gamma(degrees, degrees).sample().rsqrt()
        u = torch.empty_like(noise)
        for k, (loc, factor) in enumerate(zip(self.loc, self.factor, strict=True)):
            here = component == k
            if here.any():
                u = torch.where(here[..., None], _moved(noise, loc, factor), u)
        return u

    def log_parts(self, u: Tensor) -> Tensor:
        """Return log share + log-density of each component, ``(K, S, B)``, of ``u (S, B, L)``."""
        size = u.shape[-1]
        constant = (
            math.lgamma(0.5 * (DEGREES + size))
            - math.lgamma(0.5 * DEGREES)
            - 0.5 * size * math.log(DEGREES * math.pi)
        )
        logs = []
        for loc, factor, share in zip(self.loc, self.factor, self.shares, strict=True):
            centred = (_as(u, loc) - loc).permute(1, 2, 0)
            white = torch.linalg.solve_triangular(factor, centred, upper=False)
            log_det = factor.diagonal(dim1=-2, dim2=-1).log().sum(-1, keepdim=True)
            distance = white.square().sum(1) / DEGREES
            log_t = constant - log_det - 0.5 * (DEGREES + size) * distance.log1p()
            logs.append((log_t + share.log()[:, None]).T)
        return torch.stack(logs)

    def log_prob(self, u: Tensor) -> Tensor:
        """Return the log-density ``(S, B)`` of ``u (S, B, L)``."""
        return _as(self.log_parts(u).logsumexp(0), u)

    def masses(self, u: Tensor, log_weights: Tensor) -> Tensor:
        """Return which share of the posterior each component explains, ``(K, B)``.

        Parameters
        ----------
        u, log_weights
            Weighted draws from the posterior, ``(S, B, L)`` and ``(S, B)``.
        """
        member = self.log_parts(u).softmax(0)
        return torch.einsum("sb,ksb->kb", _as(log_weights, member).softmax(0), member)


def _as(value: Tensor, like: Tensor) -> Tensor:
    """Return a tensor in the precision and on the device of another; one may lack float64."""
    if like.device.type == "mps":
        return value.to(like.dtype).to(like.device)
    return value.to(like.device).to(like.dtype)


def _moved(noise: Tensor, loc: Tensor, factor: Tensor) -> Tensor:
    return loc + torch.einsum("blm,sbm->sbl", factor, noise)


def _split(num_samples: int, shares: Sequence[float]) -> list[int]:
    """Return numbers of draws in proportion to shares, which add up to ``num_samples``."""
    ends = [round(sum(shares[: i + 1]) * num_samples) for i in range(len(shares))]
    return [end - start for start, end in pairwise([0, *ends])]
