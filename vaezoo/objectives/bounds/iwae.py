"""The importance weighted bound."""

from typing import ClassVar

import torch
from torch import Tensor, nn

from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.objectives.bounds.importance import weighable_particles
from vaezoo.objectives.summands import leave_one_out
from vaezoo.pairs.accounting import log_guide, log_joint, log_mean_exp, num_units, units_per_row
from vaezoo.pairs.enumeration import Enumeration, enumeration_of, is_summed
from vaezoo.pairs.particles import Particles
from vaezoo.pairs.plates import score_function
from vaezoo.pairs.sites import Args, PairTrace, guide_of, model_of

__all__ = ["IWAE"]


@OBJECTIVES.register("iwae")
class IWAE:
    """The importance weighted bound, - log 1/K sum_k w_k, in nats per datum (or frame).

    log w_k = log p(x | z_k) + beta (log p(z_k) - log q(z_k | x)) for K draws z_k of the guide
    (Burda et al. 2016, arXiv:1509.00519, eq. 8). Latents without a path derivative, as discrete
    ones, have their score-function gradient, so that it is unbiased, with a baseline from the other
    draws.

    Parameters
    ----------
    num_particles
        Draws K; 1 gives the ELBO, its KL term by Monte Carlo.
    """

    NAME: ClassVar[str] = "iwae"
    judged_by_elbo: ClassVar[bool] = False

    def __init__(self, *, num_particles: int = 1) -> None:
        self.num_particles = num_particles
        self._particles: Particles | None = None
        self._summed: Enumeration | None = None

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Choose, from trying it, how the particles of a pair are computed.

        Raises
        ------
        RequestError
            When a site is shared by data, so that a datum has no weights of its own.
        """
        self._particles = weighable_particles(
            pair, args, self.num_particles, self.NAME, self._look_for_marks
        )

    def _look_for_marks(self, trace: PairTrace) -> None:
        every = enumeration_of(trace)
        self._summed = Enumeration({}, every.of_model) if every and every.of_model else None

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return the negative bound; see :meth:`ELBO.loss`."""
        mask = context.mask
        log_w, score = self.log_weights(pair, args, context)
        bound = self._bound(log_w)
        if score is not None:
            centred = bound - self._others(log_w, units_per_row(pair, args), mask)
            surrogate = (centred.detach() * score).sum(0)
            bound = bound + (surrogate - surrogate.detach())
        return -bound.sum() / num_units(pair, args, mask)

    def _bound(self, log_w: Tensor, dim: int = 0) -> Tensor:
        """Return what K log weights along a dimension say of log p(x); other bounds differ here."""
        return log_mean_exp(log_w, dim)

    def log_weights(
        self, pair: nn.Module, args: Args, context: Context
    ) -> tuple[Tensor, Tensor | None]:
        """Return log weights ``(K, B)``, and what the score function of their draws comes from."""
        if self._particles is None:
            self.prepare(pair, args)
        assert self._particles is not None
        particles = self._particles
        beta, kept, every = context.beta, context.mask, self._summed
        if every is None:
            trace = particles.trace(model_of(pair), guide_of(pair), args)
        else:
            trace, weights = every.trace(particles, model_of(pair), guide_of(pair), args)
            kept = None if kept is None else every.repeat((kept,))[0]
        rows = None if kept is None else particles.repeat((kept,))[0]
        log_q, score = _log_q(trace, beta, rows)
        log_p = log_joint(trace.model, latents=trace.latents, weight=beta, rows=rows)
        log_w = particles.by_datum(log_p - log_q)
        score = None if score is None else particles.by_datum(score)
        if every is None:
            return log_w, score
        weights = particles.by_datum(weights)
        return every.mean(log_w, weights), None if score is None else every.mean(score, weights)

    def _others(self, log_w: Tensor, units: Tensor, mask: Tensor | None) -> Tensor:
        """Return what the bound is compared with for each draw, ``(K, B)``, and does not see it.

        It is the bound with the geometric mean of the other weights in the place of its own (Mnih &
        Rezende 2016, arXiv:1602.06725, eq. 10); of a single draw, the mean of the other data.
        """
        number = len(log_w)
        if number == 1:
            return leave_one_out(log_w[0], Particles(), units, mask)[None]
        mean = (log_w.sum(0) - log_w) / (number - 1)
        own = torch.eye(number, dtype=torch.bool, device=log_w.device)[..., None]
        return self._bound(torch.where(own, mean[:, None], log_w[None]), 1)


def _log_q(
    trace: PairTrace, beta: float | Tensor, rows: Tensor | None
) -> tuple[Tensor | float, Tensor | None]:
    """Return the weighted log-density of the draws, and what their score function comes from."""
    log_q = log_guide(trace, weight=beta, rows=rows)
    scores = [score_function(q, rows) for _, q in trace.latents.values() if not is_summed(q)]
    known = [score for score in scores if score is not None]
    return log_q, torch.stack(known).sum(0) if known else None
