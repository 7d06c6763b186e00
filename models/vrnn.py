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

h_t is the paper's h_{t-1}: all that came before step t. ``--set prior=static`` is the paper's
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

from vaezoo.parts.axes import Likelihood, Posterior
from vaezoo.parts.likelihoods import Bernoulli
from vaezoo.parts.networks import Decoder, Encoder
from vaezoo.parts.posteriors import DiagonalNormal
from vaezoo.parts.priors import StandardNormal
from vaezoo.registry import register
from vaezoo.sequences.sequence_pair import SequencePair

__all__ = ["VRNN"]


@register(
    "vrnn",
    data="sequences",
    reference="arXiv:1506.02216",
    presets={
        "default": {"training": {"clip_norm": 10.0}},
        "small": {"z_dim": 8, "hidden": 32},
        "speech": {"z_dim": 32, "hidden": 128, "likelihood": {"name": "gaussian"}},
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
        likelihood: Likelihood = Bernoulli,
        posterior: Posterior = DiagonalNormal,
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.phi_x = Encoder(x_shape, [hidden], activation="relu", net="mlp")
        self.phi_z = Encoder((z_dim,), [hidden], activation="relu", net="mlp")
        # p(z_t | h_t)
        self.static = StandardNormal(z_dim) if prior == "static" else None
        if prior == "sequential":
            self.prior_net = Encoder((hidden,), [hidden], activation="relu", net="mlp")
            self.prior_head = DiagonalNormal(self.prior_net.head(z_dim))
        # p(x_t | z_t, h_t), of the family that --likelihood names
        self.decoder = Decoder(2 * hidden, [hidden], x_shape, activation="relu", net="mlp")
        self.decoder_head = likelihood(self.decoder.head, x_shape)
        # q(z_t | x_t, h_t)
        self.encoder = Encoder((2 * hidden,), [hidden], activation="relu", net="mlp")
        self.encoder_head = posterior(self.encoder.head(z_dim))
        # h_{t+1} = GRU([phi_x(x_t), phi_z(z_t)], h_t)
        self.gru = nn.GRUCell(2 * hidden, hidden)

    def embed(self, x: Tensor) -> Tensor:
        """phi_x(x_t) ``(N, hidden)``."""
        return self.phi_x(x)

    def prior(self, h: Tensor) -> TorchDistribution:
        """p(z_t | h_t)."""
        return self.static() if self.static else self.prior_head(self.prior_net(h))

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | phi_x(x_t), h_t)."""
        return self.encoder_head(self.encoder(torch.cat([e, h], -1)))

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """p(x_t | phi_z(z_t), h_t)."""
        return self.decoder_head(self.decoder(torch.cat([self.phi_z(z), h], -1)))

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1} = GRU([phi_x(x_t), phi_z(z_t)], h_t)."""
        return self.gru(torch.cat([f, self.phi_z(z)], -1), h)
