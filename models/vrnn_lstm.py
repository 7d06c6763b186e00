"""The variational recurrent neural network as its paper has it: an LSTM, and deep networks.

    p(x, z)  = prod_t N(z_t; mu(h_t), diag sigma(h_t)^2) p(x_t | phi_z(z_t), h_t)
    q(z | x) = prod_t N(z_t; mu(phi_x(x_t), h_t), diag sigma(phi_x(x_t), h_t)^2)
    h_0 = c_0 = 0,  (h_{t+1}, c_{t+1}) = LSTM([phi_x(x_t), phi_z(z_t)], (h_t, c_t))

    phi_x, phi_z and the networks of prior, encoder and decoder have four hidden layers, ReLU

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z_t   ``(z_dim,)``  latent, t = 0 ... T - 1
x_t   ``x_shape``   observed frame
====  ============  ===========================================

h_t is the paper's h_{t-1}: all that came before step t. The state of the pair is [h_t, c_t], which
is what windows of a long sequence hand on; prior, encoder and decoder read h_t alone.
``prior="static"`` is the paper's VRNN-I, whose latents are N(0, I) at every step.

Reference
    Chung et al. 2015, *A Recurrent Latent Variable Model for Sequential Data*, arXiv:1506.02216,
    eqs. 5-9 and section 4.1.

Differs from the paper
    All networks are equally wide, and their layers start at the weights of He et al. 2015
    (arXiv:1502.01852); sigma is the exponential of half of a linear layer instead of a softplus.
    ``vrnn`` is the same model with a GRU and one hidden layer in each network.
"""

from typing import Literal, TypeVar

import torch
from pydantic import PositiveInt
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vaezoo import SequencePair, parts, register

__all__ = ["VRNNLSTM"]

Net = TypeVar("Net", bound=nn.Module)


def _started(net: Net) -> Net:
    """Give the layers of a deep network the weights of He et al. 2015 (arXiv:1502.01852).

    With those of torch a signal is a hundredth after four layers, and the network learns the means
    of the frames for a hundred epochs before it hears of the frames before.
    """
    for layer in net.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
    return net


@register(
    "vrnn-lstm",
    data="sequences",
    reference="arXiv:1506.02216",
    tags=("sequence",),
    presets={
        "default": {"training": {"clip_norm": 10.0}},
        "small": {"z_dim": 8, "hidden": 32, "layers": 2},
        "paper": {"z_dim": 200, "hidden": 600, "training": {"lr": 3e-4, "batch_size": 128}},
        "jsb": {
            "z_dim": 32,
            "hidden": 32,
            "training": {"batch_size": 16, "lr": 3e-3, "epochs": 200, "kl_warmup": 600},
        },
    },
)
class VRNNLSTM(SequencePair):
    """Variational recurrent network of the paper: an LSTM, and four layers in each network."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 32,
        hidden: PositiveInt = 64,
        layers: PositiveInt = 4,
        prior: Literal["sequential", "static"] = "sequential",
        likelihood: parts.Likelihood = parts.Bernoulli,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        self.size = hidden
        self.hidden = 2 * hidden  # [h_t, c_t]
        deep = [hidden] * layers
        self.phi_x = _started(parts.Encoder(x_shape, deep))
        self.phi_z = _started(parts.Encoder((z_dim,), deep))
        # p(z_t | h_t)
        if prior == "static":
            self.before: nn.Module = parts.StandardNormal(z_dim)
        else:
            self.before = parts.DiagonalNormal(_started(parts.Encoder((hidden,), deep)), z_dim)
        # p(x_t | phi_z(z_t), h_t)
        self.decoder = likelihood(_started(parts.Decoder(2 * hidden, deep, x_shape)))
        # q(z_t | phi_x(x_t), h_t)
        self.encoder = posterior(_started(parts.Encoder((2 * hidden,), deep)), z_dim)
        # (h_{t+1}, c_{t+1}) = LSTM([phi_x(x_t), phi_z(z_t)], (h_t, c_t))
        self.lstm = nn.LSTMCell(2 * hidden, hidden)

    def embed(self, x: Tensor) -> Tensor:
        """phi_x(x_t) ``(N, hidden)``."""
        return self.phi_x(x)

    def prior(self, h: Tensor) -> TorchDistribution:
        """p(z_t | h_t)."""
        return self.before(h[:, : self.size])

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | phi_x(x_t), h_t)."""
        return self.encoder(e, h[:, : self.size])

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """p(x_t | phi_z(z_t), h_t)."""
        return self.decoder(self.phi_z(z), h[:, : self.size])

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """[h_{t+1}, c_{t+1}] = LSTM([phi_x(x_t), phi_z(z_t)], [h_t, c_t])."""
        before = h[:, : self.size], h[:, self.size :]
        return torch.cat(self.lstm(torch.cat([f, self.phi_z(z)], -1), before), -1)
