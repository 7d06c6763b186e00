"""The KL term split into information, total correlation and the rest."""

import math
from typing import ClassVar

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from vaezoo.distributions.families import elements_of
from vaezoo.objectives.aggregate.codes import Codes, Coding
from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.pairs.sites import Args

__all__ = ["BetaTC", "split_of_kl"]


@OBJECTIVES.register("beta-tc")
class BetaTC:
    """The ELBO with weights on the three parts of its KL term, in nats per datum.

    log p(x | z) - alpha I(x; z) - tc TC(z) - gamma sum_d KL(q(z_d) || p(z_d))

    With all weights 1 it is the ELBO: the three parts of its KL term sum to it. They are estimated
    from the densities of each draw under the guide of every datum of its batch (Chen et al. 2018,
    arXiv:1802.04942, eq. 2 and 5; stratified as in app. C.2).

    Parameters
    ----------
    tc
        Weight of the total correlation, the beta of the paper.
    alpha
        Weight of the information that z has of the index of the datum.
    gamma
        Weight of the distance of each latent from its prior.

    Examples
    --------
    >>> BetaTC(tc=6.0).alpha
    1.0
    """

    judged_by_elbo: ClassVar[bool] = True

    def __init__(
        self,
        *,
        tc: NonNegativeFloat = 6.0,
        alpha: NonNegativeFloat = 1.0,
        gamma: NonNegativeFloat = 1.0,
    ) -> None:
        self.tc, self.alpha, self.gamma = tc, alpha, gamma
        self._coding = Coding("beta-tc", one_latent=True, independent=True)

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Look at the latent of a pair.

        Raises
        ------
        RequestError
            When it is not one reparameterised vector of each datum, whose prior and posterior have
            independent elements.
        """
        self._coding.look(pair, args)

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return what is minimised; see :meth:`ELBO.loss`."""
        batch = self._coding.batch(pair, args, context)
        information, tc, rest = split_of_kl(batch.codes, context.num_data)
        weighed = self.alpha * information + self.tc * tc + self.gamma * rest
        return batch.distortion + context.beta * weighed


def split_of_kl(codes: Codes, num_data: float | Tensor = math.inf) -> tuple[Tensor, Tensor, Tensor]:
    """Return I(x; z), TC(z) and sum_d KL(q(z_d) || p(z_d)) of a batch, in nats, each ``()``.

    Parameters
    ----------
    codes
        Draws of the batch, with elements that are independent on both sides.
    num_data
        Number N of data, of which the batch is a sample; where nobody knows it, the batch is taken
        for all data.

    Notes
    -----
    The density q(z) at a draw of datum i is estimated without bias, as a stratified sample of all
    data: 1/N q(z | x_i) and, for the others, (1 - 1/N) of their mean in the batch.
    """
    kept = codes.share > 0
    each = _log_q_of_all(codes)  # (B, B, D): of draw i under the guide of datum j
    log_q = each.diagonal().T.sum(-1)
    weights = _log_weights(kept, torch.as_tensor(num_data).to(codes.z))
    log_q_z = (weights + each.sum(-1)).logsumexp(1)
    log_q_each = (weights[..., None] + each).logsumexp(1).sum(-1)
    log_p = elements_of(codes.prior).log_prob(codes.z).sum(-1)

    def mean(values: Tensor) -> Tensor:
        return torch.where(kept, values * codes.share, 0.0).sum()

    return mean(log_q - log_q_z), mean(log_q_z - log_q_each), mean(log_q_each - log_p)


def _log_weights(kept: Tensor, num_data: Tensor) -> Tensor:
    """Return the log weight of datum j at a draw of datum i, ``(B, B)``."""
    size = kept.sum()
    own = 1 / torch.where(num_data.isinf(), size, num_data)
    others = (1 - own) / (size - 1).clamp(min=1)
    diagonal = torch.eye(len(kept), dtype=torch.bool, device=kept.device)
    return torch.where(diagonal, own, torch.where(kept, others, 0.0)).log()


def _log_q_of_all(codes: Codes) -> Tensor:
    log_q = elements_of(codes.posterior).log_prob(codes.z[:, None])
    return torch.as_tensor(log_q)
