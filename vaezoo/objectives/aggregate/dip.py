"""The covariance of the aggregate posterior held to that of its prior."""

from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from vaezoo.objectives.aggregate.codes import Codes, Coding
from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.pairs.sites import Args

__all__ = ["DIP"]


@OBJECTIVES.register("dip")
class DIP:
    """ELBO - off sum_(i != j) C_ij^2 - diagonal sum_i (C_ii - 1)^2, in nats per datum.

    C is the covariance over data of the means of q(z | x), form ``i``, or of q(z), form ``ii``,
    which has the mean of the variances of q(z | x) besides.

    Parameters
    ----------
    form
        ``i`` or ``ii``.
    off
        Weight of what lies off the diagonal, lambda_od.
    diagonal
        Weight of the diagonal, lambda_d.

    References
    ----------
    Kumar, Sattigeri & Balakrishnan 2018, *Variational Inference of Disentangled Latent Concepts
    from Unlabeled Observations*, arXiv:1711.00848, eq. 6 and 7.

    Examples
    --------
    >>> DIP(form="ii", off=10.0, diagonal=10.0).form
    'ii'
    """

    judged_by_elbo: ClassVar[bool] = True

    def __init__(
        self,
        *,
        form: Literal["i", "ii"] = "i",
        off: NonNegativeFloat = 10.0,
        diagonal: NonNegativeFloat = 100.0,
    ) -> None:
        self.form, self.off, self.diagonal = form, off, diagonal
        self._coding = Coding("dip", one_latent=True, mean=True)

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Look at the latent of a pair.

        Raises
        ------
        RequestError
            When it is not one reparameterised vector of each datum, or has no mean.
        """
        self._coding.look(pair, args)

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return what is minimised; see :meth:`ELBO.loss`."""
        batch = self._coding.batch(pair, args, context)
        distance = (self._covariance(batch.codes) - _identity(batch.codes.z)).square()
        diagonal = distance.diagonal().sum()
        penalty = self.off * (distance.sum() - diagonal) + self.diagonal * diagonal
        return batch.distortion + context.beta * batch.kl + penalty

    def _covariance(self, codes: Codes) -> Tensor:
        means = codes.posterior.mean
        centred = means - codes.share @ means
        covariance = (centred * codes.share[:, None]).T @ centred
        if self.form == "i":
            return covariance
        return covariance + (codes.share @ codes.posterior.variance).diag()


def _identity(z: Tensor) -> Tensor:
    return torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
