"""The stochastic recurrent neural network, with a guide that smooths.

    p(x, z)  = prod_t N(z_t; mu(z_{t-1}, d_t), diag sigma(z_{t-1}, d_t)^2) p(x_t | z_t, d_t)
    q(z | x) = prod_t N(z_t; mu(z_{t-1}, d_t) + nu(z_{t-1}, a_t), diag tau(z_{t-1}, a_t)^2)
    d_0 = 0,  d_{t+1} = GRU(phi_x(x_t), d_t),  z_{-1} = 0
    a_t = GRU([d_t, phi_x(x_t)], a_{t+1}), read from the last frame on

    phi_x and the networks of prior, encoder and decoder have one hidden layer, ReLU

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z_t   ``(z_dim,)``  latent, t = 0 ... T - 1
x_t   ``x_shape``   observed frame
====  ============  ===========================================

The memory d knows of the data only, the latents are a Markov chain on top of it; the state of the
pair is h_t = [d_t, z_{t-1}]. The mean of the guide is that of the prior and a correction nu, the
paper's Res_q; with ``residual=False`` it is nu alone.

Reference
    Fraccaro, Sønderby, Paquet & Winther 2016, *Sequential Neural Models with Stochastic Layers*,
    arXiv:1605.07571, sections 2 and 3.

Differs from the paper
    One hidden layer in each network, and a phi_x before both recurrent networks.
"""

import torch
from pydantic import PositiveInt
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vaezoo import SequencePair, parts, register
from vaezoo.sequences import read, read_backwards

__all__ = ["SRNN"]


@register(
    "srnn",
    data="sequences",
    reference="arXiv:1605.07571",
    tags=("sequence",),
    presets={
        "default": {"training": {"clip_norm": 10.0}},
        "small": {"z_dim": 8, "hidden": 32},
        "paper": {"z_dim": 100, "hidden": 300},
        "jsb": {
            "z_dim": 32,
            "hidden": 32,
            "training": {"batch_size": 16, "lr": 3e-3, "epochs": 200},
        },
    },
)
class SRNN(SequencePair):
    """Stochastic recurrent network: a chain of latents on a deterministic memory, smoothed."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 32,
        hidden: PositiveInt = 64,
        residual: bool = True,
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.hidden = hidden
        self.residual = residual
        self.phi_x = parts.Encoder(x_shape, [hidden])
        # d_{t+1} = GRU(phi_x(x_t), d_t)
        self.gru = nn.GRUCell(hidden, hidden)
        # p(z_t | z_{t-1}, d_t)
        self.prior = parts.DiagonalNormal(parts.Encoder((hidden + z_dim,), [hidden]), z_dim)
        # p(x_t | z_t, d_t)
        self.decoder = likelihood(parts.Decoder(hidden + z_dim, [hidden], x_shape))
        # N(nu(z_{t-1}, a_t), tau(z_{t-1}, a_t)^2), a_t = GRU([d_t, phi_x(x_t)], a_{t+1})
        self.smoother = nn.GRUCell(2 * hidden, hidden)
        self.encoder = parts.DiagonalNormal(parts.Encoder((hidden + z_dim,), [hidden]), z_dim)

    def initial(self, x: Tensor) -> Tensor:
        """h_0 = [d_0, z_{-1}] = 0."""
        return x.new_zeros(len(x), self.hidden + self.z_dim)

    def embed(self, x: Tensor) -> Tensor:
        """phi_x(x_t) ``(N, hidden)``."""
        return self.phi_x(x)

    def encode(self, x: Tensor, length: Tensor) -> Tensor:
        """a_t of ``x (B, T, *x_shape)``, what the frames t ... length - 1 say, given d_t."""
        f = self.embed(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        d = read(self.gru, f, before=True)
        return read_backwards(self.smoother, torch.cat([d, f], -1), length)

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | z_{t-1}, a_t)."""
        z_before = h[:, self.hidden :]
        correction = self.encoder(e, z_before)
        if not self.residual:
            return correction
        nu, tau = correction.base_dist.loc, correction.base_dist.scale
        return dist.Normal(nu + self.prior(h).mean, tau).to_event(1)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """p(x_t | z_t, d_t)."""
        return self.decoder(z, h[:, : self.hidden])

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1} = [GRU(phi_x(x_t), d_t), z_t]."""
        d_next = self.gru(f, h[:, : self.hidden])
        return torch.cat([d_next, z], -1)
