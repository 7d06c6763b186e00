"""The linear-Gaussian variational autoencoder: probabilistic PCA as a model/guide pair.

    p(x, z)  = N(z; 0, I) N(x; W z + b, sigma^2 I)
    q(z | x) = N(z; V x + c, diag s^2)

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  latent
x     ``x_shape``   observed, real
====  ============  ===========================================

Its log p(x) and posterior are known in closed form (:mod:`vaezoo.exact.linear_gaussian`), and
at the optimum the guide is exact, so that everything that vaezoo estimates can be compared with the
truth.

Reference
    Tipping & Bishop 1999, *Probabilistic Principal Component Analysis*; Lucas et al. 2019,
    *Don't Blame the ELBO!*, arXiv:1911.02469.
"""

import math

import pyro
import torch
from pydantic import PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import register

__all__ = ["VAELinear"]


@register(
    "vae-linear",
    data="vectors",
    reference="arXiv:1911.02469",
    presets={"default": {"training": {"lr": 0.01}}},
)
class VAELinear(nn.Module):
    """Probabilistic PCA as a variational autoencoder, with exact answers."""

    def __init__(self, *, x_shape: tuple[int, ...], z_dim: PositiveInt = 10) -> None:
        super().__init__()
        self.x_shape = tuple(x_shape)
        self.z_dim = z_dim
        x_dim = math.prod(x_shape)
        self.decoder = nn.Linear(z_dim, x_dim)  # p(x | z) = N(decoder(z), sigma^2 I)
        self.log_sigma = nn.Parameter(torch.zeros(1))
        self.encoder = nn.Linear(x_dim, z_dim)  # q(z | x) = N(encoder(x), diag s^2)
        self.log_s = nn.Parameter(torch.zeros(z_dim))

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            zeros = x.new_zeros(self.z_dim)
            z = pyro.sample("z", dist.Normal(zeros, 1.0).to_event(1))
            loc = self.decoder(z).reshape(*z.shape[:-1], *self.x_shape)
            likelihood = dist.Normal(loc, self.log_sigma.exp())
            pyro.sample("x", likelihood.to_event(len(self.x_shape)), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            loc = self.encoder(x.reshape(len(x), -1))
            pyro.sample("z", dist.Normal(loc, self.log_s.exp()).to_event(1))
