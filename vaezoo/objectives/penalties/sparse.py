"""Codes that are mostly near zero."""

from typing import ClassVar

from pydantic import NonNegativeFloat
from torch import Tensor, nn

from vaezoo.objectives.aggregate.codes import Coding
from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.pairs.sites import Args

__all__ = ["Sparse"]


@OBJECTIVES.register("sparse")
class Sparse:
    """ELBO - l1 sum_j |z_j|, in nats per datum: a sparse autoencoder, or a VAE with sparse codes.

    The penalty is - log p(z) of independent Laplace distributions but for a constant (Olshausen &
    Field 1996; Ng 2011, *Sparse autoencoder*).

    Parameters
    ----------
    l1
        Weight of the absolute codes.

    Examples
    --------
    >>> Sparse(l1=0.5).l1
    0.5
    """

    judged_by_elbo: ClassVar[bool] = False

    def __init__(self, *, l1: NonNegativeFloat = 0.1) -> None:
        self.l1 = l1
        self._coding = Coding("sparse", one_latent=True)

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Look at the latent of a pair.

        Raises
        ------
        RequestError
            When it is not one reparameterised vector of each datum.
        """
        self._coding.look(pair, args)

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return what is minimised; see :meth:`ELBO.loss`."""
        batch = self._coding.batch(pair, args, context)
        penalty = batch.codes.share @ batch.codes.z.abs().sum(-1)
        return batch.distortion + context.beta * batch.kl + self.l1 * penalty
