"""Measures of what a model makes by itself: how far its data are from true ones."""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from vaezoo.data.dataset import Array
    from vaezoo.study.design import Measure, Trained

__all__ = ["coverage", "energy_distance", "sample_quality"]

NEIGHBOURS = 5


def energy_distance(first: "Array", second: "Array") -> float:
    """Return the energy distance of samples ``(N, ...)``, ``(M, ...)``: 0 for one distribution.

    2 E|X - Y| - E|X - X'| - E|Y - Y'|, of root mean squares over the elements, without bias (so
    that it may be below 0); units are those of the data. Szekely & Rizzo 2013, *Energy statistics*,
    Journal of Statistical Planning and Inference 143.

    Examples
    --------
    >>> zeros, ones = np.zeros((5, 3)), np.ones((4, 3))
    >>> energy_distance(zeros, ones), energy_distance(zeros, zeros)
    (2.0, 0.0)
    """
    from scipy.spatial.distance import cdist, pdist

    x, y = (np.asarray(part, np.float64).reshape(len(part), -1) for part in (first, second))
    scale = np.sqrt(x.shape[1])
    return float((2 * cdist(x, y).mean() - pdist(x).mean() - pdist(y).mean()) / scale)


def coverage(made: "Array", data: "Array") -> float:
    """Return the share of data ``(N, ...)`` near which something was made ``(M, ...)``.

    Near is within the distance of the fifth neighbour among the data themselves (Naeem et al. 2020,
    arXiv:2002.09797, eq. 6).

    Examples
    --------
    >>> data = np.arange(20.0)[:, None]
    >>> coverage(data, data), coverage(data[:1], data)
    (1.0, 0.3)
    """
    from scipy.spatial.distance import cdist

    x, y = (np.asarray(part, np.float64).reshape(len(part), -1) for part in (made, data))
    radius = np.sort(cdist(y, y), 1)[:, min(NEIGHBOURS, len(y) - 1)]
    return float((cdist(y, x).min(1) <= radius).mean())


def sample_quality() -> "Measure":
    """Return a measure of samples against test data, of each the mean of p(x | z).

    ``sample distance`` (energy distance, 0 is best) and ``coverage`` with z from the prior; an
    autoencoder has none. ``ex-post distance`` with z from a mixture of Gaussians that is fitted to
    the codes, which is fair to both.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        from vaezoo.errors import RequestError

        values: dict[str, float | Array] = {}
        with contextlib.suppress(RequestError):  # it has no prior
            made, data = _pictures(trained, "prior")
            values["sample distance"] = energy_distance(made, data)
            values["coverage"] = coverage(made, data)
        with contextlib.suppress(RequestError):  # it has no codes
            values["ex-post distance"] = energy_distance(*_pictures(trained, "gmm"))
        return values

    return measure


def _pictures(trained: "Trained", latents: str) -> tuple["Array", "Array"]:
    import vaezoo

    data = trained.run.find_data()
    x = np.asarray(data.x[data.rows("test")[: trained.scale.limit]])
    made = vaezoo.sample(trained.run, len(x), latents=latents)  # type: ignore[arg-type]
    return np.asarray(made), x
