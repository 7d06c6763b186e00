"""The variational recurrent neural network.

    p(x, z)  = prod_t N(z_t; mu(h_t), diag sigma(h_t)^2) p(x_t | phi_z(z_t), h_t)
    q(z | x) = prod_t N(z_t; mu(phi_x(x_t), h_t), diag sigma(phi_x(x_t), h_t)^2)
    h_0 = 0,  h_{t+1} = GRU([phi_x(x_t), phi_z(z_t)], h_t)

    phi_x, phi_z and the networks of prior, encoder and decoder have one hidden layer, ReLU

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z_t   ``(z_dim,)``  latent, t = 0 ... T - 1
x_t   ``x_shape``   observed frame
====  ============  ===========================================

h_t is the paper's h_{t-1}: all that came before step t. ``prior="static"`` is the paper's
VRNN-I, whose latents are N(0, I) at every step.

Reference
    Chung et al. 2015, *A Recurrent Latent Variable Model for Sequential Data*, arXiv:1506.02216,
    eqs. 5-9.

Differs from the paper
    A GRU instead of an LSTM, and one hidden layer in each network instead of four.
"""

from typing import Literal

import torch
from pydantic import PositiveInt
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vaezoo import SequencePair, parts, register

__all__ = ["VRNN"]


@register(
    "vrnn",
    data="sequences",
    reference="arXiv:1506.02216",
    tags=("sequence",),
    presets={
        "default": {"training": {"clip_norm": 10.0}},
        "small": {"z_dim": 8, "hidden": 32},
        "jsb": {
            "z_dim": 32,
            "hidden": 32,
            "training": {"batch_size": 16, "lr": 3e-3, "epochs": 200},
        },
        "nottingham": {
            "z_dim": 64,
            "hidden": 64,
            "training": {"batch_size": 16, "lr": 3e-3, "epochs": 30},
        },
        "spoken-digits": {
            "z_dim": 32,
            "hidden": 128,
            "likelihood": {"name": "gaussian"},
            "training": {"batch_size": 32, "epochs": 40},
        },
        "pendigits": {
            "z_dim": 16,
            "hidden": 64,
            "likelihood": {"name": "gaussian"},
            "training": {"batch_size": 64, "epochs": 6},
        },
    },
)
class VRNN(SequencePair):
    """Variational recurrent network: a latent per step, its prior made by the past."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 32,
        hidden: PositiveInt = 64,
        prior: Literal["sequential", "static"] = "sequential",
        likelihood: parts.Likelihood = parts.Bernoulli,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.phi_x = parts.Encoder(x_shape, [hidden])
        self.phi_z = parts.Encoder((z_dim,), [hidden])
        # p(z_t | h_t)
        if prior == "static":
            self.prior = parts.StandardNormal(z_dim)
        else:
            self.prior = parts.DiagonalNormal(parts.Encoder((hidden,), [hidden]), z_dim)
        # p(x_t | phi_z(z_t), h_t)
        self.decoder = likelihood(parts.Decoder(2 * hidden, [hidden], x_shape))
        # q(z_t | phi_x(x_t), h_t)
        self.posterior = posterior(parts.Encoder((2 * hidden,), [hidden]), z_dim)
        # h_{t+1} = GRU([phi_x(x_t), phi_z(z_t)], h_t)
        self.gru = nn.GRUCell(2 * hidden, hidden)

    def embed(self, x: Tensor) -> Tensor:
        """phi_x(x_t) ``(N, hidden)``."""
        return self.phi_x(x)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """p(x_t | phi_z(z_t), h_t)."""
        return self.decoder(self.phi_z(z), h)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1} = GRU([phi_x(x_t), phi_z(z_t)], h_t)."""
        return self.gru(torch.cat([f, self.phi_z(z)], -1), h)
