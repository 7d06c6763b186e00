"""Measures of what a model makes by itself: how far its data are from true ones."""

import contextlib
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from vaezoo.data.dataset import Array
    from vaezoo.predict.latents.codes import Codes
    from vaezoo.study.design import Measure, Trained

__all__ = ["blank_share", "blanks", "coverage", "energy_distance", "prior_gap", "sample_quality"]

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
    (1.0, 0.2)
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


def prior_gap(num_samples: int = 500) -> "Measure":
    """Return a measure of codes against N(0, I), of any model whose codes are reals.

    ``prior gap`` is the energy distance of draws from q(z | x) of test data to N(0, I), and
    ``N(0, I) distance`` that of what the model makes of draws from N(0, I) to test data.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        codes = _codes(trained, "test", z="sample")
        noise = np.random.default_rng(0).normal(size=(num_samples, codes.reals["z"].shape[1]))
        data = trained.run.find_data()
        x = np.asarray(data.x[data.rows("test")[: trained.scale.limit]])
        return {
            "prior gap": energy_distance(codes.reals["z"].cpu().numpy(), noise),
            "N(0, I) distance": energy_distance(_decoded(codes, noise), x),
        }

    return measure


def blanks(num_samples: int = 500) -> "Measure":
    """Return measures of the space between codes, where nothing was seen.

    Random codes are normal, each element with the mean and deviation of the codes of training data.
    ``blank`` is the share of them that lie farther from every code of the training than 99 of 100
    test codes do; ``random distance`` is from what is made of them to the nearest row of the
    training, over the same of test reconstructions: 1 is as near as these are.
    """

    def measure(trained: "Trained") -> "Mapping[str, float | Array]":
        from scipy.spatial.distance import cdist

        train, test = (_codes(trained, split) for split in ("train", "test"))
        seen, others = (c.reals["z"].cpu().double().numpy() for c in (train, test))
        centre, spread = seen.mean(0), np.maximum(seen.std(0), 1e-9)
        noise = np.random.default_rng(0).normal(size=(num_samples, seen.shape[1]))
        code = centre + spread * noise
        data = trained.run.find_data()
        rows = np.asarray(data.x[data.rows("train")]).reshape(len(seen), -1)
        made = _decoded(test, code).reshape(len(code), -1)
        again = np.asarray(test.decoded()).reshape(len(others), -1)
        usual = float(cdist(again, rows).min(1).mean())
        return {
            "blank": blank_share(code / spread, seen / spread, others / spread),
            "random distance": cdist(made, rows).min(1) / usual,
        }

    return measure


def blank_share(random: "Array", seen: "Array", others: "Array") -> float:
    """Return the share of random codes that lie where none was seen.

    That is farther from every code ``(N, L)`` that was seen than 99 of 100 ``others`` of data are.

    Examples
    --------
    >>> seen = np.arange(10.0)[:, None]
    >>> blank_share(np.array([[0.1], [50.0]]), seen, seen + 0.2)
    0.5
    """
    from scipy.spatial.distance import cdist

    usual = np.quantile(cdist(others, seen).min(1), 0.99)
    return float((cdist(random, seen).min(1) > usual).mean())


def _codes(trained: "Trained", split: str, z: Literal["mean", "sample"] = "mean") -> "Codes":
    from vaezoo.predict.latents.codes import find_codes, rows_of

    limit = trained.scale.limit if split == "test" else None
    run, batches = rows_of(trained.run, None, split=split, limit=limit)
    return find_codes(run, batches, split=split, limit=limit, z=z)


def _decoded(codes: "Codes", reals: "Array") -> "Array":
    """Return what the model makes of other codes ``(M, L)``."""
    import torch

    value = torch.as_tensor(reals).to(codes.reals["z"])
    rows = codes.at((np.arange(len(reals)) % len(codes)).tolist())
    return np.asarray(replace(rows, reals={"z": value}).decoded())


def _pictures(trained: "Trained", latents: str) -> tuple["Array", "Array"]:
    import vaezoo

    data = trained.run.find_data()
    x = np.asarray(data.x[data.rows("test")[: trained.scale.limit]])
    made = vaezoo.sample(trained.run, len(x), latents=latents)  # type: ignore[arg-type]
    return np.asarray(made), x
