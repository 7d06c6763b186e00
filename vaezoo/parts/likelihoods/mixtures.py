"""Likelihoods of several modes: mixtures of Gaussians, and of pen offsets.

The parameters of all components come from one linear layer.
"""

import math
from typing import Any

import torch
from pydantic import NonNegativeFloat, PositiveInt
from pyro import distributions as dist
from pyro.distributions import constraints
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from vaezoo.errors import RequestError
from vaezoo.parts.axes import LIKELIHOODS
from vaezoo.parts.networks import DecoderNet, sigma_of

__all__ = ["GaussianMixture", "Handwriting", "PenOffset"]

LARGEST_CORRELATION = 0.999  # so that the floor of sigma bounds the density in every direction


@LIKELIHOODS.register("gaussian-mixture")
class GaussianMixture(nn.Module):
    """p(x | z) = sum_k pi_k(h) N(x; mu_k(h), diag sigma_k(h)^2): real data of several modes.

    h are the features of z. A component explains all elements of a datum together (Chung et al.
    2015, arXiv:1506.02216, section 4, RNN-GMM and VRNN-GMM).

    Parameters
    ----------
    net
        The decoder.
    num_components
        K.
    floor
        Smallest standard deviation, in units of the (transformed) data.
    """

    def __init__(
        self,
        net: DecoderNet,
        *,
        num_components: PositiveInt = 20,
        floor: NonNegativeFloat = 0.01,
    ) -> None:
        super().__init__()
        self.net = net
        self.num_components = num_components
        self.floor = floor
        self.layer = net.head(num_components * (2 * math.prod(net.x_shape) + 1))

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        x_shape = self.net.x_shape
        by_component = self.layer(self.net(*inputs)).unflatten(-1, (self.num_components, -1))
        logits, rest = by_component[..., 0], by_component[..., 1:]
        loc, log_var = (part.unflatten(-1, x_shape) for part in rest.chunk(2, -1))
        components = dist.Normal(loc, sigma_of(log_var, self.floor)).to_event(len(x_shape))
        return dist.MixtureSameFamily(dist.Categorical(logits=logits), components)


@LIKELIHOODS.register("handwriting")
class Handwriting(nn.Module):
    """p(x | z) of a pen: a mixture of correlated Gaussians for its offset, and a Bernoulli.

    Frames are ``(dx, dy, pen)``, and pen is 1 where it is lifted, else 0 (Graves 2013,
    arXiv:1308.0850, eqs. 18-24).

    Parameters
    ----------
    net
        The decoder, of frames of shape ``(3,)``.
    num_components
        K.
    floor
        Smallest standard deviation of an offset, in units of the (transformed) data.
    """

    def __init__(
        self,
        net: DecoderNet,
        *,
        num_components: PositiveInt = 20,
        floor: NonNegativeFloat = 0.01,
    ) -> None:
        super().__init__()
        if net.x_shape != (3,):
            raise RequestError(
                f"the likelihood 'handwriting' explains frames (dx, dy, pen), of shape (3,), not "
                f"{net.x_shape}; use `likelihood='gaussian-mixture'`"
            )
        self.net = net
        self.num_components = num_components
        self.floor = floor
        self.layer = net.head(1 + 6 * num_components)

    def forward(self, *inputs: Tensor) -> dist.TorchDistribution:
        outputs = self.layer(self.net(*inputs))
        lift, mixture = outputs[..., 0], outputs[..., 1:]
        logits, mu_x, mu_y, log_var_x, log_var_y, rho = mixture.chunk(6, -1)
        log_var = torch.stack([log_var_x, log_var_y], -1)
        return PenOffset(
            logits=logits,
            loc=torch.stack([mu_x, mu_y], -1),
            scale=sigma_of(log_var, self.floor),
            correlation=LARGEST_CORRELATION * rho.tanh(),
            lift=lift,
        )


class PenOffset(dist.TorchDistribution):
    """Distribution of ``(dx, dy, pen)``, batch shape ``(N,)``, event shape ``(3,)``.

    Parameters
    ----------
    logits
        Of the K components, ``(N, K)``.
    loc, scale
        Means and standard deviations of dx and dy, ``(N, K, 2)``.
    correlation
        Of dx and dy, ``(N, K)``.
    lift
        Logit of the probability that the pen is lifted, ``(N,)``.
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)
    support = constraints.independent(
        constraints.cat([constraints.real, constraints.boolean], dim=-1, lengths=[2, 1]), 1
    )

    def __init__(
        self, *, logits: Tensor, loc: Tensor, scale: Tensor, correlation: Tensor, lift: Tensor
    ) -> None:
        self.log_weights = logits.log_softmax(-1)
        self.loc = loc
        self.scale = scale
        self.correlation = correlation
        self.lift = lift
        super().__init__(lift.shape, torch.Size((3,)), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "PenOffset":
        shape, num = torch.Size(batch_shape), self.log_weights.shape[-1:]
        return PenOffset(
            logits=self.log_weights.expand(shape + num),
            loc=self.loc.expand(*shape, *num, 2),
            scale=self.scale.expand(*shape, *num, 2),
            correlation=self.correlation.expand(shape + num),
            lift=self.lift.expand(shape),
        )

    def log_prob(self, value: Tensor) -> Tensor:
        """Return eq. 23 of Graves 2013 for frames ``(..., N, 3)``."""
        offset, pen = value[..., :2], value[..., 2]
        mixture = (self.log_weights + self._log_gaussian(offset.unsqueeze(-2))).logsumexp(-1)
        lift = self.lift.expand(pen.shape)
        return mixture - binary_cross_entropy_with_logits(lift, pen, reduction="none")

    def _log_gaussian(self, offset: Tensor) -> Tensor:
        """Return eqs. 24 and 25, the log-density of each component."""
        u, v = ((offset - self.loc) / self.scale).unbind(-1)
        rest = 1 - self.correlation.square()
        squares = (u.square() + v.square() - 2 * self.correlation * u * v) / rest
        log_volume = math.log(2 * math.pi) + self.scale.log().sum(-1) + 0.5 * rest.log()
        return -0.5 * squares - log_volume

    @property
    def mean(self) -> Tensor:
        offset = (self.log_weights.exp().unsqueeze(-1) * self.loc).sum(-2)
        return torch.cat([offset, self.lift.sigmoid().unsqueeze(-1)], -1)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, N, 3)``."""
        shape = torch.Size(sample_shape)
        k = dist.Categorical(logits=self.log_weights).sample(shape)
        loc, scale, rho = (self._of_component(k, value) for value in self._parameters)
        u, v = torch.randn(*k.shape, 2, device=loc.device, dtype=loc.dtype).unbind(-1)
        noise = torch.stack([u, rho * u + (1 - rho.square()).sqrt() * v], -1)
        pen = torch.bernoulli(self.lift.sigmoid().expand(k.shape))
        return torch.cat([loc + scale * noise, pen.unsqueeze(-1)], -1)

    @property
    def _parameters(self) -> tuple[Tensor, Tensor, Tensor]:
        return self.loc, self.scale, self.correlation

    def _of_component(self, k: Tensor, values: Tensor) -> Tensor:
        """Return the entries ``(..., N, *rest)`` of values ``(N, K, *rest)`` for ``k (..., N)``."""
        rest = values.shape[self.log_weights.dim() :]
        values = values.expand(*k.shape, *values.shape[-1 - len(rest) :])
        index = k.reshape(*k.shape, *[1] * (1 + len(rest))).expand(*k.shape, 1, *rest)
        return values.gather(k.dim(), index).squeeze(k.dim())
