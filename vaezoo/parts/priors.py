"""Priors p(z): built from the number of latents, they return a distribution when called.

In a pair of sequences a prior is called with the state h of a step, which it may ignore.
"""

import torch
from pyro import distributions as dist
from torch import Tensor, nn
from torch.distributions import constraints

from vaezoo.parts.axes import PRIORS

__all__ = ["Flat", "StandardNormal"]


@PRIORS.register("standard")
class StandardNormal(nn.Module):
    """p(z) = N(0, I), event shape ``(z_dim,)``."""

    loc: Tensor
    scale: Tensor

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(z_dim))
        self.register_buffer("scale", torch.ones(z_dim))

    def forward(self, *ignored: Tensor) -> dist.TorchDistribution:
        return dist.Normal(self.loc, self.scale).to_event(1)


@PRIORS.register("flat")
class Flat(nn.Module):
    """p(z) = 1 over all reals, event shape ``(z_dim,)``: of autoencoders, which have no prior.

    It is improper, so that there are no draws from it, and a log-density that counts nothing.
    """

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        self.z_dim = z_dim

    def forward(self, *ignored: Tensor) -> dist.TorchDistribution:
        return dist.ImproperUniform(constraints.real, (), (self.z_dim,))
