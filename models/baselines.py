"""What a VAE has to beat: densities of data without a network between latents and data.

    independent   p(x)    = prod_i p(x_i)
    mixture       p(x, k) = pi_k prod_i p(x_i | k), summed over k
    maf           p(x)    = N(f(x); 0, I) |df/dx|
    ica           p(x, z) = prod_j Laplace(z_j; 0, b) N(x; W z + b, sigma^2 I)

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
k     ``()``        component, summed out
z     ``(z_dim,)``  source
x     ``x_shape``   observed
====  ============  ===========================================

Each is a pair as any other, so that every command and study can compare it. The ELBO of the first
three is log p(x) itself.
"""

import math
from typing import Annotated

import pyro
import torch
from pydantic import Field, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn
from torch.distributions.transforms import ReshapeTransform

from vaezoo import parts, register
from vaezoo.models.vae import VAE

__all__ = ["ICA", "MAF", "Independent", "Mixture"]


@register(
    "independent",
    data="images",
    presets={"default": {"training": {"lr": 0.05}}},
    tags=("baseline",),
)
class Independent(nn.Module):
    """Independent elements: each has a distribution of its own, and no more is known.

        p(x)     = prod_i p(x_i)
        q(z | x) = 1, there are no latents

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    x     ``x_shape``   observed
    ====  ============  ===========================================

    The floor of every model: one that ends here has learned nothing but means and scales.

    Reference
        The ELBO of a VAE none of whose latents is active.
    """

    has_latents = False

    def __init__(
        self, *, x_shape: tuple[int, ...], likelihood: parts.Likelihood = parts.Bernoulli
    ) -> None:
        super().__init__()
        self.elements = likelihood(parts.Decoder(1, (), x_shape))

    def model(self, x: Tensor) -> None:
        """p(x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            one = torch.ones(len(x), 1, dtype=_dtype(self), device=x.device)
            pyro.sample("x", self.elements(one), obs=x)

    def guide(self, x: Tensor) -> None:
        """Nothing is latent."""


@register(
    "mixture",
    data="images",
    reference="McLachlan & Peel 2000",
    presets={"default": {"training": {"lr": 0.02}}},
    tags=("baseline", "discrete"),
)
class Mixture(nn.Module):
    """Mixture of products: the elements of x are independent within each of K components.

        p(x, k)  = pi_k prod_i p(x_i | k),   k summed out
        q(z | x) = 1, p(k | x) is exact

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    k     ``()``        component, summed out
    x     ``x_shape``   observed
    ====  ============  ===========================================

    The ELBO is log p(x). With ``--likelihood gaussian`` it is a mixture of Gaussians with diagonal
    covariances, with ``--likelihood categorical`` a latent class model.

    Reference
        McLachlan & Peel 2000, *Finite Mixture Models*.

    Differs from the book
        Gradient steps on log p(x) in the place of EM; they lead to the same optima.
    """

    has_latents = False

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        num_components: PositiveInt = 10,
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.elements = likelihood(parts.Decoder(num_components, (), x_shape))

    def model(self, x: Tensor) -> None:
        """pi_k p(x | k) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            component = dist.Categorical(logits=self.logits)
            k = pyro.sample("k", component, infer={"enumerate": "parallel"})
            one_hot = torch.eye(len(self.logits), dtype=self.logits.dtype, device=k.device)[k]
            pyro.sample("x", self.elements(one_hot), obs=x)

    def guide(self, x: Tensor) -> None:
        """Nothing is left to be found: k is summed out."""


@register(
    "maf",
    data="vectors",
    reference="arXiv:1705.07057",
    tags=("baseline",),
)
class MAF(nn.Module):
    """Masked autoregressive flow: an exact density of real data, and its samples.

        p(x)     = N(f(x); 0, I) |df/dx|,   f five autoregressive transforms
        q(z | x) = 1, there are no latents

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    x     ``x_shape``   observed, real
    ====  ============  ===========================================

    Its ELBO is log p(x). A draw takes a pass of the network for each element. No element has a
    standard deviation below ``floor`` given those before it: without, one that never varies would
    be worth any number of nats, and minus millions in the first row in which it does.

    Reference
        Papamakarios, Pavlakou & Murray 2017, *Masked Autoregressive Flow for Density Estimation*,
        arXiv:1705.07057.

    Differs from the paper
        No batch normalisation between transforms; Zuko's masked networks, their scales
        between ``floor`` and its inverse.
    """

    has_latents = False

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        transforms: PositiveInt = 5,
        hidden: tuple[PositiveInt, ...] = (100, 100),
        floor: Annotated[float, Field(gt=0, lt=1)] = 0.01,
    ) -> None:
        super().__init__()
        size = math.prod(x_shape)
        self.shape = ReshapeTransform(torch.Size([size]), torch.Size(x_shape))
        slope = floor ** (1 / transforms)  # of each of them
        self.flow = parts.FlowPrior(size, transforms=transforms, hidden=hidden, slope=slope)

    def model(self, x: Tensor) -> None:
        """p(x) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            pyro.sample("x", dist.TransformedDistribution(self.flow(), [self.shape]), obs=x)

    def guide(self, x: Tensor) -> None:
        """Nothing is latent."""


@register(
    "ica",
    data="vectors",
    reference="Hyvarinen & Oja 2000",
    defaults={
        "prior": parts.LaplacePrior,
        "likelihood": parts.Gaussian,
        "hidden": (),
        "z_dim": 10,
    },
    presets={
        "default": {
            "likelihood": {"name": "gaussian", "sigma": "shared"},
            "training": {"lr": 0.01},
        }
    },
    tags=("baseline", "disentangling"),
)
class ICA(VAE):
    """Independent component analysis with noise: sources with heavy tails, mixed linearly.

        p(x, z)  = prod_j Laplace(z_j; 0, 2^(-1/2)) N(x; W z + b, sigma^2 I)
        q(z | x) = N(z; V x + c, diag sigma(x)^2)

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  source
    x     ``x_shape``   observed, real
    ====  ============  ===========================================

    Unlike a Gaussian prior, this one is not blind to rotations: the columns of W are the sources'
    directions, and not only their span.

    Reference
        Hyvarinen & Oja 2000, *Independent Component Analysis: Algorithms and Applications*, Neural
        Networks 13; as a latent variable model with noise, sec. 3.

    Differs from the paper
        Variational inference, instead of a fixed point iteration on whitened data without noise.
    """


def _dtype(module: nn.Module) -> torch.dtype:
    return next(module.parameters()).dtype
