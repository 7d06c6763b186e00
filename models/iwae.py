"""The importance weighted autoencoder, with one layer of latents and with two.

    p(x, z1, z2)  = N(z2; 0, I) N(z1; mu(z2), diag sigma(z2)^2) Bernoulli(x; y(z1))
    q(z1, z2 | x) = N(z1; mu(x), diag sigma(x)^2) N(z2; mu(z1), diag sigma(z1)^2)

====  =============  ===========================================
site  event shape    meaning
====  =============  ===========================================
z2    ``(z2_dim,)``  upper latent
z1    ``(z1_dim,)``  lower latent
x     ``x_shape``    observed, binary
====  =============  ===========================================

The bound is a setting of the training, ``objective="iwae"`` with ``num_particles`` draws, here a
preset: the pairs are those of a variational autoencoder.

Reference
    Burda, Grosse & Salakhutdinov 2016, *Importance Weighted Autoencoders*, arXiv:1509.00519, eq. 8,
    section 5 and App. C.
"""

import pyro
from pydantic import PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import parts, register
from vaezoo.models.vae import VAE

__all__ = ["IWAE", "IWAETwoLayers"]


@register(
    "iwae",
    data="images",
    reference="arXiv:1509.00519",
    defaults={"z_dim": 50, "hidden": (200, 200)},
    presets={  # Table 1 has k of 1, 5 and 50
        "default": {"training": {"objective": "iwae", "num_particles": 5, "batch_size": 20}},
    },
)
class IWAE(VAE):
    """Importance weighted autoencoder: a tighter bound from several draws of one posterior.

        p(x, z)  = N(z; 0, I) Bernoulli(x; y(z)),   z -> 200 -> 200 -> y, tanh
        q(z | x) = N(z; mu(x), diag sigma(x)^2),    x -> 200 -> 200 -> (mu, log sigma^2), tanh

        objective  E[log 1/k sum_i p(x, z_i) / q(z_i | x)],   k = 5 draws of q(z | x)

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    Reference
        Burda, Grosse & Salakhutdinov 2016, *Importance Weighted Autoencoders*, arXiv:1509.00519,
        eq. 8, section 5 and App. C.

    Differs from the paper
        torch's initialisation and the learning rate of a training instead of Glorot's and a
        schedule of 3,280 epochs; Adam's epsilon is torch's.
    """


@register(
    "iwae-2l",
    data="images",
    reference="arXiv:1509.00519",
    presets={  # Table 1 has k of 1, 5 and 50
        "default": {"training": {"objective": "iwae", "num_particles": 5, "batch_size": 20}},
    },
)
class IWAETwoLayers(nn.Module):
    """Importance weighted autoencoder with two layers of latents."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z1_dim: PositiveInt = 100,
        z2_dim: PositiveInt = 50,
        hidden: tuple[PositiveInt, ...] = (200, 200),
        upper_hidden: tuple[PositiveInt, ...] = (100, 100),
        activation: parts.Activation = "tanh",
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        self.z2_dim = z2_dim
        decoder = parts.Decoder(z1_dim, hidden[::-1], x_shape, activation=activation)
        self.decoder = likelihood(decoder)  # p(x | z1)
        # p(z1 | z2), q(z1 | x) and q(z2 | z1): diagonal normals of features
        self.lower = parts.DiagonalNormal(
            parts.Encoder((z2_dim,), upper_hidden, activation=activation), z1_dim
        )
        self.encoder = parts.DiagonalNormal(
            parts.Encoder(x_shape, hidden, activation=activation), z1_dim
        )
        self.upper = parts.DiagonalNormal(
            parts.Encoder((z1_dim,), upper_hidden, activation=activation), z2_dim
        )

    def model(self, x: Tensor) -> None:
        """p(z2) p(z1 | z2) p(x | z1) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(x.new_zeros(self.z2_dim), 1.0).to_event(1))
            z1 = pyro.sample("z1", self.lower(z2))
            pyro.sample("x", self.decoder(z1), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z1 | x) q(z2 | z1) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z1 = pyro.sample("z1", self.encoder(x))
            pyro.sample("z2", self.upper(z1))
