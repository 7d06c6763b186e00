"""The variational autoencoder with a Bernoulli decoder.

    p(x, z)  = N(z; 0, I) Bernoulli(x; y(z)),   y = sigmoid(W2 tanh(W1 z + b1) + b2)
    q(z | x) = N(z; mu(x), diag sigma(x)^2),    h = tanh(W3 x + b3), two linear heads of h

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  latent
x     ``x_shape``   observed, binary
====  ============  ===========================================

Reference
    Kingma & Welling 2014, *Auto-Encoding Variational Bayes*, arXiv:1312.6114, App. C.1 (decoder)
    and C.2 (encoder).

Differs from the paper
    Adam instead of Adagrad; torch's initialisation instead of N(0, 0.01); maximum likelihood
    for the weights instead of MAP. More layers, other activations and convolutions are settings.
"""

import pyro
from pydantic import PositiveInt
from torch import Tensor, nn

from vaezoo.parts.axes import Likelihood, Posterior, Prior
from vaezoo.parts.likelihoods import Bernoulli
from vaezoo.parts.networks import Activation, Decoder, Encoder, Net
from vaezoo.parts.posteriors import DiagonalNormal
from vaezoo.parts.priors import StandardNormal
from vaezoo.registry import register

__all__ = ["VAEBernoulli"]


@register(
    "vae-bernoulli",
    data="images",
    reference="arXiv:1312.6114",
    presets={
        "paper-mnist": {"z_dim": 20, "hidden": [500], "training": {"batch_size": 100}},
        "deep": {"z_dim": 128, "hidden": [256, 256], "activation": "relu"},
        "conv": {"z_dim": 32, "hidden": [256], "activation": "relu", "net": "conv"},
    },
)
class VAEBernoulli(nn.Module):
    """Variational autoencoder for binary data."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 20,
        hidden: tuple[PositiveInt, ...] = (500,),
        activation: Activation = "tanh",
        net: Net = "mlp",
        likelihood: Likelihood = Bernoulli,
        prior: Prior = StandardNormal,
        posterior: Posterior = DiagonalNormal,
    ) -> None:
        super().__init__()
        self.prior = prior(z_dim)  # p(z)
        self.decoder = Decoder(z_dim, hidden[::-1], x_shape, activation=activation, net=net)
        self.likelihood = likelihood(self.decoder.head, x_shape)  # p(x | z)
        self.encoder = Encoder(x_shape, hidden, activation=activation, net=net)
        self.posterior = posterior(self.encoder.head(z_dim))  # q(z | x)

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            pyro.sample("x", self.likelihood(self.decoder(z)), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.posterior(self.encoder(x)))
