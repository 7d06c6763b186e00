"""Approximate posteriors q(z | x): distributions over the latents given an encoder's features.

Each is built from a factory of heads and maps features to a distribution with batch shape ``(B,)``
and event shape ``(z_dim,)``.
"""

from pydantic import NonNegativeFloat
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.parts.axes import POSTERIORS
from vaezoo.parts.networks import GaussianHead, Head

__all__ = ["DiagonalNormal"]


@POSTERIORS.register("diagonal")
class DiagonalNormal(nn.Module):
    """q(z | h) = N(z; mu(h), diag sigma(h)^2).

    Kingma & Welling 2014, arXiv:1312.6114, App. C.2 with z and x swapped.
    """

    def __init__(self, head: Head, *, floor: NonNegativeFloat = 1e-4) -> None:
        super().__init__()
        self.head = GaussianHead(head, floor)

    def forward(self, h: Tensor) -> dist.TorchDistribution:
        loc, scale = self.head(h)
        return dist.Normal(loc, scale).to_event(1)
