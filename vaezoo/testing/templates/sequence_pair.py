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
from torch import Tensor, nn

from vaezoo import SequencePair, parts, register

__all__ = ["MySequenceVae"]


# A SequencePair is written as one step, on rows (N, ...): many sequences, and many steps of each,
# go through its parts side by side. The loop over time, the model and the guide are made of them.
# Its four conditionals are prior(h), likelihood(z, h), posterior(e, h) and transition(f, z, h),
# each a module or a method; a network reads its inputs side by side. Also there to be changed:
# initial(x), the first h; embed(x), the features f of frames; and encode(x, length), what the guide
# sees of a sequence at each step, e, by default that same f.
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
        likelihood: parts.Likelihood = parts.Bernoulli,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        self.hidden = hidden  # the width of h, which starts at zero
        x_dim = math.prod(x_shape)
        # p(z_t | h_t)
        self.prior = parts.DiagonalNormal(parts.Encoder((hidden,)), z_dim)
        # p(x_t | z_t, h_t), of the family that `likelihood` names
        self.likelihood = likelihood(parts.Decoder(z_dim + hidden, [hidden], x_shape))
        # q(z_t | x_t, h_t)
        self.posterior = posterior(parts.Encoder((x_dim + hidden,), [hidden]), z_dim)
        # h_{t+1} = GRU([x_t, z_t], h_t)
        self.gru = nn.GRUCell(x_dim + z_dim, hidden)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1} ``(N, hidden)``; f are the features of x_t, here x_t itself ``(N, x_dim)``."""
        return self.gru(torch.cat([f, z], -1), h)
