"""The total correlation of the latents, found by a critic."""

from typing import ClassVar

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import Tensor, nn
from torch.nn.functional import softplus

from vaezoo.objectives.aggregate.codes import Codes, Coding, critic_of
from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.objectives.losses import Losses
from vaezoo.pairs.sites import Args

__all__ = ["Factor"]


@OBJECTIVES.register("factor")
class Factor:
    """ELBO - gamma TC(z), whose total correlation a critic estimates, in nats per datum.

    The critic tells draws of q(z) from draws whose latents are permuted over the batch, each by
    itself; its log-odds are those of the two densities. It follows a loss of its own.

    Parameters
    ----------
    gamma
        Weight of the total correlation.
    hidden, layers
        Width and number of the hidden layers of the critic.
    critic_lr
        Its learning rate.

    References
    ----------
    Kim & Mnih 2018, *Disentangling by Factorising*, arXiv:1802.05983, eq. 2 and 3, alg. 1 and 2.
    The paper permutes draws of a second batch; here they are those of the batch.

    Examples
    --------
    >>> Factor(gamma=10.0).learning_rates
    {'critic': 0.0001}
    """

    judged_by_elbo: ClassVar[bool] = True

    def __init__(
        self,
        *,
        gamma: NonNegativeFloat = 10.0,
        hidden: PositiveInt = 200,
        layers: PositiveInt = 3,
        critic_lr: PositiveFloat = 1e-4,
    ) -> None:
        self.gamma, self.hidden, self.layers = gamma, hidden, layers
        self.learning_rates = {"critic": critic_lr}
        self._coding = Coding("factor", one_latent=True)

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Look at the latent of a pair, and make the critic.

        Raises
        ------
        RequestError
            When it is not one reparameterised vector of each datum.
        """
        self._coding.look(pair, args)
        z = self._coding.batch(pair, args, PLAIN).codes.z
        self.critic = critic_of(z, self.hidden, self.layers)

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Losses:
        """Return what the pair minimises, and its critic; see :meth:`ELBO.loss`."""
        if not self._coding.is_ready:
            self.prepare(pair, args)
        batch = self._coding.batch(pair, args, context)
        codes = batch.codes
        joint, product = self.critic(codes.z)[:, 0], self.critic(_permuted(codes))[:, 0]
        critic = codes.share @ (softplus(-joint) + softplus(product))
        tc = codes.share @ joint
        elbo = -batch.distortion - context.beta * batch.kl
        return {"pair": -elbo + context.beta * self.gamma * tc, "critic": critic}


def _permuted(codes: Codes) -> Tensor:
    """Return the draws with each latent permuted over the rows that count, by itself.

    Rows that do not count stay where they are: they are last in both orders.
    """
    noise = torch.rand_like(codes.z) + (codes.share == 0)[:, None]
    rank = torch.arange(len(codes.z), device=codes.z.device).to(codes.z)
    order = (rank + len(rank) * (codes.share == 0)).argsort()
    shuffled = codes.z.gather(0, noise.argsort(0))
    return torch.zeros_like(shuffled).index_copy(0, order, shuffled)
