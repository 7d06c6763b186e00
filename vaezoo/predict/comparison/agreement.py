"""Whether runs that differ in their seed agree on x: nested R-hat over their guides."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vaezoo.data import DataLike
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.predict.encoding import reconstruct
from vaezoo.predict.observed import Predicted
from vaezoo.runs import RunLike

__all__ = ["Agreement", "nested_r_hat", "seeds_agree"]

NUM_ROWS, NUM_DRAWS = 100, 50
UPPER = 0.95  # of the elements of all data


@dataclass(frozen=True)
class Agreement:
    """Nested R-hat of E[x | z] over seeds: its median, and what 95 % of elements lie below."""

    median: float
    upper: float


def nested_r_hat(draws: Array) -> Array:
    """Return nested R-hat of S draws of each of K chains, ``(K, S, ...)``, element by element.

    It is sqrt(1 + B / W), B the variance of the K means and W the mean of their K variances: 1
    where all chains have one mean, and sqrt(2) where their means lie as far apart as the draws of
    one. Where nothing varies it is nan. A chain is a superchain of one (Margossian et al. 2024,
    arXiv:2110.13017): draws of a guide do not depend on each other.

    Examples
    --------
    >>> nested_r_hat(np.array([[[-1.0], [1.0]], [[-1.0], [1.0]]]))
    array([1.])
    """
    draws = draws.astype(np.float64)
    between = draws.mean(1).var(0, ddof=1)
    within = draws.var(1, ddof=1).mean(0)
    with np.errstate(divide="ignore", invalid="ignore"):
        r_hat: Array = np.sqrt(1 + between / within)
    return r_hat


def seeds_agree(
    runs: "Sequence[RunLike]",
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Agreement | None:
    """Return how far the posteriors of several seeds lie apart, in what they say of x.

    Latents of two runs have no common meaning, but the mean of p(x | z) has. Of each datum it is
    taken at 50 draws of q(z | x) of every run. A large value says that one run alone is surer of x
    than it may be: another seed would have drawn elsewhere.

    Parameters
    ----------
    runs
        Runs of one pair, or their folders, two or more.
    data, split, limit, seed, data_dir
        As :func:`vaezoo.compare` takes them; at most 100 rows are looked at.

    Returns
    -------
    Agreement
        Over the elements of all data; None where none varies.

    Raises
    ------
    RequestError
        For a single run.

    Examples
    --------
    >>> import vaezoo
    >>> runs = vaezoo.fit("vae-linear", training={"steps": 5}, seeds=range(2))
    >>> seeds_agree(runs, limit=10).median > 1
    True
    """
    if len(runs) < 2:
        raise RequestError("one run agrees with itself; name two or more of other seeds")
    rows = min(limit or NUM_ROWS, NUM_ROWS)
    each = [
        _elements(
            reconstruct(
                run,
                data,
                split=split,
                limit=rows,
                z="sample",
                draws=NUM_DRAWS,
                seed=seed + place,  # the same noise would make draws of two runs alike
                data_dir=data_dir,
            ).x
        )
        for place, run in enumerate(runs)
    ]
    r_hat = nested_r_hat(np.stack(each))
    r_hat = r_hat[~np.isnan(r_hat)]
    if not len(r_hat):
        return None
    return Agreement(float(np.median(r_hat)), float(np.quantile(r_hat, UPPER)))


def _elements(x: Predicted) -> Array:
    """Return all elements of all data in one axis, ``(S, E)``, of ``(N, S, ...)``."""
    parts = x.values() if isinstance(x, Mapping) else [x]
    return np.concatenate([np.moveaxis(part, 1, 0).reshape(part.shape[1], -1) for part in parts], 1)
