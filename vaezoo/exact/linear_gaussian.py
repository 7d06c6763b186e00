"""Models whose log p(x) and posterior are known in closed form."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["LinearGaussian", "fit_ppca"]


@dataclass(frozen=True)
class LinearGaussian:
    """p(z) = N(0, I), p(x | z) = N(W z + b, sigma^2 I): log p(x), posterior, mean-field gap.

    Attributes
    ----------
    weight
        W, shape ``(D, L)``.
    bias
        b, shape ``(D,)``.
    sigma
        Standard deviation of the noise.

    Examples
    --------
    >>> LinearGaussian(torch.ones(1, 1), torch.zeros(1), 1.0).posterior(torch.ones(1, 1))
    (tensor([[0.5000]]), tensor([[0.5000]]))
    """

    weight: Tensor
    bias: Tensor
    sigma: float

    @property
    def precision(self) -> Tensor:
        """Posterior precision I + W^T W / sigma^2, shape ``(L, L)``."""
        latents = self.weight.shape[1]
        identity = torch.eye(latents, dtype=self.weight.dtype)
        return identity + self.weight.T @ self.weight / self.sigma**2

    def log_prob(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, ``(B,)``, of ``x (B, D)``."""
        dim = x.shape[1]
        identity = torch.eye(dim, dtype=self.weight.dtype)
        covariance = self.weight @ self.weight.T + self.sigma**2 * identity
        normal = torch.distributions.MultivariateNormal(self.bias, covariance)
        return normal.log_prob(x)

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean ``(B, L)`` and covariance ``(L, L)`` of p(z | x)."""
        covariance = torch.linalg.inv(self.precision)
        mean = (x - self.bias) @ self.weight @ covariance / self.sigma**2
        return mean, covariance

    def mean_field_gap(self) -> float:
        """Return log p(x) minus the ELBO of the best diagonal guide, in nats."""
        precision = self.precision
        gap = precision.diagonal().log().sum() - torch.logdet(precision)
        return float(0.5 * gap)


def fit_ppca(
    x: Tensor, num_latents: int, *, smallest_sigma: float = 0.0
) -> tuple[LinearGaussian, float]:
    """Fit probabilistic PCA by maximum likelihood.

    Parameters
    ----------
    x
        Data ``(N, D)``, in float64 for exact answers.
    num_latents
        Latents L < D.
    smallest_sigma
        Of the noise, whose likelihood is unbounded where elements depend on each other exactly.

    Returns
    -------
    LinearGaussian
        With orthogonal columns of W, so that a diagonal guide is exact.
    float
        log p(x) of the data, in nats per datum.

    Notes
    -----
    Tipping & Bishop 1999, eqs. 3.7, 3.8 and 3.12.

    Examples
    --------
    >>> x = torch.randn(500, 3, dtype=torch.float64) * torch.tensor([3.0, 1.0, 1.0])
    >>> linear, log_likelihood = fit_ppca(x, 1)
    >>> linear.weight.shape, 0.9 < linear.sigma < 1.1
    (torch.Size([3, 1]), True)
    """
    dim = x.shape[1]
    centred = x - x.mean(0)
    eigenvalues, vectors = torch.linalg.eigh(centred.T @ centred / len(x))
    eigenvalues, vectors = eigenvalues.flip(0), vectors.flip(1)
    variance = max(float(eigenvalues[num_latents:].mean()), smallest_sigma**2)
    scale = (eigenvalues[:num_latents] - variance).clamp(min=0).sqrt()
    explained = eigenvalues[:num_latents].clamp(min=variance)  # of the fit, as the rest
    log_likelihood = -0.5 * (
        dim * math.log(2 * math.pi)
        + float(explained.log().sum() + (eigenvalues[:num_latents] / explained).sum())
        + (dim - num_latents) * math.log(variance)
        + float(eigenvalues[num_latents:].sum()) / variance
    )
    weight = vectors[:, :num_latents] * scale
    return LinearGaussian(weight, x.mean(0), math.sqrt(variance)), log_likelihood
