"""Mixtures of normals: the same one for every row, or one for each, with reparameterised draws."""

import math
from typing import Any

import torch
from pyro.distributions import MixtureOfDiagNormals, TorchDistribution
from torch import Tensor
from torch.distributions import Categorical, constraints

__all__ = ["DiagonalMixture", "MixtureOfNormals"]

LOG_ROOT_2_PI = 0.5 * math.log(2 * math.pi)


class MixtureOfNormals(TorchDistribution):
    """sum_k pi_k N(z; mu_k, diag sigma_k^2), event shape ``(D,)``.

    Torch's ``MixtureSameFamily`` lays out every row beside every component, ``(B, K, D)``. Here
    (z - mu)^2 / sigma^2 is multiplied out, which leaves ``(B, K)``; that takes differences of large
    numbers, so that it is done in float64, where the device has it.

    Parameters
    ----------
    logits
        Of the components, ``(K,)``.
    loc, scale
        Means and standard deviations, ``(K, D)``.
    batch_shape
        Of the draws.

    Examples
    --------
    >>> mixture = MixtureOfNormals(torch.zeros(3), torch.randn(3, 2), torch.ones(3, 2))
    >>> z = mixture.expand((5,)).sample()
    >>> z.shape, mixture.log_prob(z).shape
    (torch.Size([5, 2]), torch.Size([5]))
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)
    support = constraints.real_vector

    def __init__(
        self, logits: Tensor, loc: Tensor, scale: Tensor, batch_shape: torch.Size | None = None
    ) -> None:
        self.logits = logits
        self.loc = loc
        self.scale = scale
        super().__init__(batch_shape or torch.Size(), loc.shape[-1:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "MixtureOfNormals":
        return MixtureOfNormals(self.logits, self.loc, self.scale, torch.Size(batch_shape))

    @property
    def mean(self) -> Tensor:
        mean = (self._weights * self.loc).sum(-2)
        return mean.expand(*self.batch_shape, *self.event_shape)

    @property
    def variance(self) -> Tensor:
        mean = (self._weights * self.loc).sum(-2)
        spread = self.scale.square() + (self.loc - mean).square()
        return (self._weights * spread).sum(-2).expand(*self.batch_shape, *self.event_shape)

    @property
    def _weights(self) -> Tensor:
        return self.logits.softmax(-1).unsqueeze(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of ``(..., D)``, in nats."""
        dtype = value.dtype if value.device.type == "mps" else torch.float64
        z, loc, scale = (tensor.to(dtype) for tensor in (value, self.loc, self.scale))
        precision = scale**-2
        factors = torch.cat([precision, -2 * loc * precision], -1)
        squares = torch.cat([z.square(), z], -1) @ factors.transpose(-1, -2)
        log_volume = (loc.square() * precision + 2 * scale.log()).sum(-1)
        log_normal = -0.5 * (squares + log_volume)
        log_weights = self.logits.to(dtype).log_softmax(-1)
        log_prob = (log_normal + log_weights).logsumexp(-1) - z.shape[-1] * LOG_ROOT_2_PI
        shape = torch.broadcast_shapes(log_prob.shape, self.batch_shape)
        return log_prob.to(value.dtype).expand(shape)

    @torch.no_grad()
    def sample(self, sample_shape: Any = ()) -> Tensor:
        """Draw ``(*sample_shape, *batch_shape, D)``."""
        shape = torch.Size(sample_shape) + self.batch_shape
        k = Categorical(logits=self.logits).sample(shape)
        loc, scale = self.loc[k], self.scale[k]
        return loc + scale * torch.randn_like(loc)


class DiagonalMixture(MixtureOfDiagNormals):
    """Pyro's mixture of normals, one for each row, whose draws have pathwise gradients.

    Here it has its moments, too. Jankowiak & Karaletsos 2019, arXiv:1806.01856.

    Parameters
    ----------
    locs, coord_scale
        Means and standard deviations of K components, ``(*batch_shape, K, D)``, D of 2 or more.
    component_logits
        ``(*batch_shape, K)``.

    Examples
    --------
    >>> mixture = DiagonalMixture(torch.ones(5, 3, 2), torch.ones(5, 3, 2), torch.zeros(5, 3))
    >>> mixture.rsample().shape, mixture.mean[0]
    (torch.Size([5, 2]), tensor([1., 1.]))
    """

    def __init__(self, locs: Tensor, coord_scale: Tensor, component_logits: Tensor) -> None:
        super().__init__(locs, coord_scale, component_logits)  # type: ignore[no-untyped-call]

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        shape = torch.Size(batch_shape)
        return DiagonalMixture(
            self.locs.expand(shape + self.locs.shape[-2:]),
            self.coord_scale.expand(shape + self.locs.shape[-2:]),
            self.component_logits.expand(shape + self.locs.shape[-2:-1]),
        )

    @property
    def mean(self) -> Tensor:
        return torch.as_tensor((self.probs.unsqueeze(-1) * self.locs).sum(-2))

    @property
    def variance(self) -> Tensor:
        spread = self.coord_scale.square() + (self.locs - self.mean.unsqueeze(-2)).square()
        return torch.as_tensor((self.probs.unsqueeze(-1) * spread).sum(-2))
