"""What stands beside the numbers of a deep model: those of the simplest ones, fitted exactly."""

from functools import partial

import numpy as np
from torch import nn

from vaezoo.data.batches import Batches
from vaezoo.exact.linear_gaussian import fit_ppca
from vaezoo.observations.floors import gaussian_rows, independent_elements
from vaezoo.pairs.sites import takes_lengths

__all__ = ["floors_of"]

MOST_ROWS = 10_000
MOST_ELEMENTS = 2_000  # whose covariance is taken apart


def floors_of(
    pair: nn.Module, batches: Batches, split: str, *, num_latents: int, limit: int | None = None
) -> dict[str, float]:
    """Return log p(x) of a split under simple models of the training rows, in nats per datum.

    *independent* has each element by itself, in the family that the pair gives it (a frame of
    sequences for all). *linear* is probabilistic PCA with as many latents (Tipping & Bishop 1999,
    J. R. Stat. Soc. B 61), for what a Gaussian explains. A model that is not above them has learned
    nothing worth its size.

    Parameters
    ----------
    pair, batches
        The pair, and data that have training rows.
    split, limit
        Which rows are scored.
    num_latents
        Of the linear model.

    Returns
    -------
    dict
        Those that can be had; empty where the data have no training rows.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-linear", training={"steps": 5})
    >>> floors = floors_of(run.pair, run.batches(), "test", num_latents=10)
    >>> sorted(floors)
    ['independent', 'linear']
    """
    if not _has_rows_to_fit(batches, split):
        return {}
    train = partial(batches.fixed, "train", limit=MOST_ROWS)
    scored = partial(batches.fixed, split, limit=limit)
    floors = {}
    independent = independent_elements(pair, train(), scored())
    if independent is not None:
        floors["independent"] = independent
    size = batches.data.x[0].size
    if takes_lengths(pair) or not 0 < num_latents < size <= MOST_ELEMENTS:
        return floors
    rows, x = gaussian_rows(pair, train()), gaussian_rows(pair, scored())
    if rows is not None and x is not None and len(rows) > num_latents:
        floors["linear"] = float(fit_ppca(rows, num_latents)[0].log_prob(x).mean())
    return floors


def _has_rows_to_fit(batches: Batches, split: str) -> bool:
    """Whether there are training rows, and those that are scored are none of them, or the same.

    Of values in memory every split is all rows.
    """
    train, scored = (batches.data.splits.get(name, ()) for name in ("train", split))
    return len(train) > 0 and (split == "train" or not np.isin(scored, train).any())
