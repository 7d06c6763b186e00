"""A variational autoencoder whose latents lie on a sphere.

    p(x, z)  = U(z; sphere) Bernoulli(x; y(z))
    q(z | x) = projected normal of mu(x): z = u / |u|, u from N(mu(x), I)

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  latent, of length 1
x     ``x_shape``   observed, binary
====  ============  ===========================================

The direction of mu is where z lies, its length how surely. A uniform prior on a closed surface has
no centre that codes are drawn to: mu = 0 is the prior, and the KL has a finite price from there.

Reference
    Davidson et al. 2018, *Hyperspherical Variational Auto-Encoders*, arXiv:1804.00891; the
    projected normal of Hernandez-Stumpfhauser, Breidt & van der Woerd 2017, *The General Projected
    Normal Distribution of Arbitrary Dimension*, Bayesian Analysis 12(1).

Differs from the paper
    A projected normal, whose draws need no rejection, and whose density is known for circles
    (``z_dim=2``), spheres (3) and their next relative (4), not beyond. `vae-vmf` has the paper's.
"""

import math
from typing import Annotated, Literal, cast

import pyro
from pydantic import Field, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import parts, register
from vaezoo.distributions.sphere import SphereUniform, VonMisesFisher

__all__ = ["VAESphere", "VAEVonMisesFisher"]

_LEAST_KAPPA = 1e-3
_FIRST_KAPPA = 10.0  # where a draw says something of its mean, so that the decoder listens


@register("vae-sphere", data="images", reference="arXiv:1804.00891")
class VAESphere(nn.Module):
    """Variational autoencoder on a circle or a sphere, by a projected normal."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: Literal[2, 3, 4] = 3,
        hidden: PositiveInt = 200,
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.encoder = parts.Encoder(x_shape, [hidden])
        self.direction = self.encoder.head(z_dim)  # mu(x)
        self.decoder = likelihood(parts.Decoder(z_dim, [hidden], x_shape))  # p(x | z)

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.ProjectedNormal(x.new_zeros(self.z_dim)))
            pyro.sample("x", self.decoder(z), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.ProjectedNormal(self.direction(self.encoder(x))))


@register("vae-vmf", data="images", reference="arXiv:1804.00891")
class VAEVonMisesFisher(nn.Module):
    """Hyperspherical variational autoencoder: von Mises-Fisher posteriors, in any dimension.

        p(x, z)  = U(z; sphere) Bernoulli(x; y(z))
        q(z | x) = vMF(z; mu(x), kappa(x)),   |mu| = 1
        KL       = kappa A_d(kappa) + log C_d(kappa) - log U,   closed form, whatever mu is

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  latent, of length 1
    x     ``x_shape``   observed, binary
    ====  ============  ===========================================

    Reference
        Davidson et al. 2018, *Hyperspherical Variational Auto-Encoders*, arXiv:1804.00891,
        eqs. 4-13.

    Differs from the paper
        The gradient of a draw by kappa is implicit (Figurnov et al. 2018, arXiv:1805.08498) instead
        of that of the accepted proposal with a score term; kappa begins at 10, and may fall to 0,
        where q is the prior.
    """

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: Annotated[int, Field(ge=2)] = 5,
        hidden: PositiveInt = 200,
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        self.z_dim = z_dim
        self.encoder = parts.Encoder(x_shape, [hidden])
        self.direction = self.encoder.head(z_dim)  # mu(x), but for its length
        self.log_kappa = cast("nn.Linear", self.encoder.head(1))
        nn.init.constant_(self.log_kappa.bias, math.log(_FIRST_KAPPA))
        self.decoder = likelihood(parts.Decoder(z_dim, [hidden], x_shape))  # p(x | z)

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", SphereUniform(self.z_dim, like=x))
            pyro.sample("x", self.decoder(z), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``."""
        h = self.encoder(x)
        mu = nn.functional.normalize(self.direction(h), dim=-1)
        kappa = self.log_kappa(h).squeeze(-1).exp() + _LEAST_KAPPA
        with pyro.plate("data", len(x)):
            pyro.sample("z", VonMisesFisher(mu, kappa))
