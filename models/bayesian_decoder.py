"""A variational autoencoder whose decoder has a posterior, too: full variational Bayes.

    p(theta)          = N(theta; 0, diag s^2)            all weights of the decoder
    p(x_n, z_n|theta) = N(z_n; 0, I) Bernoulli(x_n; y(z_n; theta)),    n = 1, ..., N
    q(theta)          = N(theta; mu_theta, diag sigma_theta^2)
    q(z_n | x_n)      = N(z_n; mu(x_n), diag sigma(x_n)^2)

    L = sum_n (E[log p(x_n | z_n, theta)] - KL(q(z_n | x_n) || p(z))) - KL(q(theta) || p(theta))

=====  ============  ===========================================
site   event shape   meaning
=====  ============  ===========================================
theta  ``(P,)``      weights of the decoder, shared by all data
z      ``(z_dim,)``  latent of a datum
x      ``x_shape``   observed, binary
=====  ============  ===========================================

theta lies outside the data plate: it is drawn once for a batch, and its KL counts once for the data
set, 1 / N in each datum. So the bound pays for every weight that differs from its prior: few data
buy few weights, and a wide net does not overfit.

Reference
    Kingma & Welling 2014, *Auto-Encoding Variational Bayes*, arXiv:1312.6114, App. F.

Differs from the paper
    The prior of a weight is N(0, 1 / fan-in), by ``prior_scale``, instead of N(0, 1), under which
    what a wide layer gives has a standard deviation of the root of its width. The means begin where
    a net is initialised, sigma_theta small, so that one draw of theta for a batch is not all noise.
"""

import math
from typing import cast

import pyro
import torch
from pydantic import PositiveFloat, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn
from torch.nn.utils import parameters_to_vector

from vaezoo import parts, register

__all__ = ["BayesianDecoder"]

_FIRST_SHARE = 0.1  # of the prior's standard deviations, in the guide's


class _Weightless(nn.Module):
    """A network without weights of its own: they are given with each call, in one vector.

    Parameters
    ----------
    net
        Whose parameters are taken from it.

    Attributes
    ----------
    scale
        Standard deviations 1 / sqrt(fan-in) of their prior, 1 for a bias, ``(P,)``.
    """

    scale: Tensor

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        named = {name: p.detach() for name, p in net.named_parameters()}
        self.shapes = {name: value.shape for name, value in named.items()}
        scales = [torch.full((v.numel(),), _fan_in(v) ** -0.5) for v in named.values()]
        self.register_buffer("scale", torch.cat(scales), persistent=False)
        for name in named:
            owner, _, own = name.rpartition(".")
            delattr(net.get_submodule(owner), own)
        self.net = net

    def forward(self, theta: Tensor, *inputs: Tensor) -> dist.TorchDistribution:
        """What the network gives with weights ``theta (P,)``."""
        sizes = [math.prod(shape) for shape in self.shapes.values()]
        parts = zip(self.shapes.items(), theta.split(sizes), strict=True)
        weights = {name: part.reshape(shape) for (name, shape), part in parts}
        called = torch.func.functional_call(self.net, weights, inputs)
        return cast("dist.TorchDistribution", called)


def _fan_in(weight: Tensor) -> int:
    return math.prod(weight.shape[1:]) if weight.dim() > 1 else 1


@register(
    "bayesian-decoder",
    data="images",
    reference="arXiv:1312.6114",
    presets={"default": {"training": {"lr": 0.01}}},
)
class BayesianDecoder(nn.Module):
    """Variational autoencoder with a posterior of the weights of its decoder."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 10,
        hidden: PositiveInt = 50,
        prior_scale: PositiveFloat = 1.0,
        likelihood: parts.Likelihood = parts.Bernoulli,
    ) -> None:
        super().__init__()
        self.z_dim, self.prior_scale = z_dim, prior_scale
        decoder = likelihood(parts.Decoder(z_dim, [hidden], x_shape, activation="tanh"))
        self.theta_loc = nn.Parameter(parameters_to_vector(decoder.parameters()).detach())
        self.decoder = _Weightless(decoder)  # p(x | z, theta)
        self.encoder = parts.DiagonalNormal(parts.Encoder(x_shape, [200], activation="tanh"), z_dim)
        first = _FIRST_SHARE * prior_scale * self.decoder.scale
        self.theta_log_scale = nn.Parameter(first.log())

    def model(self, x: Tensor) -> None:
        """p(theta) prod_n p(z_n) p(x_n | z_n, theta) of ``x (B, *x_shape)``."""
        scale = self.prior_scale * self.decoder.scale
        theta = pyro.sample("theta", dist.Normal(torch.zeros_like(scale), scale).to_event(1))
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(self.z_dim), 1.0).to_event(1))
            pyro.sample("x", self.decoder(theta, z), obs=x)

    def guide(self, x: Tensor) -> None:
        """q(theta) prod_n q(z_n | x_n) of ``x (B, *x_shape)``."""
        q = dist.Normal(self.theta_loc, self.theta_log_scale.exp()).to_event(1)
        pyro.sample("theta", q)
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.encoder(x))
