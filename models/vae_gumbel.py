"""A variational autoencoder of discrete latents, relaxed to the inside of a simplex.

    p(x, z)  = prod_j Concrete(z_j; 1 / K, tau) Bernoulli(x; y(z))
    q(z | x) = prod_j Concrete(z_j; pi_j(x), tau)

====  ==================================  ===========================================
site  event shape                         meaning
====  ==================================  ===========================================
z     ``(num_latents, num_categories)``   latents, each of which is nearly one-hot
x     ``x_shape``                         observed, binary
====  ==================================  ===========================================

As tau falls to 0, z_j becomes one-hot, and its gradients have no bounded variance. The ELBO is the
one of the relaxed latents, with their densities on both sides (Maddison et al. 2017, eq. 20).

Its KL term has no closed form, and of draws it is noisier than what latents are worth at first: by
default it comes in slowly, and is a mean of four draws. Without, no latent comes into use.

Reference
    Maddison, Mnih & Teh 2017, *The Concrete Distribution*, arXiv:1611.00712; Jang, Gu & Poole 2017,
    *Categorical Reparameterization with Gumbel-Softmax*, arXiv:1611.01144.
"""

import pyro
from pydantic import PositiveFloat, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import parts, register

__all__ = ["VAEGumbel"]


@register(
    "vae-gumbel",
    data="images",
    reference="arXiv:1611.00712",
    presets={"default": {"training": {"lr": 3e-3, "kl_warmup": 1_000, "num_particles": 4}}},
    tags=("discrete",),
)
class VAEGumbel(nn.Module):
    """Variational autoencoder with categorical latents, relaxed (Gumbel-softmax, Concrete)."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        num_latents: PositiveInt = 10,
        num_categories: PositiveInt = 4,
        temperature: PositiveFloat = 2 / 3,
        hidden: PositiveInt = 200,
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        self.shape = (num_latents, num_categories)
        self.temperature = temperature
        size = num_latents * num_categories
        self.encoder = parts.Encoder(x_shape, [hidden])
        self.logits = self.encoder.head(size)  # log pi(x)
        self.decoder = likelihood(parts.Decoder(size, [hidden], x_shape))  # p(x | z)

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.concrete(x.new_zeros(self.shape)))
            pyro.sample("x", self.decoder(z.flatten(-2)), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(z | x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            logits = self.logits(self.encoder(x)).unflatten(-1, self.shape)
            pyro.sample("z", self.concrete(logits))

    def concrete(self, logits: Tensor) -> dist.TorchDistribution:
        """Return independent relaxed latents, of logits ``(..., num_latents, num_categories)``."""
        temperature = logits.new_full((), self.temperature)
        return dist.RelaxedOneHotCategorical(temperature, logits=logits).to_event(1)
