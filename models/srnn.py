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
paper's Res_q; with ``--set residual=false`` it is nu alone.

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

from vaezoo.parts.axes import Likelihood
from vaezoo.parts.likelihoods import Bernoulli
from vaezoo.parts.networks import Decoder, Encoder, GaussianHead
from vaezoo.parts.posteriors import DiagonalNormal
from vaezoo.registry import register
from vaezoo.sequences.reading import read, read_backwards
from vaezoo.sequences.sequence_pair import SequencePair

__all__ = ["SRNN"]


@register(
    "srnn",
    data="sequences",
    reference="arXiv:1605.07571",
    presets={
        "default": {"training": {"clip_norm": 10.0}},
        "small": {"z_dim": 8, "hidden": 32},
        "paper": {"z_dim": 100, "hidden": 300},
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
        likelihood: Likelihood = Bernoulli,
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.hidden = hidden
        self.residual = residual
        self.phi_x = Encoder(x_shape, [hidden], activation="relu", net="mlp")
        # d_{t+1} = GRU(phi_x(x_t), d_t)
        self.gru = nn.GRUCell(hidden, hidden)
        # p(z_t | z_{t-1}, d_t)
        self.prior_net = Encoder((hidden + z_dim,), [hidden], activation="relu", net="mlp")
        self.prior_head = DiagonalNormal(self.prior_net.head(z_dim))
        # p(x_t | z_t, d_t), of the family that --likelihood names
        self.decoder = Decoder(hidden + z_dim, [hidden], x_shape, activation="relu", net="mlp")
        self.decoder_head = likelihood(self.decoder.head, x_shape)
        # q(z_t | z_{t-1}, a_t), a_t = GRU([d_t, phi_x(x_t)], a_{t+1})
        self.smoother = nn.GRUCell(2 * hidden, hidden)
        self.encoder = Encoder((hidden + z_dim,), [hidden], activation="relu", net="mlp")
        self.encoder_head = GaussianHead(self.encoder.head(z_dim), floor=1e-4)

    def initial(self, x: Tensor) -> Tensor:
        """h_0 = [d_0, z_{-1}] = 0."""
        return x.new_zeros(len(x), self.hidden + self.z_dim)

    def embed(self, x: Tensor) -> Tensor:
        """phi_x(x_t) ``(N, hidden)``."""
        return self.phi_x(x)

    def encode(self, x: Tensor, length: Tensor) -> Tensor:
        """a_t of ``x (B, T, *x_shape)``, what the frames t ... length - 1 say, given d_t."""
        f = self.embed(x.flatten(0, 1)).unflatten(0, x.shape[:2])
        after = read(self.gru, f)
        d = torch.cat([torch.zeros_like(after[:, :1]), after[:, :-1]], 1)
        return read_backwards(self.smoother, torch.cat([d, f], -1), length)

    def prior(self, h: Tensor) -> TorchDistribution:
        """p(z_t | z_{t-1}, d_t)."""
        return self.prior_head(self.prior_net(h))

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | z_{t-1}, a_t)."""
        z_before = h[:, self.hidden :]
        loc, scale = self.encoder_head(self.encoder(torch.cat([e, z_before], -1)))
        if self.residual:
            loc = loc + self.prior(h).mean
        return dist.Normal(loc, scale).to_event(1)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """p(x_t | z_t, d_t)."""
        d = h[:, : self.hidden]
        return self.decoder_head(self.decoder(torch.cat([z, d], -1)))

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1} = [GRU(phi_x(x_t), d_t), z_t]."""
        d_next = self.gru(f, h[:, : self.hidden])
        return torch.cat([d_next, z], -1)
