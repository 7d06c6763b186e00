"""beta-VAE: a variational autoencoder whose KL term weighs beta > 1.

    p(x, z)  = N(z; 0, I) Bernoulli(x; y(z)),   z -> 1200 -> 1200 -> 1200 -> y, tanh
    q(z | x) = N(z; mu(x), diag sigma(x)^2),    x -> 1200 -> 1200 -> (mu, log sigma^2), ReLU

    objective  E_q[log p(x | z)] - beta KL(q(z | x) || p(z)),   beta = 4

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  latent
x     ``x_shape``   observed, binary
====  ============  ===========================================

beta is no part of the pair: ``--beta`` weighs the KL term of every pair of the zoo. This entry has
the networks of the paper and its beta as a preset. The reported ELBO is the plain one, beta = 1.

Reference
    Higgins et al. 2017, *beta-VAE: Learning Basic Visual Concepts with a Constrained Variational
    Framework*, ICLR, App. A (networks for 2D shapes); Burgess et al. 2018, arXiv:1804.03599
    (``conv``).

Differs from the paper
    Adam, learning rate 1e-3, instead of Adagrad, 1e-2 (``--optimizer adagrad --lr 1e-2``).
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

__all__ = ["BetaVAE"]


@register(
    "beta-vae",
    data="images",
    reference="Higgins et al. 2017",
    presets={
        "default": {"training": {"beta": 4.0}},
        "conv": {"net": "conv", "hidden": [256, 256], "decoder_hidden": [256, 256]},
    },
)
class BetaVAE(nn.Module):
    """beta-VAE: disentangled latents by a weighted KL term."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 10,
        hidden: tuple[PositiveInt, ...] = (1200, 1200),
        decoder_hidden: tuple[PositiveInt, ...] = (1200, 1200, 1200),
        activation: Activation = "relu",
        decoder_activation: Activation = "tanh",
        net: Net = "mlp",
        likelihood: Likelihood = Bernoulli,
        prior: Prior = StandardNormal,
        posterior: Posterior = DiagonalNormal,
    ) -> None:
        super().__init__()
        self.prior = prior(z_dim)  # p(z)
        self.decoder = Decoder(
            z_dim, decoder_hidden, x_shape, activation=decoder_activation, net=net
        )
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
