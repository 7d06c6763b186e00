"""Arithmetic of codes: add what tells one class from another to the codes of data."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vaezoo.data import DataLike
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.markup import table
from vaezoo.options import PointValue, require_choice
from vaezoo.predict.latents.classes import LabelledCodes, labelled_codes, train_classifier
from vaezoo.predict.observed import shown
from vaezoo.runs import RunLike, as_run

__all__ = ["Arithmetic", "Direction", "arithmetic"]

FEWEST = 5  # rows with a label, below which a mean code says little


@dataclass(frozen=True)
class Direction:
    """The mean code of data with one label, less that of data with another.

    Attributes
    ----------
    plus, minus
        The labels, and how many codes each mean is of.
    num_plus, num_minus
        Numbers of codes.
    length
        Euclidean length of the difference, over all latents.
    standard_error
        Of the difference: the root of the summed variances of its elements. A length that is not
        far above it says that the two means do not differ.
    """

    plus: float
    minus: float
    num_plus: int
    num_minus: int
    length: float
    standard_error: float


@dataclass(frozen=True)
class Arithmetic:
    """Data whose codes were moved by a direction.

    Attributes
    ----------
    direction
        By what.
    data
        What the model makes of codes as they are, of data with the label ``minus``,
        ``(N, *x_shape)``.
    x
        What it makes of the moved codes.
    flipped, flipped_before
        Shares of ``x`` and of ``data`` that a classifier takes for ``plus``.
    accuracy
        Of that classifier, logistic regression on reconstructions of training rows, on
        reconstructions of the rows of the split.
    kept
        What tells a datum from the mean of its class, before and after: mean correlation over data,
        1 where it is all kept, 0 where nothing is.
    """

    direction: Direction
    data: Array
    x: Array
    flipped: float
    flipped_before: float
    accuracy: float
    kept: float

    def _repr_html_(self) -> str:
        """Return a table for a notebook: how sure the direction is, and what it did."""
        by = self.direction
        counts = f"{by.plus:g} ({by.num_plus} codes) - {by.minus:g} ({by.num_minus})"
        rows = [
            ("label", counts),
            ("length of the difference", f"{by.length:.2f} ± {by.standard_error:.2f}"),
            (f"taken for {by.plus:g}", f"{self.flipped:.0%}, before {self.flipped_before:.0%}"),
            ("the classifier is right in", f"{self.accuracy:.0%}"),
            ("kept of what tells a datum from its class", f"{self.kept:.2f}"),
        ]
        return table(rows)


def arithmetic(
    run: RunLike,
    plus: float,
    minus: float,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    scale: float = 1.0,
    x: PointValue = "mean",
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Arithmetic:
    """Add (mean code with a label - mean code with another) to codes of data with the latter.

    The direction is found on training rows, and is added to the codes of other rows; of more than
    10,000 of either, so many at random. Of a sequence the code is the mean over its frames, and the
    direction is added in every frame.

    Parameters
    ----------
    run
        A trained run on data with labels, or its folder; that of an autoencoder is as good.
    plus, minus
        The two labels.
    data, split
        Whose rows with the label ``minus`` are moved; by default those of the run's test data.
    scale
        How many times the direction is added.
    x
        What is shown of p(x | z): the ``mean``, or a ``sample``.
    seed
        Seed of draws.
    data_dir
        Where original data files lie.

    Raises
    ------
    RequestError
        For data without labels or with few of one, and latents that cannot be moved.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", training={"steps": 200})
    >>> moved = vaezoo.arithmetic(run, plus=1, minus=0)
    >>> moved.direction.num_plus > 100, moved.x.shape[1:]
    (True, (8, 8))
    """
    require_choice("x", x, PointValue)
    run = as_run(run)
    of_training, codes = (
        labelled_codes(run, rows, split=name, data_dir=data_dir, what="arithmetic of codes")
        for rows, name in ((None, "train"), (data, split))
    )
    direction, moves = _direction(of_training, plus, minus)
    moved = codes.with_label(minus)
    if not len(moved):
        raise RequestError(f"no row of the {split} data has the label {minus:g}")
    reals = {s.name: moved.reals[s.name] + scale * moves[s.latent] for s in moved.sites}
    shifted = replace(moved, reals=reals)
    before, after = (shown(part.decoded(x=x, seed=seed)) for part in (moved, shifted))
    classifier = train_classifier(of_training, codes)
    earlier, later = (float((classifier.predict(x) == plus).mean()) for x in (before, after))
    spread = run.transform.spread
    kept = _correlation(before / spread, after / spread)
    return Arithmetic(direction, before, after, later, earlier, classifier.accuracy, kept)


def _direction(
    labelled: LabelledCodes, plus: float, minus: float
) -> tuple[Direction, dict[str, torch.Tensor]]:
    """Return the difference of two mean codes by latent, and how sure it is."""
    sides = [labelled.with_label(label) for label in (plus, minus)]
    numbers = [len(side) for side in sides]
    for label, number in zip((plus, minus), numbers, strict=True):
        if number < FEWEST:
            there = ", ".join(f"{value:g}" for value in np.unique(labelled.label)[:12])
            raise RequestError(
                f"{number} training rows have the label {label:g}, and a mean code needs "
                f"{FEWEST}; there are {there}"
            )
    moves: dict[str, torch.Tensor] = {}
    squares = variances = 0.0
    for latent in dict.fromkeys(site.latent for site in labelled.codes.sites):
        means = [side.frames(latent).nanmean(1) for side in sides]
        move = means[0].mean(0) - means[1].mean(0)
        squares += float(move.square().sum())
        variances += sum(float(mean.var(0).sum()) / len(mean) for mean in means)
        moves[latent] = move
    length, error = float(np.sqrt(squares)), float(np.sqrt(variances))
    return Direction(plus, minus, numbers[0], numbers[1], length, error), moves


def _correlation(before: Array, after: Array) -> float:
    """Return how far data differ from the mean of theirs after as before: a mean correlation."""
    sides = [np.nan_to_num(x.reshape(len(x), -1)).astype(np.float64) for x in (before, after)]
    first, second = (side - side.mean(0) for side in sides)
    norms = np.linalg.norm(first, axis=1) * np.linalg.norm(second, axis=1)
    return float(((first * second).sum(1) / np.maximum(norms, 1e-12)).mean())
