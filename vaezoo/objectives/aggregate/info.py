"""The aggregate posterior held to the prior by its maximum mean discrepancy."""

from typing import ClassVar, Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from vaezoo.objectives.aggregate.codes import Coding, of_prior
from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.pairs.sites import Args

__all__ = ["Info", "Kernel", "mmd"]

Kernel = Literal["rbf", "imq"]
SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


@OBJECTIVES.register("info")
class Info:
    """log p(x | z) - (1 - alpha) KL - (alpha + weight - 1) MMD(q(z), p(z)), in nats per datum.

    q(z) is the mean of q(z | x) over data. alpha = 0, weight = 1 is the ELBO; alpha = 1 is the
    Wasserstein autoencoder (Tolstikhin et al. 2018, arXiv:1711.01558), whose penalty ``weight``
    MMD has no KL beside it, so that encoders without noise are allowed. A pair with a flat prior is
    held to N(0, I).

    Parameters
    ----------
    alpha
        Preference for information, of the paper.
    weight
        lambda of the paper.
    kernel
        ``rbf``: exp(-|a - b|^2 / D). ``imq``: the sum over scales c of C / (C + |a - b|^2),
        C = 2 D c, as in the code of Tolstikhin et al.

    References
    ----------
    Zhao, Song & Ermon 2017, *InfoVAE: Information Maximizing Variational Autoencoders*,
    arXiv:1706.02262, eq. 6 and sec. 3.2.

    Examples
    --------
    >>> Info(alpha=1.0, weight=10.0, kernel="imq").alpha
    1.0
    """

    judged_by_elbo: ClassVar[bool] = False

    def __init__(
        self, *, alpha: float = 0.0, weight: NonNegativeFloat = 100.0, kernel: Kernel = "rbf"
    ) -> None:
        self.alpha, self.weight, self.kernel = alpha, weight, kernel
        self._coding = Coding("info", one_latent=True)

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
        codes = batch.codes
        distance = mmd(codes.z, of_prior(codes), codes.share, kernel=self.kernel)
        loss = batch.distortion + (self.alpha + self.weight - 1) * context.beta * distance
        if self.alpha == 1:  # where the KL is infinite, too
            return loss
        return loss + (1 - self.alpha) * context.beta * batch.kl


def mmd(a: Tensor, b: Tensor, share: Tensor | None = None, *, kernel: Kernel = "rbf") -> Tensor:
    """Return the squared maximum mean discrepancy between two samples, unbiased, ``()``.

    Gretton et al. 2012, *A Kernel Two-Sample Test*, JMLR 13, eq. 3. It may be below 0.

    Parameters
    ----------
    a, b
        Samples ``(B, D)``, of one size.
    share
        Weights of the rows of both, ``(B,)``, which sum to 1; equal ones by default.
    kernel
        See :class:`Info`.

    Examples
    --------
    >>> a = torch.tensor([[0.0], [1.0]])
    >>> bool(mmd(a, a + 100.0) > 0.5)
    True
    """
    share = torch.full_like(a[:, 0], 1 / len(a)) if share is None else share
    between = share @ _kernel(a, b, kernel) @ share
    return _among(a, share, kernel) + _among(b, share, kernel) - 2 * between


def _among(a: Tensor, share: Tensor, kernel: Kernel) -> Tensor:
    """Return the mean of the kernel over pairs of unlike rows."""
    pairs = share[:, None] * share * (1 - torch.eye(len(a), dtype=a.dtype, device=a.device))
    return (pairs * _kernel(a, a, kernel)).sum() / pairs.sum()


def _kernel(a: Tensor, b: Tensor, kernel: Kernel) -> Tensor:
    distance = (a[:, None] - b).square().sum(-1)
    dim = a.shape[-1]
    if kernel == "rbf":
        return (-distance / dim).exp()
    return torch.stack([1 / (1 + distance / (2 * dim * scale)) for scale in SCALES]).sum(0)
