"""Which likelihood? Each family that the support of data allows, fitted in its simplest form."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.dataset import Data
from vaezoo.distributions.fits import FAMILIES, Family, fit_mixture
from vaezoo.errors import RequestError

__all__ = ["Comparison", "Score", "explain_likelihood"]

MOST_ROWS = 5_000
NUM_COMPONENTS = 8
ROWS_OF_A_COMPONENT = 10
MOST_VALUES = 4_000_000  # of the rows that are fitted


@dataclass(frozen=True)
class Score:
    """A family on rows that it was not fitted to.

    Attributes
    ----------
    family
        Its name, that of a likelihood.
    about
        What it assumes.
    is_density
        Whether the nats are of a density.
    independent, mixture
        Mean log-density of a datum, of a frame of sequences, in nats, with every element by itself,
        and under a mixture of 8 such models; None where there are too few rows for one.
    """

    family: str
    about: str
    is_density: bool
    independent: float
    mixture: float | None


@dataclass(frozen=True)
class Comparison:
    """Families of some columns, the best first.

    Attributes
    ----------
    columns
        Names of the columns; empty where all elements are of one kind.
    num_elements, num_train, num_held_out
        What was compared, and on how many rows.
    scores
        Of each family that can explain all values.
    """

    columns: tuple[str, ...]
    num_elements: int
    num_train: int
    num_held_out: int
    scores: tuple[Score, ...]


def explain_likelihood(data: Data) -> list[Comparison]:
    """Compare the families that can explain data, as they are stored, on held-out rows.

    Every family is fitted to the training rows with each element by itself, and as a mixture of 8
    such models (:mod:`vaezoo.distributions.fits`); both are scored on the validation rows. Tables
    are compared by kind of column: binary, whole numbers, reals. Densities compare with densities
    of the same unit only, and whole numbers have none: a narrow density at each level has no bound.

    Parameters
    ----------
    data
        With rows for training and for validation.

    Raises
    ------
    RequestError
        When there are no rows to fit, or to score.

    Examples
    --------
    >>> import vaezoo
    >>> (digits,) = explain_likelihood(vaezoo.load_data("digits"))
    >>> [score.family for score in digits.scores]
    ['categorical', 'discretized-logistic', 'negative-binomial', 'poisson', 'binomial']
    """
    splits = {name: _rows(data, name) for name in ("train", "validation")}
    for name, rows in splits.items():
        if not len(rows):
            raise RequestError(f"{data.name} has no rows for {name} to compare likelihoods on")
    return [
        _compared(tuple(columns), splits["train"][:, places], splits["validation"][:, places])
        for columns, places in _groups(data, splits["train"])
    ]


def _rows(data: Data, split: str) -> Tensor:
    """Return rows of a split, frames of sequences, ``(N, D)`` in float64; not too many."""
    rows = data.splits.get(split, np.arange(0))
    most = max(min(MOST_ROWS, MOST_VALUES // max(1, data.x[0].size)), 100)
    rows = np.sort(np.random.default_rng(0).permutation(rows)[:most])
    x = np.asarray(data.x[rows], dtype=np.float64)
    if data.length is not None:
        x = x[np.arange(x.shape[1]) < data.length[rows][:, None]][:most]
    return torch.from_numpy(x.reshape(len(x), math.prod(data.x_shape)))


def _groups(data: Data, x: Tensor) -> list[tuple[Sequence[str], Tensor]]:
    """Return the columns of each kind, with their places; all elements of what is no table."""
    if not data.columns or len(data.columns) != x.shape[1]:
        return [((), torch.arange(x.shape[1]))]
    is_there = ~x.isnan()
    whole = x.nan_to_num()
    is_binary = (((whole == 0) | (whole == 1)) | ~is_there).all(0)
    is_whole = (whole == whole.round()).all(0) & ~is_binary
    kinds = (is_binary, is_whole, ~is_binary & ~is_whole)
    places = [kind.nonzero().flatten() for kind in kinds]
    return [([data.columns[i] for i in some.tolist()], some) for some in places if len(some)]


def _compared(columns: tuple[str, ...], train: Tensor, held_out: Tensor) -> Comparison:
    values = torch.cat([train, held_out])
    values = values[values.isfinite()]
    scores = [
        _score(family, train, held_out) for family in FAMILIES.values() if family.explains(values)
    ]
    scores.sort(key=lambda score: -(score.independent if score.mixture is None else score.mixture))
    return Comparison(columns, train.shape[1], len(train), len(held_out), tuple(scores))


def _score(family: Family, train: Tensor, held_out: Tensor) -> Score:
    independent = float(fit_mixture(family, train)(held_out).mean())
    mixture = None
    if len(train) >= ROWS_OF_A_COMPONENT * NUM_COMPONENTS:
        mixture = float(fit_mixture(family, train, NUM_COMPONENTS)(held_out).mean())
    return Score(family.name, family.about, family.is_density, independent, mixture)
