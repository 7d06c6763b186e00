"""Codes with labels, and a classifier that says what is seen in what a model makes of them."""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data import DataLike
from vaezoo.data.batches import Batches
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.predict.latents.codes import Codes, find_codes, labels_of, rows_of
from vaezoo.predict.observed import shown
from vaezoo.runs import Run
from vaezoo.runs.conditions import Given

__all__ = ["Classifier", "LabelledCodes", "labelled_codes", "train_classifier"]

MOST_LABELLED = 10_000  # more take minutes, and make no other mean and no other classifier


@dataclass(frozen=True)
class LabelledCodes:
    """Codes, and the labels of their rows, ``(N,)``."""

    codes: Codes
    label: Array

    def with_label(self, label: float) -> Codes:
        return self.codes.at(np.flatnonzero(self.label == label).tolist())

    @property
    def pictures(self) -> Array:
        """What the model makes of the codes, ``(N, D)``."""
        return as_rows(shown(self.codes.decoded()))


@dataclass(frozen=True)
class Classifier:
    """Logistic regression on what a model makes of codes.

    Attributes
    ----------
    labels
        That it tells apart, ``(K,)``.
    accuracy
        On what the model makes of other rows.
    """

    labels: Array
    accuracy: float
    _fitted: Any

    def probabilities(self, x: Array) -> Array:
        """Return how probable each label is of data ``(N, *x_shape)``, ``(N, K)``."""
        return np.asarray(self._fitted.predict_proba(self._rows(x)))

    def predict(self, x: Array) -> Array:
        """Return the most probable label of data ``(N, *x_shape)``, ``(N,)``."""
        return np.asarray(self._fitted.predict(self._rows(x)))

    def _rows(self, x: Array) -> Array:
        """Return data as rows with as many frames as those of the training have."""
        width = int(self._fitted.n_features_in_)
        rows = as_rows(x)[:, :width]
        return np.pad(rows, [(0, 0), (0, width - rows.shape[1])])


def labelled_codes(
    run: Run,
    data: "DataLike | None",
    *,
    split: str,
    data_dir: str | Path | None,
    what: str,
    limit: int | None = None,
    given: Given | None = None,
) -> LabelledCodes:
    """Return the codes of rows, with their labels; of more than 10,000, so many at random.

    Raises
    ------
    RequestError
        In the name of ``what``, when they have none.
    """
    explaining, batches = rows_of(
        run, data, split=split, limit=limit, given=given, data_dir=data_dir
    )
    batches = _at_most(batches, split, MOST_LABELLED)
    label = labels_of(batches, split, batches.size(split, limit))
    if label is None:
        raise RequestError(
            f"{what} needs data with a label, and {batches.data.name} has none; data of your own "
            "have one by `label` in training"
        )
    return LabelledCodes(find_codes(explaining, batches, split=split, limit=limit), label)


def _at_most(batches: Batches, split: str, number: int) -> Batches:
    """Return batches of so many rows of a split, at random: data may lie in the order of labels."""
    rows = batches.data.rows(split)
    if len(rows) <= number:
        return batches
    some = np.random.default_rng(0).choice(rows, number, replace=False)
    return batches.with_splits({split: np.sort(some)})


def train_classifier(training: LabelledCodes, others: LabelledCodes) -> Classifier:
    """Train a classifier on what a model makes of codes, and score it on that of others."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # its accuracy says how good it is
        fitted.fit(training.pictures, training.label)
    classifier = Classifier(np.asarray(fitted.classes_), float("nan"), fitted)
    right = classifier.predict(others.pictures) == others.label
    return replace(classifier, accuracy=float(right.mean()))


def as_rows(x: Array) -> Array:
    """Return data ``(N, *x_shape)`` as rows ``(N, D)``, 0 where there is none."""
    return np.nan_to_num(x.reshape(len(x), -1))
