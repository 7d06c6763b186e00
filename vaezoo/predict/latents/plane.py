"""A plane through a latent space: two elements of codes, or their first principal components."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vaezoo.data.dataset import Array

__all__ = ["Plane", "plane_of"]


@dataclass(frozen=True)
class Plane:
    """A plane, and where codes lie in it.

    Attributes
    ----------
    points
        Of the codes, ``(N, 2)``.
    centre
        The code in the plane at (0, 0), ``(L,)``.
    axes
        Two directions of length 1 at right angles, ``(2, L)``; of one element the second is 0.
    names
        What the two are.
    """

    points: Array
    centre: Array
    axes: Array
    names: tuple[str, str]

    def project(self, codes: Array) -> Array:
        """Return where codes ``(..., L)`` lie, ``(..., 2)``."""
        return np.asarray((codes - self.centre) @ self.axes.T)

    def project_covariance(self, covariance: Array) -> Array:
        """Return covariances ``(..., L, L)`` as they are seen in the plane, ``(..., 2, 2)``."""
        return np.asarray(self.axes @ covariance @ self.axes.T)


def plane_of(codes: Array, names: Sequence[str], chosen: Sequence[int] = ()) -> Plane:
    """Return the plane of two elements; by default of the only two, or of principal components.

    Parameters
    ----------
    codes
        Codes ``(N, L)``.
    names
        Of the elements.
    chosen
        Which two elements; none for the first two principal components where there are more.

    Examples
    --------
    >>> codes = np.array([[0.0, 1.0, 5.0], [2.0, 1.0, 5.0], [4.0, 1.0, 5.0], [2.0, 4.0, 5.0]])
    >>> plane_of(codes, ["a", "b", "c"], chosen=[2, 0]).points[1].tolist()
    [5.0, 2.0]
    >>> plane_of(codes, ["a", "b", "c"]).names[0]
    'principal component 1 (54% of the variance)'
    """
    number = codes.shape[1]
    if chosen or number <= 2:
        kept = [*chosen] or [*range(number)]
        axes = np.zeros((2, number), codes.dtype)
        axes[range(len(kept)), kept] = 1.0
        titles = [names[place] for place in kept] + [""]
        centre = codes.mean(0) if number == 1 else np.zeros(number, codes.dtype)
        return Plane((codes - centre) @ axes.T, centre, axes, (titles[0], titles[1]))
    centre = codes.mean(0)
    axes, shares = _principal(codes - centre)
    titles = [f"principal component {i + 1} ({shares[i]:.0%} of the variance)" for i in range(2)]
    return Plane((codes - centre) @ axes.T, centre, axes, (titles[0], titles[1]))


def _principal(centred: Array) -> tuple[Array, Array]:
    """Return two directions, and their shares of the variance."""
    few = len(centred) < 2  # a line has no second direction
    _, sizes, axes = np.linalg.svd(np.vstack([centred, 0 * centred]) if few else centred, False)
    return axes[:2], sizes**2 / max((sizes**2).sum(), 1e-12)
