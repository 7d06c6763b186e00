"""What stands beside the numbers of a deep model: those of the simplest ones, fitted exactly."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from vaezoo.data.batches import Batches
from vaezoo.exact.linear_gaussian import LinearGaussian, fit_ppca
from vaezoo.observations.floors import (
    SMALLEST_SIGMA,
    Independent,
    Markov,
    Observed,
    Rows,
    Simple,
    simple_models,
)
from vaezoo.pairs.sites import takes_lengths

__all__ = ["floors_of"]

MOST_ROWS = 10_000
MOST_ELEMENTS = 2_000  # whose covariance is taken apart


def floors_of(
    pair: nn.Module, batches: Batches, split: str, *, num_latents: int, limit: int | None = None
) -> dict[str, float]:
    """Return log p(x) of a split under simple models of the training rows, in nats per datum.

    *independent* has each element by itself, in the family that the pair gives it (a frame of
    sequences for all); *markov* the same, given the frame before. *linear* is probabilistic PCA
    with as many latents (Tipping & Bishop 1999, J. R. Stat. Soc. B 61), for what a Gaussian
    explains. A model that is not above them has learned nothing worth its size.

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

    def linear(observed: Observed) -> Simple | None:
        return Linear.of(observed, num_latents)

    kinds: dict[str, Callable[[Observed], Simple | None]] = {
        "independent": Independent.of,
        "markov": Markov.of,
        "linear": linear,
    }
    train = batches.fixed("train", limit=MOST_ROWS)
    return simple_models(pair, train, batches.fixed(split, limit=limit), kinds)


class Linear:
    """Probabilistic PCA of the one site that a Gaussian explains, if no entry is missing.

    Parameters
    ----------
    site
        Its name.
    num_latents
        At most one less than there are elements: then it is a Gaussian of any covariance.
    """

    def __init__(self, site: str, num_latents: int) -> None:
        self.site, self.num_latents = site, num_latents
        self.rows: list[Tensor] = []

    @staticmethod
    def of(observed: Observed, num_latents: int) -> "Linear | None":
        """Return the model; None where something else than one Gaussian is explained."""
        if takes_lengths(observed.pair) or list(observed.families.values()) != ["Normal"]:
            return None
        return Linear(next(iter(observed.families)), num_latents) if num_latents else None

    def add(self, rows: Mapping[str, Rows]) -> None:
        x = rows[self.site].x
        if x.shape[1] <= MOST_ELEMENTS:
            self.rows.append(x)

    def fitted(self) -> Callable[[Mapping[str, Rows]], Tensor] | None:
        x = torch.cat(self.rows) if self.rows else torch.zeros(0, 0)
        num_latents = min(self.num_latents, x.shape[1] - 1)
        if num_latents < 1 or len(x) <= num_latents or bool(x.isnan().any()):
            return None
        linear, _ = fit_ppca(x, num_latents, smallest_sigma=SMALLEST_SIGMA)
        return lambda rows: _log_prob(linear, rows[self.site].x)


def _log_prob(linear: LinearGaussian, x: Tensor) -> Tensor:
    """Return the sum of log p(x); nan where an entry is missing."""
    return x.new_tensor(torch.nan) if bool(x.isnan().any()) else linear.log_prob(x).sum()


def _has_rows_to_fit(batches: Batches, split: str) -> bool:
    """Whether there are training rows, and those that are scored are none of them, or the same.

    Of values in memory every split is all rows.
    """
    train, scored = (batches.data.splits.get(name, ()) for name in ("train", split))
    return len(train) > 0 and (split == "train" or not np.isin(scored, train).any())
