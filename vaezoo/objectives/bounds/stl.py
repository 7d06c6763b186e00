"""The ELBO whose gradient vanishes where the guide is exact."""

from typing import ClassVar

from pyro import poutine
from torch import Tensor, nn

from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.objectives.bounds.along_draws import anew, log_q_along_draw, refuse_off_path
from vaezoo.objectives.bounds.importance import weighable_particles
from vaezoo.pairs.accounting import log_joint, num_units
from vaezoo.pairs.particles import Particles
from vaezoo.pairs.sites import Args, guide_of, model_of, sample_sites

__all__ = ["STL"]


@OBJECTIVES.register("stl")
class STL:
    """The ELBO by Monte Carlo, its gradient without the score of the guide: sticking the landing.

    The mean of the score d log q(z | x) / d phi is zero, its noise is not; without it the gradient
    of the guide is zero wherever the guide is exact (Roeder, Wu & Duvenaud 2017,
    arXiv:1703.09194, eq. 8). The value of the loss is that of the ELBO, its KL term by Monte Carlo.

    Parameters
    ----------
    num_particles
        Draws of the latent of each datum.

    Examples
    --------
    >>> STL(num_particles=2).num_particles
    2
    """

    judged_by_elbo: ClassVar[bool] = True

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
        self._particles = weighable_particles(
            pair, args, self.num_particles, "stl", lambda trace: refuse_off_path(trace, "stl")
        )

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return the negative ELBO; see :meth:`ELBO.loss`."""
        if self._particles is None:
            self.prepare(pair, args)
        assert self._particles is not None
        particles, beta, mask = self._particles, context.beta, context.mask
        rows = None if mask is None else particles.repeat((mask,))[0]
        draws = particles.run(guide_of(pair), args)
        (site,) = sample_sites(draws).values()
        z = site["value"] = anew(site["value"])
        trace = particles.run(poutine.replay(model_of(pair), trace=draws), args)
        log_p = log_joint(trace, latents=[site["name"]], weight=beta, rows=rows)
        log_w = log_p - log_q_along_draw(site, z, beta, rows)
        return -particles.by_datum(log_w).mean(0).sum() / num_units(pair, args, mask)
