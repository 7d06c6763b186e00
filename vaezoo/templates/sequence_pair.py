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

import pyro
import torch
from pydantic import PositiveInt
from pyro import poutine
from torch import Tensor, nn

from vaezoo.likelihoods import Bernoulli
from vaezoo.nn import Decoder, Encoder
from vaezoo.parts import Likelihood, Posterior
from vaezoo.posteriors import DiagonalNormal
from vaezoo.registry import register

__all__ = ["MySequenceVae"]


@register("my-sequence-vae", data="sequences")
class MySequenceVae(nn.Module):
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
        self.hidden = hidden
        x_dim = x_shape[0]
        # p(z_t | h_t) = N(z_t; mu(h_t), diag sigma(h_t)^2)
        self.prior = DiagonalNormal(lambda: nn.Linear(hidden, z_dim))
        # p(x_t | z_t, h_t), of the family that --likelihood names
        self.decoder = Decoder(z_dim + hidden, [hidden], x_shape, activation="relu", net="mlp")
        self.likelihood = likelihood(self.decoder.head, x_shape)
        # q(z_t | x_t, h_t) = N(z_t; mu(x_t, h_t), diag sigma(x_t, h_t)^2)
        self.encoder = Encoder((x_dim + hidden,), [hidden], activation="relu", net="mlp")
        self.posterior = posterior(self.encoder.head(z_dim))
        # h_{t+1} = GRU([x_t, z_t], h_t)
        self.transition = nn.GRUCell(x_dim + z_dim, hidden)

    def model(self, x: Tensor, length: Tensor) -> None:
        """prod_t p(z_t | h_t) p(x_t | z_t, h_t) of ``x (B, T, D)`` and ``length (B,)``."""
        h = x.new_zeros(len(x), self.hidden)
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    z_t = pyro.sample(f"z_{t}", self.prior(h))
                    p_x = self.likelihood(self.decoder(torch.cat([z_t, h], -1)))
                    # The value that comes back is x[:, t], or the model's own draw in prediction.
                    x_t = pyro.sample(f"x_{t}", p_x, obs=x[:, t])
                h = self.transition(torch.cat([x_t, z_t], -1), h)

    def guide(self, x: Tensor, length: Tensor) -> None:
        """prod_t q(z_t | x_t, h_t) of ``x (B, T, D)`` and ``length (B,)``."""
        h = x.new_zeros(len(x), self.hidden)
        with pyro.plate("data", len(x)):
            for t in range(x.shape[1]):
                with poutine.mask(mask=t < length):  # type: ignore[call-overload]
                    features = self.encoder(torch.cat([x[:, t], h], -1))
                    z_t = pyro.sample(f"z_{t}", self.posterior(features))
                h = self.transition(torch.cat([x[:, t], z_t], -1), h)
