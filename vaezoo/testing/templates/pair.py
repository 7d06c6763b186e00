"""A variational autoencoder with a Bernoulli decoder.

    p(x, z)  = N(z; 0, I) Bernoulli(x; y(z))
    q(z | x) = N(z; mu(x), diag sigma(x)^2)

====  ============  ===================
site  event shape   meaning
====  ============  ===================
z     ``(z_dim,)``  latent
x     ``x_shape``   observed, binary
====  ============  ===================
"""

import pyro
from pydantic import PositiveInt
from torch import Tensor, nn

from vaezoo import parts, register

__all__ = ["MyVae"]


@register("my-vae", data="images")
class MyVae(nn.Module):
    """Variational autoencoder, a first pair of one's own."""

    # Every argument is a setting, `--set z_dim=2`; x_shape is given by the data.
    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 10,
        hidden: PositiveInt = 200,
        likelihood: parts.Likelihood = parts.Bernoulli,
        prior: parts.Prior = parts.StandardNormal,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        # p(x | z) = Bernoulli(x; y(z)), or what `likelihood` names
        self.decoder = likelihood(parts.Decoder(z_dim, [hidden], x_shape))
        # q(z | x) = N(z; mu(x), diag sigma(x)^2)
        self.encoder = posterior(parts.Encoder(x_shape, [hidden]), z_dim)
        # p(z) = N(0, I), or what `prior` names, which may be made of the other two
        self.prior = prior(z_dim, self.encoder, self.decoder)

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())  # (B, z_dim)
            pyro.sample("x", self.decoder(z), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.encoder(x))
