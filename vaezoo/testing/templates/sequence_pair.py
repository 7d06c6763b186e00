"""A variational recurrent network: one latent per step, and a memory h of all steps before it.

    p(x, z)  = prod_t N(z_t; mu(h_t), diag sigma(h_t)^2) Bernoulli(x_t; y(z_t, h_t))
    q(z | x) = prod_t N(z_t; mu(x_t, h_t), diag sigma(x_t, h_t)^2)
    h_0 = 0,  h_{t+1} = GRU([x_t, z_t], h_t)

====  ============  =========================
site  event shape   meaning
====  ============  =========================
z_t   ``(z_dim,)``  latent, t = 0 ... T - 1
x_t   ``x_shape``   observed frame, binary
====  ============  =========================
"""

import math

import torch
from pydantic import PositiveInt
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vaezoo.parts.axes import Likelihood, Posterior
from vaezoo.parts.likelihoods import Bernoulli
from vaezoo.parts.networks import Decoder, Encoder
from vaezoo.parts.posteriors import DiagonalNormal
from vaezoo.registry import register
from vaezoo.sequences.sequence_pair import SequencePair

__all__ = ["MySequenceVae"]


# A SequencePair is written as one step, on rows (N, ...): many sequences, and many steps of each,
# go through these methods side by side. The loop over time, the model and the guide are made of
# them. Also there to be changed: initial(x), the first h; embed(x), the features f of frames; and
# encode(x, length), what the guide sees of a sequence at each step, by default that same f.
@register("my-sequence-vae", data="sequences")
class MySequenceVae(SequencePair):
    """Variational recurrent network, a first sequence pair of one's own."""

    # Every argument is a setting, `--set z_dim=2`; x_shape, of one frame, is given by the data.
    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 8,
        hidden: PositiveInt = 64,
        likelihood: Likelihood = Bernoulli,
        posterior: Posterior = DiagonalNormal,
    ) -> None:
        super().__init__()
        self.hidden = hidden  # the width of h, which starts at zero
        x_dim = math.prod(x_shape)
        self.prior_head = DiagonalNormal(lambda: nn.Linear(hidden, z_dim))
        self.decoder = Decoder(z_dim + hidden, [hidden], x_shape, activation="relu", net="mlp")
        self.decoder_head = likelihood(self.decoder.head, x_shape)
        self.encoder = Encoder((x_dim + hidden,), [hidden], activation="relu", net="mlp")
        self.encoder_head = posterior(self.encoder.head(z_dim))
        self.gru = nn.GRUCell(x_dim + z_dim, hidden)

    def prior(self, h: Tensor) -> TorchDistribution:
        """p(z_t | h_t) of ``h (N, hidden)``."""
        return self.prior_head(h)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """p(x_t | z_t, h_t) of ``z (N, z_dim)``, of the family that `likelihood` names."""
        return self.decoder_head(self.decoder(torch.cat([z, h], -1)))

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | x_t, h_t); e is what the guide sees, here x_t ``(N, x_dim)``."""
        return self.encoder_head(self.encoder(torch.cat([e, h], -1)))

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1}; f are the features of x_t, here x_t itself ``(N, x_dim)``."""
        return self.gru(torch.cat([f, z], -1), h)
