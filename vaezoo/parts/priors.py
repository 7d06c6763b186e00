"""Priors p(z): built from the number of latents, they return a distribution when called.

A prior may be made of the pair: a pair of the zoo builds it last, and hands it q(z | x) and
p(x | z) after the number of latents. Most do not look at them. In a pair of sequences a prior is
called with the state h of a step, which it may ignore.

=============  ============================================  ==================================
name           p(z)                                          KL(q || p) of a diagonal Gaussian
=============  ============================================  ==================================
``standard``   N(0, I)                                       closed form
``gaussian``   N(mu, diag sigma^2), learned                  closed form
``laplace``    independent, of variance 1                    closed form
``student-t``  independent, heavy tails                      from the draw
``mog``        sum_k pi_k N(mu_k, diag sigma_k^2), learned   from the draw
``vamp``       1/K sum_k q(z | u_k)                          from the draw
``flow``       a normalising flow (:mod:`.flows`)            from the draw
``flat``       1: of autoencoders                            none
=============  ============================================  ==================================
"""

import math
from typing import Any

import torch
from pydantic import NonNegativeFloat, PositiveFloat, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn
from torch.distributions import constraints, transform_to
from torch.distributions.transforms import identity_transform

from vaezoo.distributions.families import elements_of
from vaezoo.distributions.mixture_of_normals import MixtureOfNormals
from vaezoo.errors import RequestError
from vaezoo.parts.axes import PRIORS
from vaezoo.parts.networks import sigma_of

__all__ = [
    "Flat",
    "GaussianMixturePrior",
    "LaplacePrior",
    "LearnedNormal",
    "StandardNormal",
    "StudentTPrior",
    "VampPrior",
]

VARIANCE_ONE = math.sqrt(0.5)  # the scale of a Laplace distribution


@PRIORS.register("standard")
class StandardNormal(nn.Module):
    """p(z) = N(0, I), event shape ``(z_dim,)``."""

    loc: Tensor
    scale: Tensor

    def __init__(self, z_dim: int, *pair: nn.Module) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(z_dim))
        self.register_buffer("scale", torch.ones(z_dim))

    def forward(self, *ignored: Tensor) -> dist.TorchDistribution:
        return dist.Normal(self.loc, self.scale).to_event(1)


@PRIORS.register("flat")
class Flat(nn.Module):
    """p(z) = 1 over all reals, event shape ``(z_dim,)``: of autoencoders, which have no prior.

    It is improper, so that there are no draws from it, and a log-density that counts nothing.
    """

    def __init__(self, z_dim: int, *pair: nn.Module) -> None:
        super().__init__()
        self.z_dim = z_dim

    def forward(self, *ignored: Tensor) -> dist.TorchDistribution:
        return dist.ImproperUniform(constraints.real, (), (self.z_dim,))


@PRIORS.register("gaussian")
class LearnedNormal(nn.Module):
    """p(z) = N(z; mu, diag sigma^2), both learned, event shape ``(z_dim,)``.

    A decoder whose first layer is linear and has a bias can do the same to N(0, I): this changes
    how the pair is trained, and not which densities of x it has.

    Parameters
    ----------
    z_dim
        Number of latents.
    pair
        Not used.
    floor
        Smallest standard deviation.

    Examples
    --------
    >>> LearnedNormal(2)().log_prob(torch.zeros(2))  # it starts as N(0, I), but for the floor
    tensor(-1.8379, grad_fn=<SumBackward1>)
    """

    def __init__(self, z_dim: int, *pair: nn.Module, floor: NonNegativeFloat = 1e-4) -> None:
        super().__init__()
        self.loc = nn.Parameter(torch.zeros(z_dim))
        self.log_var = nn.Parameter(torch.zeros(z_dim))
        self.floor = floor

    def forward(self, *ignored: Tensor) -> dist.TorchDistribution:
        return dist.Normal(self.loc, sigma_of(self.log_var, self.floor)).to_event(1)


class _Fixed(nn.Module):
    """A location of zeros and one scale, as buffers, which move with the pair."""

    loc: Tensor
    scale: Tensor

    def __init__(self, z_dim: int, scale: float) -> None:
        super().__init__()
        self.register_buffer("loc", torch.zeros(z_dim))
        self.register_buffer("scale", torch.full((z_dim,), scale))


@PRIORS.register("laplace")
class LaplacePrior(_Fixed):
    """p(z) = prod_j Laplace(z_j; 0, b): independent latents with a peak at 0, and tails.

    Unlike N(0, I) it changes when the latents are rotated, so that it has axes of its own.

    Parameters
    ----------
    z_dim
        Number of latents.
    pair
        Not used.
    scale
        b; by default that of variance 1.

    Examples
    --------
    >>> LaplacePrior(2)().variance
    tensor([1.0000, 1.0000])
    """

    def __init__(self, z_dim: int, *pair: nn.Module, scale: PositiveFloat = VARIANCE_ONE) -> None:
        super().__init__(z_dim, scale)

    def forward(self, *ignored: Tensor) -> dist.TorchDistribution:
        return dist.Laplace(self.loc, self.scale).to_event(1)


@PRIORS.register("student-t")
class StudentTPrior(_Fixed):
    """p(z) = prod_j StudentT(z_j; df, 0, scale): independent latents with heavy tails.

    Parameters
    ----------
    z_dim
        Number of latents.
    pair
        Not used.
    df
        Degrees of freedom; there is no variance up to 2.
    scale
        Of each latent.

    Examples
    --------
    >>> StudentTPrior(2, df=4.0)().variance
    tensor([2., 2.])
    """

    df: Tensor

    def __init__(
        self,
        z_dim: int,
        *pair: nn.Module,
        df: PositiveFloat = 5.0,
        scale: PositiveFloat = 1.0,
    ) -> None:
        super().__init__(z_dim, scale)
        self.register_buffer("df", torch.full((z_dim,), df))

    def forward(self, *ignored: Tensor) -> dist.TorchDistribution:
        return dist.StudentT(self.df, self.loc, self.scale).to_event(1)


@PRIORS.register("mog")
class GaussianMixturePrior(nn.Module):
    """p(z) = sum_k pi_k N(z; mu_k, diag sigma_k^2), all learned, event shape ``(z_dim,)``.

    Components start at draws from N(0, I), with sigma 1 and equal weights.

    Parameters
    ----------
    z_dim
        Number of latents.
    pair
        Not used.
    num_components
        K.
    floor
        Smallest standard deviation, without which a component may shrink to a point.

    Examples
    --------
    >>> prior = GaussianMixturePrior(2, num_components=3)
    >>> prior().log_prob(torch.zeros(5, 2)).shape
    torch.Size([5])
    """

    def __init__(
        self,
        z_dim: int,
        *pair: nn.Module,
        num_components: PositiveInt = 10,
        floor: NonNegativeFloat = 0.01,
    ) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.zeros(num_components))
        self.loc = nn.Parameter(torch.randn(num_components, z_dim))
        self.log_var = nn.Parameter(torch.zeros(num_components, z_dim))
        self.floor = floor

    def forward(self, *ignored: Tensor) -> dist.TorchDistribution:
        return MixtureOfNormals(self.logits, self.loc, sigma_of(self.log_var, self.floor))


@PRIORS.register("vamp")
class VampPrior(nn.Module):
    """p(z) = 1/K sum_k q(z | u_k): the posterior's mean over learned pseudo-inputs u.

    Tomczak & Welling 2018, arXiv:1705.07120, eq. 9. The encoder belongs to the pair: here its
    parameters are used, and neither stored nor counted a second time. Pseudo-inputs stay in the
    range of what p(x | z) explains, as pixels between 0 and 1; they start at random.

    Parameters
    ----------
    z_dim
        Number of latents.
    pair
        q(z | x), then p(x | z).
    num_components
        K.

    Raises
    ------
    RequestError
        When a pair hands over no posterior and likelihood.

    Examples
    --------
    >>> from vaezoo import parts
    >>> q = parts.DiagonalNormal(parts.Encoder((8, 8), [32]), 2)
    >>> prior = VampPrior(2, q, parts.Bernoulli(parts.Decoder(2, [32], (8, 8))), num_components=3)
    >>> prior().log_prob(torch.zeros(5, 2)).shape, list(prior.state_dict())
    (torch.Size([5]), ['inputs'])
    """

    logits: Tensor

    def __init__(self, z_dim: int, *pair: nn.Module, num_components: PositiveInt = 500) -> None:
        super().__init__()
        if len(pair) != 2:
            raise RequestError(
                "the prior 'vamp' is made of q(z | x), which this pair does not give to its prior; "
                "build it last, `prior(z_dim, self.encoder, self.decoder)`"
            )
        posterior, likelihood = pair
        with torch.no_grad():
            explained = likelihood(torch.zeros(1, z_dim))
        # In a tuple it is no submodule, so that its parameters have one name each.
        self._posterior = (posterior,)
        self._into_range = _into_range(explained.support)
        self.inputs = nn.Parameter(torch.randn(num_components, *explained.event_shape))
        self.register_buffer("logits", torch.zeros(num_components), persistent=False)

    @property
    def pseudo_inputs(self) -> Tensor:
        """Return u, ``(K, *x_shape)``."""
        return torch.as_tensor(self._into_range(self.inputs))

    def forward(self, *ignored: Tensor) -> dist.TorchDistribution:
        components = self._posterior[0](self.pseudo_inputs)
        elements = elements_of(components)
        if type(elements) is dist.Normal:
            return MixtureOfNormals(self.logits, elements.loc, elements.scale)
        return dist.MixtureSameFamily(dist.Categorical(logits=self.logits), components)


def _into_range(support: Any) -> Any:
    """Return the map from reals to the smallest interval, or simplex, that holds a support."""
    while isinstance(support, constraints.independent | constraints.MixtureSameFamilyConstraint):
        support = support.base_constraint
    if support is constraints.one_hot:
        support = constraints.simplex
    elif support is constraints.boolean:
        support = constraints.unit_interval
    elif isinstance(support, constraints.integer_interval):
        support = constraints.interval(support.lower_bound, support.upper_bound)
    elif support.is_discrete:
        support = constraints.nonnegative
    try:
        return transform_to(support)
    except NotImplementedError:  # of joined columns: the encoder takes any numbers
        return identity_transform
