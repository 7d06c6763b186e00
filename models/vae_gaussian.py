"""The variational autoencoder with a Gaussian decoder.

    p(x, z)  = N(z; 0, I) N(x; mu(z), diag sigma(z)^2)
               h = tanh(W3 z + b3),   mu = W4 h + b4,   log sigma^2 = W5 h + b5
    q(z | x) = N(z; mu(x), diag sigma(x)^2), the same network with z and x swapped

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  latent
x     ``x_shape``   observed, real
====  ============  ===========================================

The decoder's standard deviation has five forms, ``--sigma``: ``per-pixel`` (the paper),
``shared`` (one learned number), ``per-dim``, ``fixed:VALUE`` (squared error) and ``analytic``.

Reference
    Kingma & Welling 2014, *Auto-Encoding Variational Bayes*, arXiv:1312.6114, App. C.2.

Differs from the paper
    sigma has a floor, because the likelihood of a free sigma is unbounded
    (Mattei & Frellsen 2018, arXiv:1802.04826); Adam instead of Adagrad; no weight decay.
"""

import pyro
from pydantic import PositiveInt
from torch import Tensor, nn

from vaezoo.parts.axes import Likelihood, Posterior, Prior
from vaezoo.parts.likelihoods import Gaussian
from vaezoo.parts.networks import Activation, Decoder, Encoder, Net
from vaezoo.parts.posteriors import DiagonalNormal
from vaezoo.parts.priors import StandardNormal
from vaezoo.registry import register

__all__ = ["VAEGaussian"]


@register(
    "vae-gaussian",
    data="images",
    reference="arXiv:1312.6114",
    presets={
        "paper-frey": {
            "z_dim": 10,
            "hidden": [200],
            "likelihood": {"name": "gaussian", "sigma": "per-pixel", "mean": "sigmoid"},
            "training": {"batch_size": 100},
        },
        "conv": {"z_dim": 32, "hidden": [256], "activation": "relu", "net": "conv"},
    },
)
class VAEGaussian(nn.Module):
    """Variational autoencoder for real-valued data."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 10,
        hidden: tuple[PositiveInt, ...] = (200,),
        activation: Activation = "tanh",
        net: Net = "mlp",
        likelihood: Likelihood = Gaussian,
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
