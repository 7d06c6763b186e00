"""Models whose log p(x) and posterior are known in closed form."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from vaezoo.errors import RequestError

__all__ = ["LinearGaussian", "fit_ppca"]

MOST_ROUNDS = 300
GAIN = 1e-6  # nats per datum, by less of which a round ends the fit


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
        """Return log p(x) in nats, ``(B,)``, of ``x (B, D)``; entries that are nan are left out."""
        return self.inferred(x)[2]

    def inferred(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return what the entries of ``x (B, D)`` say that are not nan.

        Returns
        -------
        Tensor
            Means of p(z | x), ``(B, L)``.
        Tensor
            Covariances of it, ``(B, L, L)``; they depend on which entries there are.
        Tensor
            log p(x), ``(B,)``, of the entries that there are.

        Examples
        --------
        >>> linear = LinearGaussian(torch.ones(2, 1), torch.zeros(2), 1.0)
        >>> linear.inferred(torch.tensor([[1.0, torch.nan], [torch.nan, torch.nan]]))[0]
        tensor([[0.5000],
                [0.0000]])
        """
        variance, gaps = self.sigma**2, x.isnan()
        there = (~gaps).to(self.weight.dtype)
        rest = (x - self.bias).masked_fill(gaps, 0.0)
        precision = self.precision.unsqueeze(0)  # all rows have it where no entry is missing
        if bool(gaps.any()):
            products = self.weight.unsqueeze(2) * self.weight.unsqueeze(1)  # (D, L, L)
            identity = torch.eye(self.weight.shape[1], dtype=self.weight.dtype)
            precision = identity + torch.tensordot(there, products, 1) / variance
        root = torch.linalg.cholesky(precision)
        score = rest @ self.weight / variance
        covariance = torch.cholesky_inverse(root).expand(len(x), -1, -1)
        mean = (score.unsqueeze(1) @ covariance).squeeze(1)
        log_det = 2 * root.diagonal(dim1=1, dim2=2).log().sum(1)
        distance = rest.square().sum(1) / variance - (score * mean).sum(1)
        constant = there.sum(1) * math.log(2 * math.pi * variance)
        return mean, covariance, -0.5 * (constant + log_det + distance)

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
        Data ``(N, D)``, in float64 for exact answers; entries that are nan are missing at random.
    num_latents
        Latents L < D.
    smallest_sigma
        Of the noise, whose likelihood is unbounded where elements depend on each other exactly.

    Returns
    -------
    LinearGaussian
        With orthogonal columns of W, so that a diagonal guide is exact where no entry is missing.
    float
        log p(x) of the data, of the entries that there are, in nats per datum.

    Raises
    ------
    RequestError
        When an element is missing in all rows.

    Notes
    -----
    Complete data have a closed form: Tipping & Bishop 1999, eqs. 3.7, 3.8 and 3.12. Those with gaps
    are fitted by expectation-maximisation, z and the missing entries summed out (Ilin & Raiko 2010,
    section 4), from the solution with column means in the gaps; in each round the moments of z are
    fitted, too, and moved into W and b, which needs far fewer rounds (Liu, Rubin & Wu 1998).

    Examples
    --------
    >>> x = torch.randn(500, 3, dtype=torch.float64) * torch.tensor([3.0, 1.0, 1.0])
    >>> linear, log_likelihood = fit_ppca(x, 1)
    >>> linear.weight.shape, 0.9 < linear.sigma < 1.1
    (torch.Size([3, 1]), True)
    """
    gaps = x.isnan()
    if bool(gaps.any()):
        never = gaps.all(0).nonzero().flatten().tolist()
        if never:
            raise RequestError(f"element {never[0]} is missing in all rows; leave it out")
        filled = torch.where(gaps, x.nanmean(0), x)
        start, _ = fit_ppca(filled, num_latents, smallest_sigma=smallest_sigma)
        return _fit_with_gaps(x, start, smallest_sigma)
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


def _fit_with_gaps(
    x: Tensor, linear: LinearGaussian, smallest_sigma: float
) -> tuple[LinearGaussian, float]:
    """Climb the likelihood of the entries that there are, from a model to the next better one."""
    before = -math.inf
    for _ in range(MOST_ROUNDS):
        mean, covariance, log_prob = linear.inferred(x)
        now = float(log_prob.mean())
        if now - before < GAIN:
            break
        before, linear = now, _better(x, mean, covariance, smallest_sigma)
    # W up to a rotation: that of orthogonal columns, the largest first
    vectors, scale, _ = torch.linalg.svd(linear.weight, full_matrices=False)
    linear = replace(linear, weight=vectors * scale)
    return linear, float(linear.log_prob(x).mean())


def _better(x: Tensor, mean: Tensor, covariance: Tensor, smallest_sigma: float) -> LinearGaussian:
    """Return the model that explains ``x (N, D)`` best by moments of z, ``(N, L)``, ``(N, L, L)``.

    Each element is regressed on [z, 1] over the rows that have it.
    """
    there, x = (~x.isnan()).to(x.dtype), x.nan_to_num(0.0)
    inputs = torch.nn.functional.pad(mean, (0, 1), value=1.0)
    squares = inputs.unsqueeze(2) * inputs.unsqueeze(1)
    squares[:, :-1, :-1] += covariance
    grams = torch.tensordot(there.T, squares, 1)  # (D, L + 1, L + 1)
    targets = x.T @ inputs
    slopes = torch.linalg.solve(grams, targets)
    variance = float((x.square().sum() - (slopes * targets).sum()) / there.sum())
    centred = mean - mean.mean(0)
    spread = covariance.mean(0) + centred.T @ centred / len(x)
    weight = slopes[:, :-1]
    return LinearGaussian(
        weight @ torch.linalg.cholesky(spread),
        slopes[:, -1] + weight @ mean.mean(0),
        math.sqrt(max(variance, smallest_sigma**2)),
    )
