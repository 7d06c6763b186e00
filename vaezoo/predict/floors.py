"""What stands beside the numbers of a deep model: those of the simplest ones, fitted exactly."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from vaezoo.data.batches import Batches
from vaezoo.exact.linear_gaussian import fit_ppca
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
MOST_PRODUCTS = 20_000_000  # of a round of the fit to rows with gaps: half a minute in all
OF_REAL_NUMBERS = {"Laplace", "Normal", "StudentT"}  # families whose densities compare with it


def floors_of(
    pair: nn.Module, batches: Batches, split: str, *, num_latents: int, limit: int | None = None
) -> dict[str, float]:
    """Return log p(x) of a split under simple models of the training rows, in nats per datum.

    *independent* has each element by itself, in the family that the pair gives it (a frame of
    sequences for all); *markov* the same, given the frame before. *linear* is probabilistic PCA
    with as many latents (Tipping & Bishop 1999, J. R. Stat. Soc. B 61), for real numbers that one
    family explains; missing entries are summed out of it. A model that is not above them has
    learned nothing worth its size.

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
    """Probabilistic PCA of one site of real numbers; entries that are missing are summed out.

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
        """Return the model; None where something else than one site of reals is explained."""
        if takes_lengths(observed.pair) or len(observed.families) != 1 or not num_latents:
            return None
        site, family = next(iter(observed.families.items()))
        return Linear(site, num_latents) if family in OF_REAL_NUMBERS else None

    def add(self, rows: Mapping[str, Rows]) -> None:
        x = rows[self.site].x
        if x.shape[1] <= MOST_ELEMENTS:
            self.rows.append(x)

    def fitted(self) -> Callable[[Mapping[str, Rows]], Tensor] | None:
        x = torch.cat(self.rows) if self.rows else torch.zeros(0, 0)
        num_latents = min(self.num_latents, x.shape[1] - 1)
        if num_latents < 1 or len(x) <= num_latents or not _has_a_fit(x, num_latents):
            return None
        linear, _ = fit_ppca(x, num_latents, smallest_sigma=SMALLEST_SIGMA)
        return lambda rows: linear.log_prob(rows[self.site].x).sum()


def _has_a_fit(x: Tensor, num_latents: int) -> bool:
    """Whether each element is there in some row, and gaps, if there are, are no work of minutes."""
    gaps = x.isnan()
    few = x.numel() * (num_latents + 1) ** 2 <= MOST_PRODUCTS
    return not bool(gaps.any()) or (few and not bool(gaps.all(0).any()))


def _has_rows_to_fit(batches: Batches, split: str) -> bool:
    """Whether there are training rows, and those that are scored are none of them, or the same.

    Of values in memory every split is all rows.
    """
    train, scored = (batches.data.splits.get(name, ()) for name in ("train", split))
    return len(train) > 0 and (split == "train" or not np.isin(scored, train).any())
