"""The stochastic recurrent network: a recurrent network that is fed noise.

    p(x, z)  = prod_t N(z_t; 0, I) p(x_t | g_t)
    q(z | x) = prod_t N(z_t; mu(r_t), diag sigma(r_t)^2)
    g_t = GRU([x_{t-1}, z_t], g_{t-1}),  g_{-1} = 0,  x_{-1} = 0
    r_t = GRU(x_t, r_{t-1}),  r_{-1} = 0

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z_t   ``(z_dim,)``  latent, t = 0 ... T - 1
x_t   ``x_shape``   observed frame
====  ============  ===========================================

The latents are independent a priori; what joins the steps is the generating network g, which reads
the latents too. The recognition network r reads the frames 0 ... t. The state of the pair is
h_t = [x_{t-1}, g_{t-1}].

Reference
    Bayer & Osendorfer 2014, *Learning Stochastic Recurrent Networks*, arXiv:1411.7610, section 3.

Differs from the paper
    A GRU instead of one tanh layer in both recurrent networks.
"""

import math

import torch
from pydantic import PositiveInt
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vaezoo import SequencePair, parts, register
from vaezoo.sequences import read

__all__ = ["STORN"]


@register(
    "storn",
    data="sequences",
    reference="arXiv:1411.7610",
    tags=("sequence",),
    presets={
        "default": {"training": {"clip_norm": 10.0}},
        "small": {"z_dim": 8, "hidden": 32},
        "jsb": {
            "z_dim": 32,
            "hidden": 32,
            "training": {"batch_size": 16, "lr": 3e-3, "epochs": 200},
        },
        "spoken-digits": {
            "z_dim": 32,
            "hidden": 128,
            "likelihood": {"name": "gaussian"},
            "training": {"batch_size": 32, "epochs": 40},
        },
    },
)
class STORN(SequencePair):
    """Stochastic recurrent network: independent latents, joined by the network that they drive."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 32,
        hidden: PositiveInt = 64,
        likelihood: parts.Likelihood = parts.Bernoulli,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        self.x_dim = math.prod(x_shape)
        self.hidden = hidden
        # p(z_t) = N(0, I)
        self.prior = parts.StandardNormal(z_dim)
        # p(x_t | g_t), g_t = GRU([x_{t-1}, z_t], g_{t-1})
        self.generator = nn.GRUCell(self.x_dim + z_dim, hidden)
        self.decoder = likelihood(parts.Decoder(hidden, [], x_shape))
        # q(z_t | r_t), r_t = GRU(x_t, r_{t-1})
        self.recognition = nn.GRUCell(self.x_dim, hidden)
        self.encoder = posterior(parts.Encoder((hidden,)), z_dim)

    def initial(self, x: Tensor) -> Tensor:
        """h_0 = [x_{-1}, g_{-1}] = 0."""
        return x.new_zeros(len(x), self.x_dim + self.hidden)

    def encode(self, x: Tensor, length: Tensor) -> Tensor:
        """r_t of ``x (B, T, *x_shape)``, what the frames 0 ... t say."""
        return read(self.recognition, x.flatten(2))

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | r_t)."""
        return self.encoder(e)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """p(x_t | g_t)."""
        return self.decoder(self.generate(z, h))

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1} = [x_t, g_t]."""
        return torch.cat([f, self.generate(z, h)], -1)

    def generate(self, z: Tensor, h: Tensor) -> Tensor:
        """g_t ``(N, hidden)``."""
        x_before, g_before = h.split([self.x_dim, self.hidden], -1)
        return self.generator(torch.cat([x_before, z], -1), g_before)
