"""Linear-Gaussian factor models with their exact posterior as the guide: maximum likelihood by SVI.

    p(x, z)  = N(z; 0, I) N(x; W z + b, Psi)
    q(z | x) = N(z; M^-1 W^T Psi^-1 (x - b), M^-1),   M = I + W^T Psi^-1 W

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  factor
x     ``x_shape``   observed, real
====  ============  ===========================================

The guide has no parameters: it is the posterior of the model that there is, so that the importance
weight of every draw is p(x). Its mean, the objective ``iwae``, is log p(x) at every step, without
noise, and following it is maximum likelihood.
"""

import math
from typing import ClassVar

import pyro
import torch
from pydantic import PositiveFloat, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import register

__all__ = ["PPCA", "FactorAnalysis"]


@register(
    "factor-analysis",
    data="vectors",
    reference="Rubin & Thayer 1982",
    presets={"default": {"training": {"lr": 0.01, "objective": "iwae"}}},
    tags=("baseline",),
)
class FactorAnalysis(nn.Module):
    """Factor analysis: linear factors, and noise of its own in each element.

        p(x, z)  = N(z; 0, I) N(x; W z + b, Psi),   Psi diagonal
        q(z | x) = N(z; M^-1 W^T Psi^-1 (x - b), M^-1),   M = I + W^T Psi^-1 W

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  factor
    x     ``x_shape``   observed, real
    ====  ============  ===========================================

    Reference
        Rubin & Thayer 1982, *EM Algorithms for ML Factor Analysis*, Psychometrika 47.

    Differs from the paper
        Gradient steps on log p(x) in the place of EM; a floor of Psi.
    """

    one_variance: ClassVar[bool] = False

    def __init__(
        self, *, x_shape: tuple[int, ...], z_dim: PositiveInt = 10, floor: PositiveFloat = 1e-2
    ) -> None:
        super().__init__()
        self.x_shape, self.floor = tuple(x_shape), floor
        size = math.prod(x_shape)
        self.W = nn.Parameter(torch.randn(size, z_dim) / math.sqrt(z_dim))
        self.b = nn.Parameter(torch.zeros(size))
        self.log_psi = nn.Parameter(torch.zeros(1 if self.one_variance else size))

    @property
    def psi(self) -> Tensor:
        """Variances of the noise, ``(D,)``."""
        return (self.log_psi.exp() + self.floor**2).expand(len(self.b))

    def model(self, x: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            zeros = self.b.new_zeros(self.W.shape[1])
            z = pyro.sample("z", dist.Normal(zeros, 1.0).to_event(1))
            loc, scale = z @ self.W.T + self.b, self.psi.sqrt()
            likelihood = dist.Normal(self._shaped(loc), self._shaped(scale))
            pyro.sample("x", likelihood.to_event(len(self.x_shape)), obs=x)

    def guide(self, x: Tensor) -> None:
        """p(z | x) of ``x (B, *x_shape)``."""
        weighed = self.W / self.psi[:, None]
        scaled = self.W.T @ weighed
        identity = torch.eye(len(scaled), dtype=scaled.dtype, device=scaled.device)
        precision = identity + (scaled + scaled.T) / 2  # a product is not symmetric to the last bit
        residual = (x.reshape(len(x), -1) - self.b) @ weighed
        loc = torch.linalg.solve(precision, residual.T).T
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.MultivariateNormal(loc, precision_matrix=precision))

    def _shaped(self, values: Tensor) -> Tensor:
        return values.reshape(*values.shape[:-1], *self.x_shape)


@register(
    "ppca",
    data="vectors",
    reference="Tipping & Bishop 1999",
    presets={"default": {"training": {"lr": 0.01, "objective": "iwae"}}},
    tags=("baseline",),
)
class PPCA(FactorAnalysis):
    """Probabilistic principal component analysis, its posterior exact.

        p(x, z)  = N(z; 0, I) N(x; W z + b, sigma^2 I)
        q(z | x) = N(z; M^-1 W^T (x - b), sigma^2 M^-1),   M = W^T W + sigma^2 I

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  component
    x     ``x_shape``   observed, real
    ====  ============  ===========================================

    Its optimum is known in closed form (:mod:`vaezoo.exact.linear_gaussian`), and is the floor that
    `evaluate` prints beside models of real data. ``vae-linear`` learns the guide as well.

    Reference
        Tipping & Bishop 1999, *Probabilistic Principal Component Analysis*, eq. 3.7, 3.8.

    Differs from the paper
        Gradient steps on log p(x); the floor of sigma.
    """

    one_variance: ClassVar[bool] = True
