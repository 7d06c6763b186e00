"""The aggregate posterior held to the prior by a critic."""

from typing import ClassVar

from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from torch import nn
from torch.nn.functional import softplus

from vaezoo.objectives.aggregate.codes import Coding, critic_of, of_prior
from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.objectives.losses import Losses
from vaezoo.pairs.sites import Args

__all__ = ["Adversarial"]


@OBJECTIVES.register("adversarial")
class Adversarial:
    """log p(x | z), and codes that a critic takes for draws of the prior, in nats per datum.

    The critic tells draws of p(z) from codes; the pair is paid for codes that it takes for draws
    of the prior. No KL is counted, so that encoders without noise are allowed; a pair with a flat
    prior is held to N(0, I).

    Parameters
    ----------
    weight
        Of what the critic says.
    hidden, layers
        Width and number of the hidden layers of the critic.
    critic_lr
        Its learning rate.

    References
    ----------
    Makhzani et al. 2016, *Adversarial Autoencoders*, arXiv:1511.05644, sec. 2. The paper takes two
    steps in turn; here pair and critic step together, each by its own loss.

    Examples
    --------
    >>> Adversarial(weight=2.0).learning_rates
    {'critic': 0.001}
    """

    judged_by_elbo: ClassVar[bool] = False

    def __init__(
        self,
        *,
        weight: NonNegativeFloat = 1.0,
        hidden: PositiveInt = 200,
        layers: PositiveInt = 2,
        critic_lr: PositiveFloat = 1e-3,
    ) -> None:
        self.weight, self.hidden, self.layers = weight, hidden, layers
        self.learning_rates = {"critic": critic_lr}
        self._coding = Coding("adversarial", one_latent=True)

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
        of_code, of_draw = self.critic(codes.z)[:, 0], self.critic(of_prior(codes))[:, 0]
        critic = codes.share @ (softplus(of_code) + softplus(-of_draw))
        loss = batch.distortion + context.beta * self.weight * (codes.share @ softplus(-of_code))
        return {"pair": loss, "critic": critic}
