"""The importance weighted bound with a doubly reparameterised gradient."""

from typing import ClassVar

from pyro import poutine
from torch import Tensor, nn

from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.objectives.bounds.along_draws import anew, log_q_along_draw, refuse_off_path
from vaezoo.objectives.bounds.importance import weighable_particles
from vaezoo.pairs.accounting import log_joint, log_mean_exp, num_units
from vaezoo.pairs.particles import Particles
from vaezoo.pairs.plates import outermost_frame
from vaezoo.pairs.sites import Args, Site, guide_of, model_of, sample_sites

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
        self._particles = weighable_particles(
            pair, args, self.num_particles, "dreg", lambda trace: refuse_off_path(trace, "dreg")
        )

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return the negative bound; see :meth:`ELBO.loss`."""
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
        log_w = particles.by_datum(log_p - log_q_along_draw(site, z, beta, rows))
        if z.requires_grad:
            share = particles.by_row(log_w.detach().softmax(0))
            factor = 1 - beta * (1 - _over_event(share, site))
            z.register_hook(lambda gradient: gradient * factor)
        return -log_mean_exp(log_w).sum() / num_units(pair, args, mask)


def _over_event(share: Tensor, site: Site) -> Tensor:
    """Return one number of each row in a shape that goes with the draws of a site."""
    frame = outermost_frame(site)
    inner = -1 - frame.dim if frame is not None else 0
    return share.reshape(*share.shape, *[1] * (inner + site["fn"].event_dim))
