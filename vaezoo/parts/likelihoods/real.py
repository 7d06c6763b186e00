"""Real data: the Gaussian, and the forms of its sigma."""

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import AfterValidator, Field, NonNegativeFloat
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo.parts.axes import LIKELIHOODS
from vaezoo.parts.networks import DecoderNet, GaussianHead, sigma_of

__all__ = ["AnalyticNormal", "Gaussian", "Sigma", "share_at_floor"]

_AVERAGING_RATE = 0.01


def _check_sigma(value: str) -> str:
    kind, _, number = value.partition(":")
    if value in ("shared", "per-dim", "per-pixel", "analytic"):
        return value
    if kind == "fixed" and _is_positive(number):
        return value
    raise ValueError("expected fixed:VALUE (as fixed:1), shared, per-dim, per-pixel or analytic")


def _is_positive(text: str) -> bool:
    try:
        return 0 < float(text) < float("inf")
    except ValueError:
        return False


Sigma = Annotated[
    str,
    AfterValidator(_check_sigma),
    Field(description="fixed:V, shared, per-dim, per-pixel, analytic"),
]


@LIKELIHOODS.register("gaussian")
class Gaussian(nn.Module):
    """p(x | z) = N(x; mu(h), diag sigma^2) of the features h of z: real data.

    Parameters
    ----------
    net
        The decoder.
    sigma
        ``fixed:v``: the number v. ``shared``: one learned number for all elements, the
        sigma^2 I of the papers. ``per-dim``: one learned number per element. ``per-pixel``: a
        second head, sigma(h), as in Kingma & Welling 2014 (arXiv:1312.6114, App. C.2).
        ``analytic``: the root mean square residual of the batch, which maximises its likelihood
        (Rybkin et al. 2021, arXiv:2006.13202); outside training its running average is used.
    floor
        Smallest standard deviation, in units of the (transformed) data. Without it the likelihood
        is unbounded (Mattei & Frellsen 2018, arXiv:1802.04826).
    mean
        ``linear``, or ``sigmoid`` for data in [0, 1] (the Frey faces of the paper).

    Notes
    -----
    A learned sigma that is no output of the network starts at 1, and is
    ``log sigma^2 = GAIN * theta``, so that an optimiser with steps of one size, as Adam, moves it
    ten times as fast as a weight; else it would still be near 1 when a short run ends.
    """

    GAIN: ClassVar[float] = 10.0

    fixed: Tensor
    variance: Tensor
    num_batches: Tensor

    def __init__(
        self,
        net: DecoderNet,
        *,
        sigma: Sigma = "per-pixel",
        floor: NonNegativeFloat = 0.01,
        mean: Literal["linear", "sigmoid"] = "linear",
    ) -> None:
        super().__init__()
        self.net = net
        self.floor = floor
        self.squash = nn.Sigmoid() if mean == "sigmoid" else nn.Identity()
        self.form, _, value = sigma.partition(":")
        if self.form == "per-pixel":
            self.head = GaussianHead(net.head, floor)
            return
        self.loc = net.head()
        if self.form == "fixed":
            self.register_buffer("fixed", torch.tensor(float(value)))
        elif self.form == "analytic":
            self.register_buffer("variance", torch.ones(1))
            self.register_buffer("num_batches", torch.zeros(1))
        else:
            shape = net.x_shape if self.form == "per-dim" else (1,)
            self.theta = nn.Parameter(torch.zeros(shape))

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        h, event_dim = self.net(*inputs), len(self.net.x_shape)
        if self.form == "per-pixel":
            loc, sigma = self.head(h)
            return dist.Normal(self.squash(loc), sigma).to_event(event_dim)
        loc = self.squash(self.loc(h))
        if self.form == "analytic" and self.training:
            return dist.Independent(AnalyticNormal(loc, self), event_dim)
        return dist.Normal(loc, self._sigma()).to_event(event_dim)

    def _sigma(self) -> Tensor:
        if self.form == "fixed":
            return self.fixed
        if self.form == "analytic":
            return self.variance.clamp(min=self.floor**2).sqrt()
        return sigma_of(self.GAIN * self.theta, self.floor)

    @torch.no_grad()
    def fit_variance(self, residual: Tensor) -> Tensor:
        """Return the variance that maximises the likelihood of residuals, and remember it."""
        variance = residual.square().mean().reshape(1)
        rate = (1 / (self.num_batches + 1)).clamp(min=_AVERAGING_RATE)
        self.variance.lerp_(variance, rate)
        self.num_batches.add_(1)
        return variance.clamp(min=self.floor**2)


class AnalyticNormal(dist.Normal):
    """N(x; loc, sigma^2) with the sigma that maximises the likelihood of the x it is asked about.

    At that sigma the derivative of the likelihood by sigma is zero, so treating it as a constant
    leaves the gradient exact (Rybkin et al. 2021, arXiv:2006.13202).
    """

    def __init__(self, loc: Tensor, likelihood: Gaussian) -> None:
        super().__init__(loc, likelihood._sigma().expand_as(loc))
        self._likelihood = likelihood

    def expand(
        self, batch_shape: torch.Size | Sequence[int], _instance: object = None
    ) -> "AnalyticNormal":
        return AnalyticNormal(self.loc.expand(batch_shape), self._likelihood)

    def log_prob(self, value: Tensor) -> Tensor:
        variance = self._likelihood.fit_variance(value - self.loc)
        return torch.as_tensor(dist.Normal(self.loc, variance.sqrt()).log_prob(value))


def share_at_floor(likelihood: Gaussian, fn: dist.TorchDistribution) -> Tensor:
    """Return the share of outputs whose floor exceeds the variance asked for, ``()``.

    Parameters
    ----------
    likelihood
        The likelihood that made ``fn``.
    fn
        Its distribution over a batch, in whatever wraps it.
    """
    elements: Any = fn
    while not hasattr(elements, "scale"):
        elements = elements.base_dist
    sigma = elements.scale
    if likelihood.form == "fixed" or likelihood.floor == 0.0:
        return sigma.new_zeros(())
    limit = 1.0 if likelihood.form == "analytic" else 2.0
    return (sigma.square() <= limit * likelihood.floor**2 * (1 + 1e-6)).float().mean()
