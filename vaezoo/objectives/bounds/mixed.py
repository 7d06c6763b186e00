"""Bounds between the ELBO and the importance weighted one, for the sake of the guide's gradient."""

from typing import Annotated, ClassVar

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.objectives.bounds.importance import require_draws
from vaezoo.objectives.bounds.iwae import IWAE
from vaezoo.objectives.halves import module_of_guide
from vaezoo.objectives.losses import Losses
from vaezoo.pairs.accounting import log_mean_exp, num_units
from vaezoo.pairs.sites import Args

__all__ = ["CIWAE", "MIWAE", "PIWAE"]


@OBJECTIVES.register("miwae")
class MIWAE(IWAE):
    """The mean of M importance weighted bounds of K / M draws each, in nats per datum.

    The more groups, the less of the guide's gradient is noise, and the looser is the bound
    (Rainforth et al. 2018, arXiv:1802.04537, eq. 12). M = 1 is IWAE, M = K the ELBO.

    Parameters
    ----------
    groups
        M, of which the number of draws is a multiple.
    num_particles
        Draws K in all.

    Raises
    ------
    RequestError
        When there is a single draw, or groups have unlike sizes.

    Examples
    --------
    >>> MIWAE(groups=4, num_particles=8).groups
    4
    """

    NAME: ClassVar[str] = "miwae"

    def __init__(self, *, groups: PositiveInt = 2, num_particles: int = 1) -> None:
        require_draws(self.NAME, num_particles, groups)
        super().__init__(num_particles=num_particles)
        self.groups = groups

    def _bound(self, log_w: Tensor, dim: int = 0) -> Tensor:
        return _mean_of_groups(log_w, self.groups, dim)


def _mean_of_groups(log_w: Tensor, groups: int, dim: int = 0) -> Tensor:
    return log_mean_exp(log_w.unflatten(dim, (groups, -1)), dim + 1).mean(dim)


@OBJECTIVES.register("ciwae")
class CIWAE(IWAE):
    """A share of the ELBO and the rest of the importance weighted bound, in nats per datum.

    share ELBO + (1 - share) IWAE, both of the same draws (Rainforth et al. 2018, arXiv:1802.04537,
    eq. 11).

    Parameters
    ----------
    share
        Of the ELBO, 0 ... 1; the beta of the paper.
    num_particles
        Draws K.

    Raises
    ------
    RequestError
        When there is a single draw.

    Examples
    --------
    >>> CIWAE(share=0.05, num_particles=5).share
    0.05
    """

    NAME: ClassVar[str] = "ciwae"

    def __init__(
        self, *, share: Annotated[float, Field(ge=0, le=1)] = 0.5, num_particles: int = 1
    ) -> None:
        require_draws(self.NAME, num_particles)
        super().__init__(num_particles=num_particles)
        self.share = share

    def _bound(self, log_w: Tensor, dim: int = 0) -> Tensor:
        return self.share * log_w.mean(dim) + (1 - self.share) * log_mean_exp(log_w, dim)


@OBJECTIVES.register("piwae")
class PIWAE:
    """The importance weighted bound for the model, and the mean of M smaller ones for its guide.

    The parameters of the model follow IWAE with all K draws, which is tighter; those of the guide
    follow MIWAE with M groups, whose gradient is less noise (Rainforth et al. 2018,
    arXiv:1802.04537, sec. 4). Both are computed from the same draws. The guide is the part of the
    pair that no log-density of the model depends on, a module of its own, as ``encoder``.

    Parameters
    ----------
    groups
        M, of which the number of draws is a multiple.
    num_particles
        Draws K in all.

    Raises
    ------
    RequestError
        When there is a single draw, or groups have unlike sizes.

    Examples
    --------
    >>> PIWAE(groups=4, num_particles=8).groups
    4
    """

    judged_by_elbo: ClassVar[bool] = False

    def __init__(self, *, groups: PositiveInt = 2, num_particles: int = 1) -> None:
        require_draws("piwae", num_particles, groups)
        self.groups = groups
        self._iwae = IWAE(num_particles=num_particles)
        self._guide = ""

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """See :meth:`IWAE.prepare`; and find the module of the guide, from trying it.

        Raises
        ------
        RequestError
            When a latent has no path derivative, or the guide is no module of its own.
        """
        self._iwae.prepare(pair, args)
        self._guide = module_of_guide(pair, args, "piwae")

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Losses:
        """Return the negative bounds: that of the model's parameters, and that of the guide's."""
        if not self._guide:
            self.prepare(pair, args)
        log_w, _ = self._iwae.log_weights(pair, args, context)
        units = num_units(pair, args, context.mask)
        of_guide = -_mean_of_groups(log_w, self.groups).sum() / units
        return {"pair": -log_mean_exp(log_w).sum() / units, self._guide: of_guide}
