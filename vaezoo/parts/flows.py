"""Priors and posteriors that are normalising flows, by Zuko (``pip install 'vaezoo[flows]'``).

An autoregressive transform takes one pass in one direction, and as many as there are latents in the
other. A prior has its density in one pass, and a posterior its draws: training needs no more.
"""

from functools import partial
from typing import Annotated, Any

import torch
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn
from torch.distributions import Distribution, constraints

from vaezoo.errors import RequestError
from vaezoo.parts.axes import POSTERIORS, PRIORS
from vaezoo.parts.networks import EncoderNet, GaussianHead

__all__ = ["FlowDistribution", "FlowPrior", "InverseAutoregressiveFlow", "SplineFlow"]

Slope = Annotated[float, Field(gt=0, lt=1)]
_SLOPE = 1e-3  # Zuko's own


class FlowDistribution(dist.TorchDistribution):
    """Draws of a base, carried by a transform: z = f(eps), log q(z) = log N(eps) - log det df/deps.

    Of its last draw it remembers eps, which is then not sought again.

    Parameters
    ----------
    base
        With event shape ``(z_dim,)``.
    transform
        f, of vectors; one of Zuko.

    Examples
    --------
    >>> from torch.distributions.transforms import ExpTransform
    >>> from zuko.transforms import ComposedTransform, DependentTransform
    >>> base = dist.Normal(torch.zeros(2), 1.0).to_event(1)
    >>> flow = FlowDistribution(base, ComposedTransform(DependentTransform(ExpTransform(), 1)))
    >>> z = flow.rsample()
    >>> torch.allclose(flow.log_prob(z), dist.LogNormal(torch.zeros(2), 1.0).log_prob(z).sum())
    True
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)
    support = constraints.real_vector
    has_rsample = True

    def __init__(self, base: Any, transform: Any) -> None:
        self.base = base
        self.transform = transform
        self._draw: tuple[Tensor, Tensor, Tensor] | None = None
        super().__init__(base.batch_shape, base.event_shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "FlowDistribution":
        return FlowDistribution(self.base.expand(torch.Size(batch_shape)), self.transform)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        eps = self.base.rsample(torch.Size(sample_shape))
        z, log_volume = self.transform.call_and_ladj(eps)
        self._draw = (z, eps, log_volume)
        return torch.as_tensor(z)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._draw is not None and value is self._draw[0]:
            _, eps, log_volume = self._draw
            return torch.as_tensor(self.base.log_prob(eps) - log_volume)
        eps, log_volume = self.transform.inv.call_and_ladj(value)
        return torch.as_tensor(self.base.log_prob(eps) + log_volume)


def _zuko_flows() -> Any:
    """Import Zuko, which switches off the validation of every distribution: put that back."""
    validates = Distribution._validate_args
    try:
        from zuko import flows
    except ImportError as error:
        raise RequestError(
            "priors and posteriors that are flows need Zuko, which is not installed: "
            "pip install 'vaezoo[flows]'"
        ) from error
    finally:
        Distribution.set_default_validate_args(validates)
    return flows


def _autoregressive(
    z_dim: int,
    transforms: int,
    hidden: tuple[int, ...],
    bins: int,
    context: int = 0,
    slope: float = _SLOPE,
) -> Any:
    """Return an autoregressive transform of Zuko; of splines if it has bins, else affine.

    The order of the latents turns round between any two. Slopes are above ``slope``, and those of
    affine transforms below its inverse.
    """
    flows = _zuko_flows()
    options = {"context": context, "transforms": transforms, "hidden_features": hidden}
    if not bins and slope != _SLOPE:
        from zuko.transforms import MonotonicAffineTransform

        options["univariate"] = partial(MonotonicAffineTransform, slope=slope)
    flow = flows.MAF(z_dim, **options) if not bins else flows.NSF(z_dim, bins=bins, **options)
    return flow.transform


@PRIORS.register("flow")
class FlowPrior(nn.Module):
    """p(z) = N(f(z); 0, I) det df/dz: a masked autoregressive flow, or one of splines.

    Papamakarios et al. 2017, arXiv:1705.07057; with ``bins`` Durkan et al. 2019, arXiv:1906.04032,
    whose splines are the identity outside of -5 to 5. A draw takes a pass for each latent.

    Parameters
    ----------
    z_dim
        Number of latents.
    pair
        Not used.
    transforms
        Autoregressive transforms after each other.
    hidden
        Widths of the network of each.
    bins
        Pieces of a spline for each latent; of 0 the transforms are affine.
    slope
        Smallest slope of an affine transform, its inverse the largest: no conditional density has
        a standard deviation below ``slope ** transforms``.

    Raises
    ------
    RequestError
        Without Zuko.

    Examples
    --------
    >>> prior = FlowPrior(2)
    >>> prior().log_prob(torch.zeros(5, 2)).shape, prior().rsample().shape
    (torch.Size([5]), torch.Size([2]))
    """

    loc: Tensor
    scale: Tensor

    def __init__(
        self,
        z_dim: int,
        *pair: nn.Module,
        transforms: PositiveInt = 3,
        hidden: tuple[PositiveInt, ...] = (64, 64),
        bins: NonNegativeInt = 0,
        slope: Slope = _SLOPE,
    ) -> None:
        super().__init__()
        self.to_noise = _autoregressive(z_dim, transforms, hidden, bins, slope=slope)
        self.register_buffer("loc", torch.zeros(z_dim), persistent=False)
        self.register_buffer("scale", torch.ones(z_dim), persistent=False)

    def forward(self, *ignored: Tensor) -> dist.TorchDistribution:
        base = dist.Normal(self.loc, self.scale).to_event(1)
        return FlowDistribution(base, self.to_noise().inv)


class _FlowPosterior(nn.Module):
    """z = f(z0; h), z0 from N(mu(h), diag sigma(h)^2): one pass to draw, many to invert."""

    def __init__(
        self,
        net: EncoderNet,
        z_dim: int,
        transforms: int,
        hidden: tuple[int, ...],
        bins: int,
        floor: float,
    ) -> None:
        super().__init__()
        self.net = net
        self.head = GaussianHead(lambda: net.head(z_dim), floor)
        self.context = net.head(hidden[0])
        self.from_noise = _autoregressive(z_dim, transforms, hidden, bins, hidden[0])

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        h = self.net(*inputs)
        base = dist.Normal(*self.head(h)).to_event(1)
        return FlowDistribution(base, self.from_noise(self.context(h)))


@POSTERIORS.register("iaf")
class InverseAutoregressiveFlow(_FlowPosterior):
    """q(z | x): z0 of a diagonal normal, carried by inverse autoregressive flows given h.

    Kingma et al. 2016, arXiv:1606.04934, algorithm 1. A draw and its density take one pass; the
    density of any other value takes one for each latent, as analyses and DReG need it.

    Parameters
    ----------
    net
        The encoder.
    z_dim
        Number of latents.
    transforms
        Flows after each other, the order of the latents turned round between any two.
    hidden
        Widths of the network of each; the first is that of the context, too.
    floor
        Smallest standard deviation of z0.

    Raises
    ------
    RequestError
        Without Zuko.

    Examples
    --------
    >>> from vaezoo.parts.networks import Encoder
    >>> q = InverseAutoregressiveFlow(Encoder((8, 8), [32]), 3)(torch.zeros(5, 8, 8))
    >>> z = q.rsample()
    >>> torch.allclose(q.log_prob(z), q.log_prob(z.clone()), atol=1e-4)  # remembered, and inverted
    True
    """

    def __init__(
        self,
        net: EncoderNet,
        z_dim: int,
        *,
        transforms: PositiveInt = 2,
        hidden: tuple[PositiveInt, ...] = (64,),
        floor: NonNegativeFloat = 1e-4,
    ) -> None:
        super().__init__(net, z_dim, transforms, hidden, 0, floor)


@POSTERIORS.register("flow")
class SplineFlow(_FlowPosterior):
    """q(z | x): z0 of a diagonal normal, carried by autoregressive splines given h.

    Durkan et al. 2019, arXiv:1906.04032: each latent by a rational-quadratic spline between -5 and
    5, and unchanged outside. It bends more than affine flows do, and costs more.

    Parameters
    ----------
    net
        The encoder.
    z_dim
        Number of latents.
    transforms
        Flows after each other, the order of the latents turned round between any two.
    hidden
        Widths of the network of each; the first is that of the context, too.
    bins
        Pieces of a spline.
    floor
        Smallest standard deviation of z0.

    Raises
    ------
    RequestError
        Without Zuko.

    Examples
    --------
    >>> from vaezoo.parts.networks import Encoder
    >>> SplineFlow(Encoder((8, 8), [32]), 3)(torch.zeros(5, 8, 8)).rsample().shape
    torch.Size([5, 3])
    """

    def __init__(
        self,
        net: EncoderNet,
        z_dim: int,
        *,
        transforms: PositiveInt = 1,
        hidden: tuple[PositiveInt, ...] = (64,),
        bins: PositiveInt = 8,
        floor: NonNegativeFloat = 1e-4,
    ) -> None:
        super().__init__(net, z_dim, transforms, hidden, bins, floor)
