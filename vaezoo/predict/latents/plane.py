"""Maps of codes: a plane through them, or an embedding that bends (``vaezoo[umap]``)."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError

__all__ = ["Embedding", "Plane", "embedding_of", "plane_of"]

MOST_EMBEDDED = 20_000  # a map of more takes minutes, and its dots are no longer told apart
NUM_NEIGHBOURS = 15


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


@dataclass(frozen=True)
class Embedding:
    """A map of codes that bends: neighbours stay together, distances and directions mean nothing.

    Attributes
    ----------
    points
        Of some codes, ``(M, 2)``.
    rows
        Which codes they are of, ``(M,)``: all, or 20,000 at even steps of more.
    names
        What the two directions are called.
    """

    points: Array
    rows: Array
    names: tuple[str, str] = ("UMAP 1", "UMAP 2")


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


def embedding_of(codes: Array, seed: int = 0) -> Embedding:
    """Return a map of codes ``(N, L)`` by UMAP, with its defaults and 15 neighbours for each code.

    The same codes and seed have the same map. Most of its time goes to the compiling of UMAP, once
    in a process.

    Raises
    ------
    RequestError
        Without UMAP, of two latents, which are a map already, or of no more than 15 codes.

    References
    ----------
    McInnes, Healy and Melville 2018, *UMAP: Uniform Manifold Approximation and Projection for
    Dimension Reduction*, arXiv:1802.03426.
    """
    if codes.shape[1] <= 2:
        few = "one latent is" if codes.shape[1] == 1 else "two latents are"
        raise RequestError(f"{few} a map already: leave out `map='umap'`")
    if len(codes) <= NUM_NEIGHBOURS:
        raise RequestError(
            f"`map='umap'` needs more than {NUM_NEIGHBOURS} codes, not {len(codes)}: take more rows"
        )
    rows = np.linspace(0, len(codes) - 1, min(len(codes), MOST_EMBEDDED)).round().astype(int)
    with warnings.catch_warnings():  # of TensorFlow, which is not used, and of groups far apart
        warnings.simplefilter("ignore")
        umap = _umap_class()(n_neighbors=NUM_NEIGHBOURS, random_state=seed, n_jobs=1)
        return Embedding(umap.fit_transform(codes[rows]), rows)


def _umap_class() -> Any:
    try:
        from umap import UMAP
    except ImportError as error:
        raise RequestError(
            "`map='umap'` needs UMAP, which is not installed: pip install 'vaezoo[umap]'"
        ) from error
    return UMAP


def _principal(centred: Array) -> tuple[Array, Array]:
    """Return two directions, and their shares of the variance."""
    few = len(centred) < 2  # a line has no second direction
    _, sizes, axes = np.linalg.svd(np.vstack([centred, 0 * centred]) if few else centred, False)
    return axes[:2], sizes**2 / max((sizes**2).sum(), 1e-12)
