"""Renyi's bounds."""

from typing import ClassVar

from torch import Tensor

from vaezoo.objectives.base import OBJECTIVES
from vaezoo.objectives.bounds.importance import require_draws
from vaezoo.objectives.bounds.iwae import IWAE
from vaezoo.pairs.accounting import log_mean_exp

__all__ = ["Renyi"]


@OBJECTIVES.register("renyi")
class Renyi(IWAE):
    """The variational Renyi bound, 1/(1 - alpha) log 1/K sum_k w_k^(1 - alpha), in nats per datum.

    alpha = 0 is the importance weighted bound, alpha = 1 the ELBO by Monte Carlo, and in between
    are estimates in between; below 0 they rise above the importance weighted bound, and bound
    log p(x) no more (Li & Turner 2016, arXiv:1602.02311, sec. 3 and 4.1).

    Parameters
    ----------
    alpha
        Order of the divergence.
    num_particles
        Draws K, at least 2: of a single one every alpha makes the ELBO.

    Raises
    ------
    RequestError
        When there is a single draw.

    Examples
    --------
    >>> Renyi(alpha=0.5, num_particles=5).alpha
    0.5
    """

    NAME: ClassVar[str] = "renyi"

    def __init__(self, *, alpha: float = 0.5, num_particles: int = 1) -> None:
        require_draws(self.NAME, num_particles)
        super().__init__(num_particles=num_particles)
        self.alpha = alpha

    def _bound(self, log_w: Tensor, dim: int = 0) -> Tensor:
        order = 1 - self.alpha
        return log_w.mean(dim) if order == 0 else log_mean_exp(order * log_w, dim) / order
