"""Gradients that reach the guide through its draws alone: the score is left out."""

from dataclasses import dataclass

from pyro import poutine
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.objectives.base import Context, is_reparameterised
from vaezoo.objectives.bounds.importance import weighable_particles
from vaezoo.pairs.accounting import log_joint
from vaezoo.pairs.enumeration import is_marked
from vaezoo.pairs.particles import Particles
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import Args, PairTrace, Site, guide_of, model_of, sample_sites

__all__ = ["Weighed", "particles_along_draws", "weigh_along_draws"]


@dataclass(frozen=True)
class Weighed:
    """K draws of the one latent of each datum, and their weights.

    Attributes
    ----------
    site
        Of the guide.
    z
        Its draws, as the model reads them.
    log_w
        log p(x, z) - log q(z | x), ``(K, B)``, in nats: the gradient of log q is that through z,
        without that of its parameters.
    """

    site: Site
    z: Tensor
    log_w: Tensor


def particles_along_draws(pair: nn.Module, args: Args, number: int, objective: str) -> Particles:
    """Return how K draws of each datum go through a pair, of which the score can be left out.

    Parameters
    ----------
    pair, args
        A pair, and a small batch of it.
    number
        Draws K.
    objective
        In whose name a pair is refused.

    Raises
    ------
    RequestError
        When the guide has several latents, or one that is not reparameterised, or whose density is
        known for its own draws only; or a site is shared by data.
    """
    return weighable_particles(
        pair, args, number, objective, lambda trace: _refuse_off_path(trace, objective)
    )


def weigh_along_draws(
    particles: Particles, pair: nn.Module, args: Args, context: Context
) -> Weighed:
    """Return draws of a batch and their weights, those of latents weighed by beta.

    Parameters
    ----------
    particles
        As :func:`particles_along_draws` gives them.
    pair, args, context
        As :meth:`vaezoo.objectives.ELBO.loss` takes them.
    """
    beta, mask = context.beta, context.mask
    rows = None if mask is None else particles.repeat((mask,))[0]
    draws = particles.run(guide_of(pair), args)
    (site,) = sample_sites(draws).values()
    z = site["value"] = _anew(site["value"])
    trace = particles.run(poutine.replay(model_of(pair), trace=draws), args)
    log_p = log_joint(trace, latents=[site["name"]], weight=beta, rows=rows)
    fixed = log_density(site, z.detach(), weight=beta, rows=rows)
    log_q = log_density(site, z, weight=beta, rows=rows) - fixed + fixed.detach()
    return Weighed(site, z, particles.by_datum(log_p - log_q))


def _anew(value: Tensor) -> Tensor:
    """Return a value that a distribution does not know for its own draw."""
    return value.view_as(value)


def _refuse_off_path(trace: PairTrace, objective: str) -> None:
    """Refuse a pair whose guide is not one latent with a path derivative and a density."""
    marked = next((n for n, s in sample_sites(trace.model).items() if is_marked(s)), None)
    what = f"objective '{objective}'"
    if marked is not None:
        raise RequestError(
            f"{what} sums no latent out, and '{marked}' is marked; use `objective='iwae'`"
        )
    names = list(sample_sites(trace.guide))
    if len(names) != 1:
        reason = f"'{names[1]}' is a second one" if names else "the guide has none"
        raise RequestError(f"{what} takes one latent, and {reason}; use `objective='iwae'`")
    site = sample_sites(trace.guide)[names[0]]
    if not is_reparameterised(site):
        raise RequestError(
            f"{what} needs a reparameterised latent, and '{names[0]}' is not; "
            "use `objective='iwae'`"
        )
    try:
        log_density(site, _anew(site["value"]))
    except Exception as error:
        raise RequestError(
            f"{what} needs the density of '{names[0]}' at any value, and its family "
            "has it for its own draws only; use `objective='iwae'`"
        ) from error
