"""Distributions of directions: points of length 1 in R^d.

    vMF(z; mu, kappa) = C_d(kappa) exp(kappa mu^T z),
    C_d(kappa)        = kappa^v / ((2 pi)^(v + 1) I_v(kappa)),   v = d / 2 - 1
    U(z)              = Gamma(d / 2) / (2 pi^(d / 2))

References
    Davidson et al. 2018, *Hyperspherical Variational Auto-Encoders*, arXiv:1804.00891, eqs. 4-13;
    Wood 1994, *Simulation of the von Mises Fisher distribution*, for its draws; Figurnov, Mohamed &
    Mnih 2018, *Implicit Reparameterization Gradients*, arXiv:1805.08498, for their gradients.
"""

import math
from typing import Any

import numpy as np
import torch
from pyro.distributions import TorchDistribution, constraints
from torch import Tensor
from torch.distributions import register_kl

__all__ = ["SphereUniform", "VonMisesFisher"]

_CANDIDATES = 16  # of a draw, each taken with a probability above 0.65
_FURTHER = 24  # steps of the recurrence above the order that is asked for
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)
_TAIL = 40.0  # nats below its height at which a density is cut off


class SphereUniform(TorchDistribution):
    """The uniform distribution on the unit sphere in R^d.

    Parameters
    ----------
    dim
        d, at least 2.
    like
        A tensor of the type and on the device of the draws.

    Examples
    --------
    >>> SphereUniform(3).log_prob(torch.tensor([0.0, 0.0, 1.0]))  # -log(4 pi)
    tensor(-2.5310)
    """

    arg_constraints: dict[str, Any] = {}  # noqa: RUF012 (as in every distribution of torch)
    support = constraints.sphere

    def __init__(
        self, dim: int, *, like: Tensor | None = None, batch_shape: tuple[int, ...] = ()
    ) -> None:
        self.like = torch.zeros(()) if like is None else like
        super().__init__(torch.Size(batch_shape), torch.Size([dim]), validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "SphereUniform":
        return SphereUniform(self.event_shape[0], like=self.like, batch_shape=batch_shape)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        noise = torch.randn(shape, dtype=self.like.dtype, device=self.like.device)
        return torch.nn.functional.normalize(noise, dim=-1)

    def log_prob(self, value: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(value.shape[:-1], self.batch_shape)
        return value.new_full(shape, -log_area(self.event_shape[0]))


class VonMisesFisher(TorchDistribution):
    """A direction about a mean direction: the normal distribution of the sphere.

    Draws are those of Wood's rejection, of which a fixed number of candidates is taken: all of them
    are turned down once in 10^7 draws, and the first one is taken then. The gradient of a draw by
    kappa is the implicit one, -dF/dkappa / p, of the cosine to the mean; it has no term left out.

    Parameters
    ----------
    loc
        mu, of length 1, ``(*B, d)``, d at least 2.
    concentration
        kappa > 0, ``(*B,)``.

    Examples
    --------
    >>> q = VonMisesFisher(torch.tensor([0.0, 0.0, 1.0]), torch.tensor(100.0))
    >>> bool(q.sample((50,))[:, 2].min() > 0.8), q.mean
    (True, tensor([0., 0., 1.]))
    """

    arg_constraints: dict[str, Any] = {  # noqa: RUF012
        "loc": constraints.sphere,
        "concentration": constraints.positive,
    }
    support = constraints.sphere
    has_rsample = True

    def __init__(
        self, loc: Tensor, concentration: Tensor, *, validate_args: bool | None = None
    ) -> None:
        shape = torch.broadcast_shapes(loc.shape[:-1], concentration.shape)
        self.loc = loc.expand(*shape, loc.shape[-1])
        self.concentration = concentration.expand(shape)
        super().__init__(shape, loc.shape[-1:], validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "VonMisesFisher":
        shape = torch.Size(batch_shape)
        loc = self.loc.expand(*shape, self.event_shape[0])
        return VonMisesFisher(loc, self.concentration.expand(shape), validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The centre on the sphere, mu; that in R^d lies within it."""
        return self.loc

    @property
    def mode(self) -> Tensor:
        """mu."""
        return self.loc

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density on the sphere, in nats, ``(*B,)``."""
        log_c, _ = _normaliser(self.concentration, self.event_shape[0])
        return log_c + self.concentration * (self.loc * value).sum(-1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        """Draw points with path derivatives, ``(*S, *B, d)``."""
        shape = self._extended_shape(torch.Size(sample_shape))
        loc, kappa = self.loc.expand(shape), self.concentration.expand(shape[:-1])
        with torch.no_grad():
            cosine = _draw_cosine(kappa, shape[-1])
            slope = _slope_of_cosine(cosine, kappa, shape[-1])
            noise = torch.randn_like(loc)
        cosine = cosine + slope * (kappa - kappa.detach())
        across = noise - (noise * loc).sum(-1, keepdim=True) * loc
        across = torch.nn.functional.normalize(across, dim=-1)
        sine = (1.0 - cosine.square()).clamp(min=1e-9).sqrt()
        return cosine.unsqueeze(-1) * loc + sine.unsqueeze(-1) * across


@register_kl(VonMisesFisher, SphereUniform)  # type: ignore[untyped-decorator]
def _kl(q: VonMisesFisher, p: SphereUniform) -> Tensor:
    """kappa A_d(kappa) + log C_d(kappa) - log U (Davidson et al. 2018, eq. 10), ``(*B,)``."""
    dim = q.event_shape[0]
    log_c, ratio = _normaliser(q.concentration, dim)
    return q.concentration * ratio + log_c + log_area(dim)


def log_area(dim: int) -> float:
    """Return the logarithm of the area of the unit sphere in R^d."""
    return math.log(2) + dim / 2 * math.log(math.pi) - math.lgamma(dim / 2)


def _normaliser(kappa: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """Return log C_d(kappa) and A_d(kappa) = I_v+1 / I_v, the mean cosine.

    Ratios of Bessel functions of neighbouring orders come from their recurrence, downwards, where
    it is stable, from an expansion for large orders; the order 0 or 1/2 at its end has a form of
    its own. Tensor operations throughout, with gradients.
    """
    order, lowest = dim / 2 - 1, (dim % 2) / 2
    steps = round(order - lowest) + _FURTHER
    ratio = _ratio_of_large_order(kappa, lowest + steps)
    log_bessel, mean_cosine = _log_bessel_of_lowest(kappa, lowest), ratio
    for step in range(steps - 1, -1, -1):
        below = lowest + step
        ratio = kappa / (2 * (below + 1) + kappa * ratio)
        if below == order:
            mean_cosine = ratio
        elif below < order:
            log_bessel = log_bessel + ratio.log()
    log_c = order * kappa.log() - dim / 2 * math.log(2 * math.pi) - log_bessel
    return log_c, mean_cosine


def _ratio_of_large_order(kappa: Tensor, order: float) -> Tensor:
    """Return I_v+1 / I_v = I'_v / I_v - v / kappa by Debye's expansions (DLMF 10.41.3 and 5)."""
    root = (order**2 + kappa.square()).sqrt()
    t = order / root
    t2 = t.square()
    u = 1 + t * (3 - 5 * t2) / (24 * order)
    u = u + t2 * (81 + t2 * (-462 + 385 * t2)) / (1152 * order**2)
    v = 1 + t * (-9 + 7 * t2) / (24 * order)
    v = v + t2 * (-135 + t2 * (594 - 455 * t2)) / (1152 * order**2)
    return (root * v / u - order) / kappa


def _log_bessel_of_lowest(kappa: Tensor, order: float) -> Tensor:
    """Return log I_0(kappa), or log I_1/2(kappa) = log(sqrt(2 / (pi kappa)) sinh kappa)."""
    if order == 0:
        return kappa + torch.special.i0e(kappa).log()
    sinh = kappa + (-torch.expm1(-2 * kappa)).log() - math.log(2)
    return sinh + 0.5 * (math.log(2 / math.pi) - kappa.log())


def _draw_cosine(kappa: Tensor, dim: int) -> Tensor:
    """Draw mu^T z by Wood's rejection from a number of candidates, in the shape of kappa."""
    root = (4 * kappa.square() + (dim - 1) ** 2).sqrt()
    b = (dim - 1) / (2 * kappa + root)
    a = (dim - 1 + 2 * kappa + root) / 4
    most = 4 * a * b / (1 + b) - (dim - 1) * math.log(dim - 1)
    noise = torch.randn(_CANDIDATES, *kappa.shape, dim, dtype=kappa.dtype, device=kappa.device)
    # (1 - x_1 / |x|) / 2 is Beta((d - 1) / 2, (d - 1) / 2)
    beta = (1 - noise[..., 0] / noise.norm(dim=-1)) / 2
    uniform = torch.rand(_CANDIDATES, *kappa.shape, dtype=kappa.dtype, device=kappa.device)
    rest = 1 - (1 - b) * beta
    t = 2 * a * b / rest
    accepted = (dim - 1) * t.log() - t + most >= uniform.log()
    first = accepted.to(torch.uint8).argmax(0, keepdim=True)
    cosine: Tensor = ((1 - (1 + b) * beta) / rest).gather(0, first).squeeze(0)
    return cosine.clamp(-1, 1)


def _slope_of_cosine(cosine: Tensor, kappa: Tensor, dim: int) -> Tensor:
    """Return dw / dkappa of a draw w = mu^T z at a fixed quantile: -dF(w) / dkappa / p(w).

    With w = cos a, p(w) dw is in proportion to exp(kappa cos a) sin(a)^(d - 2) da, and dF / dkappa
    is the integral of (cos - A_d) p on either side of w: that of the nearer end is taken.
    """
    _, mean_cosine = _normaliser(kappa, dim)
    angle = cosine.acos().clamp(1e-4, math.pi - 1e-4)
    is_near = cosine >= mean_cosine
    length = (_TAIL / (kappa * angle.sin())).minimum(math.pi - angle)
    start = torch.where(is_near, torch.zeros_like(angle), angle)
    length = torch.where(is_near, angle, length)
    nodes, weights = (torch.as_tensor(v).to(kappa) for v in (_NODES, _WEIGHTS))
    at = start.unsqueeze(-1) + length.unsqueeze(-1) * (nodes + 1) / 2
    height = (kappa.unsqueeze(-1) * (at.cos() - angle.cos().unsqueeze(-1))).exp()
    density = height * (at.sin() / angle.sin().unsqueeze(-1)) ** (dim - 2)
    terms = (at.cos() - mean_cosine.unsqueeze(-1)) * density * weights
    integral = terms.sum(-1) * length / 2 * angle.sin()
    return torch.where(is_near, integral, -integral)
