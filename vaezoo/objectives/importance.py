"""Importance weighted objectives: bounds from several draws of the latents of each datum."""

import math
from typing import ClassVar

import torch
from pyro import poutine
from pyro.distributions.util import is_identically_zero, scale_and_mask
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.pairs.accounting import num_units
from vaezoo.pairs.particles import Particles, choose_particles, probing, refuse_shared_sites
from vaezoo.pairs.sites import Args, PairTrace, Site, sample_sites, trace_pair
from vaezoo.pairs.weighting import weighted

__all__ = ["IWAE", "DReG", "is_reparameterised"]

_INSTEAD = "use --objective elbo"


def is_reparameterised(site: Site) -> bool:
    """Return whether all of a draw's dependence on its parameters is a path derivative."""
    score = site["fn"].score_parts(site["value"]).score_function
    return bool(site["fn"].has_rsample) and is_identically_zero(score)


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
        with probing(pair, args[0].device):
            trace = trace_pair(pair, args)
            refuse_shared_sites(trace, len(args[0]), "objective 'iwae' needs", _INSTEAD)
            self._particles = choose_particles(pair, args, self.num_particles)

    def loss(
        self, pair: nn.Module, args: Args, beta: float | Tensor = 1.0, mask: Tensor | None = None
    ) -> Tensor:
        """Return the negative bound; see :meth:`ELBO.loss`."""
        if self._particles is None:
            self.prepare(pair, args)
        assert self._particles is not None
        particles = self._particles
        trace = particles.trace(*weighted(pair, particles, beta, mask), args)
        log_q, score = _log_q(trace.guide)
        bound = _log_mean_exp(particles.by_datum(_log_p(trace.model) - log_q))
        if score is not None:
            surrogate = bound.detach() * particles.by_datum(score).sum(0)
            bound = bound + (surrogate - surrogate.detach())
        return -bound.sum() / num_units(pair, args, mask)


class DReG:
    """The bound of :class:`IWAE` with its doubly reparameterised gradient.

    The guide's parameters phi follow sum_k c_k (d log w_k / d z_k) (d z_k / d phi), where
    c_k = v_k^2 with the normalised weights v_k, so that the gradient vanishes where the guide is
    exact (Tucker et al. 2018, arXiv:1810.04152, sec. 3). It is right for a single latent site.

    Parameters
    ----------
    num_particles
        Draws K; 1 gives the gradient of Roeder et al. 2017, arXiv:1703.09194.

    Notes
    -----
    With a weight beta, reparameterising the score of the guide a second time gives
    c_k = v_k (1 - beta + beta v_k), which is v_k^2 for beta = 1.
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
            When the guide has several latents, or one that is not reparameterised, or whose density
            is known for its own draws only; or a site is shared by data.
        """
        with probing(pair, args[0].device):
            trace = trace_pair(pair, args)
            _refuse_for_dreg(trace)
            refuse_shared_sites(trace, len(args[0]), "objective 'dreg' needs", _INSTEAD)
            self._particles = choose_particles(pair, args, self.num_particles)

    def loss(
        self, pair: nn.Module, args: Args, beta: float | Tensor = 1.0, mask: Tensor | None = None
    ) -> Tensor:
        """Return the negative bound; see :meth:`ELBO.loss`."""
        if self._particles is None:
            self.prepare(pair, args)
        assert self._particles is not None
        particles = self._particles
        model, guide = weighted(pair, particles, beta, mask)
        drawn = particles.run(guide, args)
        (site,) = sample_sites(drawn).values()
        z = site["value"] = _anew(site["value"])
        log_p = _log_p(particles.run(poutine.replay(model, trace=drawn), args))
        fixed = _density(site, z.detach())
        log_q = _density(site, z) - fixed + fixed.detach()  # differs by z, and not by its density
        log_w = particles.by_datum(log_p - log_q)
        if z.requires_grad:
            share = particles.by_row(log_w.detach().softmax(0))
            factor = 1 - beta * (1 - share.reshape(*share.shape, *[1] * site["fn"].event_dim))
            z.register_hook(lambda gradient: gradient * factor)
        return -_log_mean_exp(log_w).sum() / num_units(pair, args, mask)


def _refuse_for_dreg(trace: PairTrace) -> None:
    names = list(sample_sites(trace.guide))
    if len(names) != 1:
        found = f"'{names[1]}' is a second one" if names else "the guide has none"
        raise RequestError(f"objective 'dreg' takes one latent, and {found}; use --objective iwae")
    site = sample_sites(trace.guide)[names[0]]
    if not is_reparameterised(site):
        raise RequestError(
            f"objective 'dreg' needs a reparameterised latent, and '{names[0]}' is not; "
            "use --objective iwae"
        )
    try:
        _density(site, _anew(site["value"]))
    except Exception as error:
        raise RequestError(
            f"objective 'dreg' needs the density of '{names[0]}' at any value, and its family "
            "has it for its own draws only; use --objective iwae"
        ) from error


def _anew(value: Tensor) -> Tensor:
    """Return a value that a distribution does not know for its own draw."""
    return value.view_as(value)


def _density(site: Site, value: Tensor) -> Tensor:
    """Return the log-density of a site, masked and scaled."""
    log_prob = site["fn"].log_prob(value)
    return torch.as_tensor(scale_and_mask(log_prob, scale=site["scale"], mask=site["mask"]))


def _log_p(model: Trace) -> Tensor:
    return _sum([_density(site, site["value"]) for site in sample_sites(model).values()])


def _log_q(guide: Trace) -> tuple[Tensor | float, Tensor | None]:
    """Return the scaled log-density of the draws, and what their score function comes from."""
    log_q, scores = [], []
    for site in sample_sites(guide).values():
        parts = site["fn"].score_parts(site["value"])
        log_q.append(scale_and_mask(parts.log_prob, scale=site["scale"], mask=site["mask"]))
        if not is_identically_zero(parts.score_function):
            scores.append(scale_and_mask(parts.score_function, mask=site["mask"]))
    return (_sum(log_q) if log_q else 0.0), (_sum(scores) if scores else None)


def _sum(values: list[Tensor]) -> Tensor:
    return torch.stack(values).sum(0)


def _log_mean_exp(log_w: Tensor) -> Tensor:
    """Return the bound of each datum, ``(B,)``: 0 for a row that a mask leaves out."""
    return log_w.logsumexp(0) - math.log(len(log_w))
