"""The importance weighted bound."""

from typing import ClassVar

import torch
from pyro.distributions.util import is_identically_zero, scale_and_mask
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context, weighted
from vaezoo.objectives.importance import weighable_particles
from vaezoo.pairs.accounting import log_mean_exp, num_units
from vaezoo.pairs.particles import Particles
from vaezoo.pairs.plates import total_log_density
from vaezoo.pairs.sites import Args, sample_sites

__all__ = ["IWAE"]


@OBJECTIVES.register("iwae")
class IWAE:
    """The importance weighted bound, - log 1/K sum_k w_k, in nats per datum (or frame).

    log w_k = log p(x | z_k) + beta (log p(z_k) - log q(z_k | x)) for K draws z_k of the guide
    (Burda et al. 2016, arXiv:1509.00519, eq. 8). Latents without a path derivative, as discrete
    ones, have their score-function gradient, so that it is unbiased, without a baseline.

    Parameters
    ----------
    num_particles
        Draws K; 1 gives the ELBO, its KL term by Monte Carlo.
    """

    judged_by_elbo: ClassVar[bool] = False

    def __init__(self, *, num_particles: int = 1) -> None:
        self.num_particles = num_particles
        self._particles: Particles | None = None

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Choose, from trying it, how the particles of a pair are computed.

        Raises
        ------
        RequestError
            When a site is shared by data, so that a datum has no weights of its own.
        """
        self._particles = weighable_particles(pair, args, self.num_particles, "iwae")

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return the negative bound; see :meth:`ELBO.loss`."""
        if self._particles is None:
            self.prepare(pair, args)
        assert self._particles is not None
        particles, mask = self._particles, context.mask
        trace = particles.trace(*weighted(pair, particles, context.beta, mask), args)
        log_q, score = _log_q(trace.guide)
        log_p = total_log_density(sample_sites(trace.model).values())
        bound = log_mean_exp(particles.by_datum(log_p - log_q))
        if score is not None:
            surrogate = bound.detach() * particles.by_datum(score).sum(0)
            bound = bound + (surrogate - surrogate.detach())
        return -bound.sum() / num_units(pair, args, mask)


def _log_q(guide: Trace) -> tuple[Tensor | float, Tensor | None]:
    """Return the scaled log-density of the draws, and what their score function comes from."""
    log_q, scores = [], []
    for site in sample_sites(guide).values():
        parts = site["fn"].score_parts(site["value"])
        log_q.append(scale_and_mask(parts.log_prob, scale=site["scale"], mask=site["mask"]))
        if not is_identically_zero(parts.score_function):
            scores.append(scale_and_mask(parts.score_function, mask=site["mask"]))
    score = torch.stack(scores).sum(0) if scores else None
    return (torch.stack(log_q).sum(0) if log_q else 0.0), score
