"""How many latents can be in use: the data's covariance beside what the KL term asks of each.

Of p(z) = N(0, I) and p(x | z) = N(W z + b, sigma^2 I), the objective with beta is beta times the
ELBO at the variance beta sigma^2, but for a constant. Its optimum is probabilistic PCA at that
variance: unit i is in use if, and only if, the i-th eigenvalue of the covariance is larger
(Tipping & Bishop 1999, J. R. Stat. Soc. B 61, app. A; Lucas et al. 2019, arXiv:1911.02469).

Of binary data the same holds near the point at which no latent is in use, in units of what an
element varies by: there beta stands beside the eigenvalues of their correlation. For a decoder
that is not linear, both are rules of thumb.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["Spectrum", "active_units", "spectrum_of"]

_MOST_ELEMENTS = 1_500  # of which all eigenvalues are computed
_SMALLEST_SHARE = 0.01  # of ones: of pixels that hardly vary, a correlation is noise


@dataclass(frozen=True)
class Spectrum:
    """The largest eigenvalues of a covariance.

    Attributes
    ----------
    eigenvalues
        In falling order.
    total
        The sum of all, also of those that are not there.
    size
        Number of elements D.
    """

    eigenvalues: tuple[float, ...]
    total: float
    size: int


def spectrum_of(x: Tensor, num_latents: int, *, is_binary: bool = False) -> Spectrum:
    """Return the spectrum of rows, ``(N, D)``.

    Parameters
    ----------
    x
        The rows, without missing entries.
    num_latents
        How many eigenvalues matter, at least.
    is_binary
        In units of the variance of each element, ``p (1 - p)`` of its share of ones.

    Examples
    --------
    >>> spectrum_of(torch.tensor([[2.0, 0.0], [-2.0, 0.0]]), 1)
    Spectrum(eigenvalues=(4.0, 0.0), total=4.0, size=2)
    """
    x = x.double()
    mean = x.mean(0)
    centred = x - mean
    if is_binary:
        share = mean.clamp(_SMALLEST_SHARE, 1 - _SMALLEST_SHARE)
        centred = centred / (share * (1 - share)).sqrt()
    number, size = x.shape
    total = float(centred.square().sum() / number)
    if size <= _MOST_ELEMENTS:
        values = torch.linalg.eigvalsh(centred.T @ centred / number).flip(0)
    else:
        values = _largest(centred, min(num_latents, number, size))
    return Spectrum(tuple(values.clamp(min=0).tolist()), total, size)


def _largest(centred: Tensor, number: int) -> Tensor:
    """Return the largest eigenvalues of a covariance by iterating a subspace, no draw of torch's.

    Halko, Martinsson & Tropp 2011, arXiv:0909.4061, alg. 4.4.
    """
    generator = torch.Generator().manual_seed(0)
    width = min(number + 10, *centred.shape)
    basis = torch.randn(centred.shape[1], width, dtype=centred.dtype, generator=generator)
    for _ in range(4):
        basis = torch.linalg.qr(centred.T @ (centred @ basis)).Q
    return torch.linalg.svdvals(centred @ basis)[:number].square() / len(centred)


def active_units(
    spectrum: Spectrum, num_latents: int, *, beta: float = 1.0, variance: float | None = None
) -> tuple[int, float]:
    """Return how many latents are in use at the optimum, and beta sigma^2 there.

    Parameters
    ----------
    spectrum
        Of the data.
    num_latents
        Of the pair.
    beta
        Weight of the KL term.
    variance
        sigma^2 of the decoder; None where it is learned, one for all elements. With k units in use
        it is then ``sum_(i > k) lambda_i / (D - k beta)``, as each leaves an error of beta sigma^2.

    Examples
    --------
    >>> values = Spectrum((9.0, 4.0, 0.5), 13.5, 3)
    >>> active_units(values, 3, variance=1.0), active_units(values, 3, variance=1.0, beta=5.0)
    ((2, 1.0), (1, 5.0))
    >>> active_units(values, 1)
    (1, 2.25)
    """
    values = spectrum.eigenvalues[:num_latents]
    if variance is not None:
        return _above(values, beta * variance), beta * variance
    threshold = beta * spectrum.total / spectrum.size
    number = 0
    for k in range(1, len(values) + 1):
        if spectrum.size <= k * beta:
            break
        left = max(spectrum.total - sum(values[:k]), 0.0)
        least = beta * left / (spectrum.size - k * beta)
        if values[k - 1] > least:
            number, threshold = k, least
    return number, threshold


def _above(values: Sequence[float], threshold: float) -> int:
    return sum(value > threshold for value in values)
