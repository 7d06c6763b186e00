"""The ELBO whose gradient vanishes where the guide is exact."""

from typing import ClassVar

from torch import Tensor, nn

from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.objectives.bounds.along_draws import particles_along_draws, weigh_along_draws
from vaezoo.pairs.accounting import num_units
from vaezoo.pairs.particles import Particles
from vaezoo.pairs.sites import Args

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
        self._particles = particles_along_draws(pair, args, self.num_particles, "stl")

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return the negative ELBO; see :meth:`ELBO.loss`."""
        if self._particles is None:
            self.prepare(pair, args)
        assert self._particles is not None
        log_w = weigh_along_draws(self._particles, pair, args, context).log_w
        return -log_w.mean(0).sum() / num_units(pair, args, context.mask)
