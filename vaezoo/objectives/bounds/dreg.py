"""The importance weighted bound with a doubly reparameterised gradient."""

from typing import ClassVar

from torch import Tensor, nn

from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.objectives.bounds.along_draws import particles_along_draws, weigh_along_draws
from vaezoo.pairs.accounting import log_mean_exp, num_units
from vaezoo.pairs.particles import Particles
from vaezoo.pairs.plates import outermost_frame
from vaezoo.pairs.sites import Args, Site

__all__ = ["DReG"]


@OBJECTIVES.register("dreg")
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
        self._particles = particles_along_draws(pair, args, self.num_particles, "dreg")

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return the negative bound; see :meth:`ELBO.loss`."""
        if self._particles is None:
            self.prepare(pair, args)
        assert self._particles is not None
        particles, beta = self._particles, context.beta
        weighed = weigh_along_draws(particles, pair, args, context)
        if weighed.z.requires_grad:
            share = particles.by_row(weighed.log_w.detach().softmax(0))
            factor = 1 - beta * (1 - _over_event(share, weighed.site))
            weighed.z.register_hook(lambda gradient: gradient * factor)
        return -log_mean_exp(weighed.log_w).sum() / num_units(pair, args, context.mask)


def _over_event(share: Tensor, site: Site) -> Tensor:
    """Return one number of each row in a shape that goes with the draws of a site."""
    frame = outermost_frame(site)
    inner = -1 - frame.dim if frame is not None else 0
    return share.reshape(*share.shape, *[1] * (inner + site["fn"].event_dim))
