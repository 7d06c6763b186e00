"""A recurrent network without latents: what the models with latents have to beat.

    p(x)     = prod_t p(x_t | h_t)
    q(z | x) = 1, there are no latents
    h_0 = 0,  h_{t+1} = GRU(phi_x(x_t), h_t)

    phi_x and the network of the decoder have one hidden layer, ReLU

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
x_t   ``x_shape``   observed frame, t = 0 ... T - 1
====  ============  ===========================================

Its ELBO is log p(x) itself, and its KL is 0. The elements of a frame are independent given the
frames before, unless the likelihood joins them: ``likelihood="gaussian-mixture"`` is the paper's
RNN-GMM, ``"gaussian"`` its RNN-Gauss, and ``"handwriting"`` the network of Graves 2013
(arXiv:1308.0850).

Reference
    Chung et al. 2015, *A Recurrent Latent Variable Model for Sequential Data*, arXiv:1506.02216,
    eqs. 1-2, and the baselines of section 4.

Differs from the paper
    A GRU instead of an LSTM, and one hidden layer in each network.
"""

import math
from typing import ClassVar

from pydantic import PositiveInt
from torch import Tensor, nn

from vaezoo import SequencePair, parts, register

__all__ = ["RNN", "Markov"]


@register(
    "rnn",
    data="sequences",
    reference="arXiv:1506.02216",
    tags=("sequence", "baseline"),
    presets={
        "default": {"training": {"clip_norm": 10.0}},
        "small": {"hidden": 32},
        "jsb": {"hidden": 32, "training": {"batch_size": 16, "lr": 3e-3, "epochs": 200}},
        "nottingham": {"hidden": 64, "training": {"batch_size": 16, "lr": 3e-3, "epochs": 30}},
        "spoken-digits": {
            "hidden": 128,
            "likelihood": {"name": "gaussian"},
            "training": {"batch_size": 32, "epochs": 40},
        },
        "pendigits": {
            "hidden": 64,
            "likelihood": {"name": "gaussian"},
            "training": {"batch_size": 64, "epochs": 6},
        },
    },
)
class RNN(SequencePair):
    """Recurrent network without latents, the baseline of the others."""

    has_latents: ClassVar[bool] = False

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        hidden: PositiveInt = 64,
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.phi_x = parts.Encoder(x_shape, [hidden])
        # p(x_t | h_t); z_t has no width
        self.likelihood = likelihood(parts.Decoder(hidden, [hidden], x_shape))
        # h_{t+1} = GRU(phi_x(x_t), h_t)
        self.gru = nn.GRUCell(hidden, hidden)

    def embed(self, x: Tensor) -> Tensor:
        """phi_x(x_t) ``(N, hidden)``."""
        return self.phi_x(x)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1} = GRU(phi_x(x_t), h_t)."""
        return self.gru(f, h)


@register(
    "markov",
    data="sequences",
    tags=("sequence", "baseline"),
    presets={"default": {"training": {"lr": 0.01}}},
)
class Markov(SequencePair):
    """Markov chain of frames: each explained by the one before, linearly, and by nothing else.

        p(x)     = prod_t p(x_t | x_{t-1}),   x_{-1} = 0,   parameters linear in x_{t-1}
        q(z | x) = 1, there are no latents

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    x_t   ``x_shape``   observed frame, t = 0 ... T - 1
    ====  ============  ===========================================

    With ``--likelihood gaussian`` a vector autoregression of order 1. Its ELBO is log p(x) itself.

    Reference
        The floor of models with a memory.
    """

    has_latents: ClassVar[bool] = False

    def __init__(
        self, *, x_shape: tuple[int, ...], likelihood: parts.Likelihood = parts.Bernoulli
    ) -> None:
        super().__init__()
        self.hidden = math.prod(x_shape)
        self.likelihood = likelihood(parts.Decoder(self.hidden, (), x_shape))

    def embed(self, x: Tensor) -> Tensor:
        """x_t as a row, ``(N, hidden)``."""
        return x.flatten(1)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """h_{t+1} = x_t."""
        return f
