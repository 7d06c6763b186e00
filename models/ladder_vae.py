"""The ladder variational autoencoder: two layers of latents, both of whose posteriors go downwards.

    p(x, z1, z2)  = N(z2; 0, I) N(z1; mu_p(z2), diag sigma_p(z2)^2) Bernoulli(x; y(z1))
    q(z2 | x)     = N(z2; mu2(d2), diag sigma2(d2)^2),      d1 = d1(x), d2 = d2(d1)
    q(z1 | x, z2) = N(z1; mu, diag sigma^2),
                    1 / sigma^2 = 1 / sigma1(d1)^2 + 1 / sigma_p(z2)^2,
                    mu          = sigma^2 (mu1(d1) / sigma1(d1)^2 + mu_p(z2) / sigma_p(z2)^2)

====  =============  ===========================================
site  event shape    meaning
====  =============  ===========================================
z2    ``(z2_dim,)``  upper latent
z1    ``(z1_dim,)``  lower latent
x     ``x_shape``    observed, binary
====  =============  ===========================================

The guide corrects what the model expects of z1 by what x says, weighed by their precisions, so that
the two share p(z1 | z2).

Reference
    Sonderby et al. 2016, *Ladder Variational Autoencoders*, arXiv:1602.02282, eqs. 15-19.

Differs from the paper
    Two layers instead of five; no batch normalisation, so that a datum does not depend on the
    others of its batch. Warm-up of the KL is a setting, and in the preset ``mnist``.
"""

import pyro
from pydantic import PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import parts, register

__all__ = ["LadderVAE"]


@register(
    "ladder-vae",
    data="images",
    reference="arXiv:1602.02282",
    presets={"mnist": {"training": {"batch_size": 256, "kl_warmup": 40_000}}},
)
class LadderVAE(nn.Module):
    """Ladder variational autoencoder with two layers of latents."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z1_dim: PositiveInt = 32,
        z2_dim: PositiveInt = 16,
        hidden: PositiveInt = 256,
        upper_hidden: PositiveInt = 128,
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        self.z2_dim = z2_dim
        # p(x | z1), p(z1 | z2)
        self.decoder = likelihood(parts.Decoder(z1_dim, [hidden], x_shape))
        self.lower = parts.DiagonalNormal(parts.Encoder((z2_dim,), [upper_hidden]), z1_dim)
        # what x says of z1 and of z2
        self.d1 = parts.Encoder(x_shape, [hidden])
        self.d2 = parts.Encoder((hidden,), [upper_hidden])
        self.of_z1 = parts.GaussianHead(lambda: self.d1.head(z1_dim), 1e-4)
        self.of_z2 = parts.GaussianHead(lambda: self.d2.head(z2_dim), 1e-4)

    def model(self, x: Tensor) -> None:
        """p(z2) p(z1 | z2) p(x | z1) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z2 = pyro.sample("z2", dist.Normal(x.new_zeros(self.z2_dim), 1.0).to_event(1))
            z1 = pyro.sample("z1", self.lower(z2))
            pyro.sample("x", self.decoder(z1), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z2 | x) q(z1 | x, z2) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            d1 = self.d1(x)
            z2 = pyro.sample("z2", dist.Normal(*self.of_z2(self.d2(d1))).to_event(1))
            expected = self.lower(z2)
            loc, scale = self.of_z1(d1)
            precision = scale**-2 + 1 / expected.variance
            mean = (loc * scale**-2 + expected.mean / expected.variance) / precision
            pyro.sample("z1", dist.Normal(mean, precision**-0.5).to_event(1))
