"""Approximate posteriors q(z | x): distributions over the latents, made by an encoder.

Each is built from an encoder and the number of latents, owns the encoder, and maps what the encoder
reads to a distribution with batch shape ``(B,)`` and event shape ``(z_dim,)``.
"""

from pydantic import NonNegativeFloat
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.parts.axes import POSTERIORS
from vaezoo.parts.networks import EncoderNet, GaussianHead

__all__ = ["DiagonalNormal"]


@POSTERIORS.register("diagonal")
class DiagonalNormal(nn.Module):
    """q(z | x) = N(z; mu(h), diag sigma(h)^2) of the features h of x.

    Kingma & Welling 2014, arXiv:1312.6114, App. C.2 with z and x swapped.

    Parameters
    ----------
    net
        The encoder.
    z_dim
        Number of latents.
    floor
        Smallest standard deviation.

    Examples
    --------
    >>> import torch
    >>> from vaezoo.parts.networks import Encoder
    >>> posterior = DiagonalNormal(Encoder((8, 8), [32]), 2)
    >>> posterior(torch.zeros(5, 8, 8)).batch_shape, posterior(torch.zeros(5, 8, 8)).event_shape
    (torch.Size([5]), torch.Size([2]))
    """

    def __init__(self, net: EncoderNet, z_dim: int, *, floor: NonNegativeFloat = 1e-4) -> None:
        super().__init__()
        self.net = net
        self.head = GaussianHead(lambda: net.head(z_dim), floor)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        loc, scale = self.head(self.net(*inputs))
        return dist.Normal(loc, scale).to_event(1)
