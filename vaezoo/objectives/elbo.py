"""The evidence lower bound."""

from typing import Any, ClassVar

import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context, is_reparameterised, weighted
from vaezoo.pairs.accounting import Terms, elbo_terms, num_units
from vaezoo.pairs.admission import refuse_shared_sites, shared_site
from vaezoo.pairs.particles import Particles, choose_particles, probing
from vaezoo.pairs.sites import Args, PairTrace, sample_sites, trace_pair

__all__ = ["ELBO"]


@OBJECTIVES.register("elbo")
class ELBO:
    """The evidence lower bound with weight beta on its KL term, in nats per datum (or frame).

    KL terms are in closed form where the families allow it, every latent is reparameterised, and
    model and guide visit the latents in one order (Kingma & Welling 2014, arXiv:1312.6114, eq. 7);
    they are Monte Carlo estimates otherwise.

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

    def __init__(self, *, num_particles: int = 1, free_bits: float = 0.0) -> None:
        self.num_particles = num_particles
        self.free_bits = free_bits
        self._particles = Particles()
        self._factorised: frozenset[str] = frozenset()
        self._elbo: Trace_ELBO | None = None

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Choose the estimator for a pair, and how its particles are computed, from trying it.

        Raises
        ------
        RequestError
            When free bits are asked for, and a latent has no path derivative or is shared by data.
        """
        with probing(pair, args[0].device):
            trace = trace_pair(pair, args)
            shares = shared_site(trace, len(args[0])) is not None
            if self.free_bits:
                _refuse_free_bits(trace, len(args[0]))
                self._factorised = _factorised(elbo_terms(pair, args, trace=trace))
            self._particles = choose_particles(pair, args, 1 if shares else self.num_particles)
            draws = sample_sites(trace.guide).values()
            closed_form = trace.same_order and all(is_reparameterised(site) for site in draws)
        estimator = TraceMeanField_ELBO if closed_form else Trace_ELBO
        options: dict[str, Any] = {}
        if self._particles.in_plate:
            options = {"vectorize_particles": True, "max_plate_nesting": 1}
        if self._particles.in_plate or shares:
            options["num_particles"] = self.num_particles
        self._elbo = estimator(**options)  # type: ignore[no-untyped-call]

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return the negative weighted ELBO, a scalar whose gradient SVI follows.

        Parameters
        ----------
        pair
            The pair that the objective was prepared for.
        args
            A batch, tensors of ``(B, ...)``.
        context
            Weight of the KL term, and which rows count.
        """
        if self._elbo is None:
            self.prepare(pair, args)
        assert self._elbo is not None
        if self.free_bits:
            return self._loss_with_free_bits(pair, args, context)
        mask = context.mask
        model, guide = weighted(pair, self._particles, context.beta, mask)
        rows = self._particles.repeat(args)
        kept = None if mask is None else self._particles.repeat((mask,))[0]
        loss = self._elbo.differentiable_loss(model, guide, *rows)
        return torch.as_tensor(loss) / num_units(pair, rows, kept)

    def _loss_with_free_bits(self, pair: nn.Module, args: Args, context: Context) -> Tensor:
        particles, mask = self._particles, context.mask
        trace = particles.trace(*weighted(pair, particles, 1.0, mask), args)
        terms = elbo_terms(pair, args, trace=trace)
        units = particles.number * num_units(pair, args, mask)
        kl = 0.0 * units
        for name, whole in terms.kl.items():
            latents = terms.kl_per_latent[name] if name in self._factorised else whole
            average = latents.sum(dim=tuple(range(whole.dim()))) / units
            kl = kl + average.clamp(min=self.free_bits).sum()
        return context.beta * kl - terms.recon.sum() / units


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
        if name not in trace.latents:
            raise RequestError(
                f"free bits need a prior for each latent, and '{name}' of the guide has none; "
                "drop `free_bits`"
            )
        if not is_reparameterised(site):
            raise RequestError(
                f"free bits need reparameterised latents, and '{name}' is not; drop `free_bits`"
            )
