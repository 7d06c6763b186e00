"""Linear models: factors with their exact posterior as the guide, and principal components.

    p(x, z)  = N(z; 0, I) N(x; W z + b, Psi)
    q(z | x) = N(z; M^-1 W^T Psi^-1 (x - b), M^-1),   M = I + W^T Psi^-1 W

====  ============  ===========================================
site  event shape   meaning
====  ============  ===========================================
z     ``(z_dim,)``  factor
x     ``x_shape``   observed, real
====  ============  ===========================================

That guide has no parameters: it is the posterior of the model that there is, so that the importance
weight of every draw is p(x). Its mean, the objective ``iwae``, is log p(x) at every step, without
noise, and following it is maximum likelihood. Principal components have codes in its place, and no
density of them.
"""

import math
from typing import ClassVar

import pyro
import torch
from pydantic import PositiveFloat, PositiveInt
from pyro import distributions as dist
from torch import Tensor, nn

from vaezoo import parts, register

__all__ = ["PCA", "PPCA", "FactorAnalysis"]


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


@register(
    "pca",
    data="vectors",
    reference="Pearson 1901",
    presets={"default": {"training": {"lr": 0.01}}},
    tags=("baseline",),
)
class PCA(nn.Module):
    """Principal component analysis: the best linear way to few numbers and back.

        p(x | z) = N(x; W z + b, I),   p(z) flat,   W^T W = I
        q(z | x) = a point, z = W^T (x - b)

    ====  ============  ===========================================
    site  event shape   meaning
    ====  ============  ===========================================
    z     ``(z_dim,)``  components of x
    x     ``x_shape``   observed, real
    ====  ============  ===========================================

    It has no density of codes, and so a reconstruction and no ELBO; ``ppca`` has one. At its
    optimum the columns of W span the first principal components, in no order, and the mean squared
    error of a datum is the sum of the other eigenvalues of the covariance. There are no more
    components than elements of x, whatever ``z_dim`` is.

    Reference
        Pearson 1901, *On Lines and Planes of Closest Fit to Systems of Points in Space*,
        Philosophical Magazine 2.

    Differs from the paper
        Gradient steps on the squared error, in the place of eigenvectors.
    """

    def __init__(self, *, x_shape: tuple[int, ...], z_dim: PositiveInt = 10) -> None:
        super().__init__()
        self.x_shape, size = tuple(x_shape), math.prod(x_shape)
        self.A = nn.Parameter(torch.randn(size, min(z_dim, size)))
        self.b = nn.Parameter(torch.zeros(size))
        self.prior = parts.Flat(min(z_dim, size))

    @property
    def loadings(self) -> Tensor:
        """W, orthonormal columns ``(D, L)``."""
        return torch.linalg.qr(self.A).Q

    def model(self, x: Tensor) -> None:
        """p(x | z) of ``x (B, *x_shape)``."""
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            loc = z @ self.loadings.T + self.b
            likelihood = dist.Normal(loc.reshape(*loc.shape[:-1], *self.x_shape), 1.0)
            pyro.sample("x", likelihood.to_event(len(self.x_shape)), obs=x)

    def guide(self, x: Tensor) -> None:
        """The code of ``x (B, *x_shape)``."""
        z = (x.reshape(len(x), -1) - self.b) @ self.loadings
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Delta(z).to_event(1))
