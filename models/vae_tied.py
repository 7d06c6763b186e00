"""A variational autoencoder whose decoder has the weights of its encoder, transposed.

    q(z | x) = N(z; mu, diag sigma^2),          h = tanh(W3 x + b3), mu = W4 h + b4,
                                                log sigma^2 = W5 h + b5
    p(x, z)  = N(z; 0, I) Bernoulli(x; y(z)),   y = sigmoid(W3^T tanh(W4^T z + b1) + b2)

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  latent
x     ``x_shape``   observed, binary
====  ============  ===========================================

Reference
    Vincent et al. 2010, *Stacked Denoising Autoencoders*, JMLR 11, section 2.2 (tied weights of an
    autoencoder); the networks of Kingma & Welling 2014, arXiv:1312.6114, App. C.
"""

import math

import pyro
import torch
from pydantic import PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn
from torch.nn.functional import linear

from vaezoo import register

__all__ = ["VAETied"]


@register("vae-tied", data="images", reference="Vincent et al. 2010")
class VAETied(nn.Module):
    """Variational autoencoder with one set of weights for both directions."""

    def __init__(
        self, *, x_shape: tuple[int, ...], z_dim: PositiveInt = 10, hidden: PositiveInt = 200
    ) -> None:
        super().__init__()
        self.x_shape = tuple(x_shape)
        self.z_dim = z_dim
        x_dim = math.prod(x_shape)
        self.features = nn.Linear(x_dim, hidden)  # W3, b3
        self.loc = nn.Linear(hidden, z_dim)  # W4, b4
        self.log_var = nn.Linear(hidden, z_dim)  # W5, b5, of q(z | x) alone
        self.b1 = nn.Parameter(torch.zeros(hidden))
        self.b2 = nn.Parameter(torch.zeros(x_dim))

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.z_dim), 1.0).to_event(1))
            h = torch.tanh(linear(z, self.loc.weight.T, self.b1))
            logits = linear(h, self.features.weight.T, self.b2)
            logits = logits.reshape(*z.shape[:-1], *self.x_shape)
            likelihood = dist.Bernoulli(logits=logits).to_event(len(self.x_shape))
            pyro.sample("x", likelihood, obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            h = torch.tanh(self.features(x.reshape(len(x), -1)))
            scale = torch.exp(0.5 * self.log_var(h))
            pyro.sample("z", dist.Normal(self.loc(h), scale).to_event(1))
