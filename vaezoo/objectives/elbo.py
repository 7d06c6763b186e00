"""The evidence lower bound."""

from collections.abc import Callable
from typing import ClassVar

import torch
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context, is_reparameterised
from vaezoo.objectives.summands import Summands, score_surrogate
from vaezoo.pairs.accounting import Terms, elbo_terms, num_units, units_per_row
from vaezoo.pairs.admission import UNCOUNTED, admit, refuse_shared_sites, shared_site
from vaezoo.pairs.divergences import closed_form_sites, kl_in_closed_form
from vaezoo.pairs.enumeration import Enumeration, enumeration_of
from vaezoo.pairs.particles import Particles, choose_particles, probing
from vaezoo.pairs.sites import Args, PairTrace, guide_of, model_of, sample_sites, trace_pair

__all__ = ["ELBO"]


@OBJECTIVES.register("elbo")
class ELBO:
    """The evidence lower bound with weight beta on its KL term, in nats per datum (or frame).

    KL terms are in closed form where the families allow it, and model and guide visit the latents
    in one order (Kingma & Welling 2014, arXiv:1312.6114, eq. 7); they are Monte Carlo estimates
    otherwise. Latents that are marked, ``infer={"enumerate": "parallel"}``, are summed out
    (:mod:`vaezoo.pairs.enumeration`). What ``pyro.factor`` adds to the model counts as its log p
    does. Latents outside the data plate count once for the data set: with weight 1 / N in each of N
    data. Latents without a path derivative, as discrete ones, have a score-function gradient with a
    baseline.

    Parameters
    ----------
    num_particles
        Draws of the latents per datum and step.
    free_bits
        KL, in nats per datum (or frame), that each latent has for free: its average over the batch
        counts as at least this much (Kingma et al. 2016, arXiv:1606.04934, eq. 15). Where prior and
        posterior do not factorise, a site counts as one latent.
    """

    judged_by_elbo: ClassVar[bool] = True
    adds_up_over_frames: ClassVar[bool] = True

    def __init__(self, *, num_particles: int = 1, free_bits: float = 0.0) -> None:
        self.num_particles = num_particles
        self.free_bits = free_bits
        self._particles: Particles | None = None
        self._repeats = 1
        self._enumeration: Enumeration | None = None
        self._closed_form: frozenset[str] = frozenset()
        self._factorised: frozenset[str] = frozenset()

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Choose the estimator for a pair, and how its particles are computed, from trying it.

        Raises
        ------
        RequestError
            When a site of the guide has no partner in the model, or its guide has a factor beside
            a density; when free bits are asked for, and a latent has no path derivative or is
            shared by data.
        """
        with probing(pair, args[0].device):
            trace = trace_pair(pair, args)
            admit(pair, trace, "objective 'elbo'", UNCOUNTED)
            shares = shared_site(trace, len(args[0])) is not None
            self._enumeration = enumeration_of(trace)
            self._closed_form = _closed_form(trace, self._enumeration)
            if self.free_bits:
                _refuse_free_bits(trace, len(args[0]))
                self._factorised = _factorised(elbo_terms(pair, args, trace=trace))
            # What data share is one draw for all of them: each particle is a run of its own.
            self._repeats = self.num_particles if shares else 1
            self._particles = choose_particles(pair, args, 1 if shares else self.num_particles)

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return the negative weighted ELBO, a scalar whose gradient SVI follows.

        Parameters
        ----------
        pair
            The pair that the objective was prepared for.
        args
            A batch, tensors of ``(B, ...)``.
        context
            Weight of the KL term, which rows count, and the number of data.
        """
        if self._particles is None:
            self.prepare(pair, args)
        assert self._particles is not None
        if self.free_bits:
            return self._loss_with_free_bits(pair, args, context, self._particles)
        loss = self._loss(pair, args, context, self._particles)
        for _ in range(1, self._repeats):
            loss = loss + self._loss(pair, args, context, self._particles)
        return loss / self._repeats if self._repeats > 1 else loss

    def _loss(self, pair: nn.Module, args: Args, context: Context, particles: Particles) -> Tensor:
        data, kept = _repeated(particles.repeat, args, context.mask)
        units = num_units(pair, data, kept)
        every, weights = self._enumeration, None
        if every is None:
            trace = particles.trace(model_of(pair), guide_of(pair), args)
        else:
            trace, weights = every.trace(particles, model_of(pair), guide_of(pair), args)
            data, kept = _repeated(lambda a: particles.repeat(every.repeat(a)), args, context.mask)
        terms = Summands(trace, self._closed_form, context.beta, kept, weights)
        elbo = terms.local_sum()
        if particles.in_plate:
            elbo = elbo / particles.number
        elbo = elbo / units
        if terms.whole:
            elbo = elbo + terms.whole_sum() / context.num_data
        draws = particles.number * units if particles.in_plate else units
        surrogate = score_surrogate(
            trace, terms, particles, units_per_row(pair, data), kept, draws, context.num_data
        )
        return -elbo if surrogate is None else -(elbo + surrogate - surrogate.detach())

    def _loss_with_free_bits(
        self, pair: nn.Module, args: Args, context: Context, particles: Particles
    ) -> Tensor:
        rows = None if context.mask is None else particles.repeat((context.mask,))[0]
        trace = particles.trace(model_of(pair), guide_of(pair), args)
        terms = elbo_terms(pair, args, trace=trace, closed_form=self._closed_form, rows=rows)
        units = particles.number * num_units(pair, args, context.mask)
        kl = 0.0 * units
        for name, whole in terms.kl.items():
            latents = terms.kl_per_latent[name] if name in self._factorised else whole
            average = latents.sum(dim=tuple(range(whole.dim()))) / units
            kl = kl + average.clamp(min=self.free_bits).sum()
        loss = context.beta * kl - terms.recon.sum() / units
        for factor in terms.factors.values():
            loss = loss - factor.sum() / units
        return loss


def _repeated(
    repeat: Callable[[Args], Args], args: Args, mask: Tensor | None
) -> tuple[Args, Tensor | None]:
    """Return a batch and the mask of its rows, both repeated."""
    return repeat(args), None if mask is None else repeat((mask,))[0]


def _closed_form(trace: PairTrace, enumeration: Enumeration | None) -> frozenset[str]:
    """Return the latents with a path derivative whose KL term has a closed form.

    What the model alone marks has a posterior that depends on the draws of all others, under which
    a closed form would not be the mean of log q - log p.
    """
    if enumeration is not None and enumeration.of_model:
        return frozenset()

    def has(name: str) -> bool:
        p, q = trace.latents[name]
        try:
            kl_in_closed_form(q["fn"], p["fn"])
        except NotImplementedError:
            return False
        return is_reparameterised(q)

    return frozenset(filter(has, closed_form_sites(trace)))


def _factorised(terms: Terms) -> frozenset[str]:
    """Return the sites whose KL is the sum of those of their latents."""
    return frozenset(
        name
        for name, elements in terms.kl_per_latent.items()
        if torch.allclose(
            elements.reshape(*terms.kl[name].shape, -1).sum(-1),
            terms.kl[name],
            rtol=1e-4,
            atol=1e-4,
        )
    )


def _refuse_free_bits(trace: PairTrace, num_rows: int) -> None:
    refuse_shared_sites(trace, num_rows, "free bits need", "drop `free_bits`")
    for name, site in sample_sites(trace.guide).items():
        if not is_reparameterised(site):
            raise RequestError(
                f"free bits need reparameterised latents, and '{name}' is not; drop `free_bits`"
            )
