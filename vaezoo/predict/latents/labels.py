"""Scores of codes by labels: can a simple classifier read them, and do they lie in clusters?"""

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaezoo.errors import RequestError

__all__ = ["LabelScores", "label_scores"]

Floats = NDArray[np.float64]

_MOST_CLASSES = 200
_MOST_STEPS = 200  # of a classifier
_NUM_TRIES = 20  # of a classifier with few labels, each with other rows
_MOST_PAIRED = 2_000  # rows whose distances from each other are all computed
NEIGHBOURS = 10


@dataclass(frozen=True)
class LabelScores:
    """Scores of codes by labels.

    Attributes
    ----------
    num_classes
        Labels that occur in the rows that classifiers are fitted to.
    linear, linear_error
        Accuracy of logistic regression, and its standard error (over the scored rows).
    linear_chance
        Share of the most frequent label in the scored rows.
    num_few
        How many labels of each class the classifier with few labels had.
    few, few_error
        Its accuracy, mean over 20 choices of rows, and the standard error of that mean.
    few_chance
        1 / number of classes: it sees as many of each.
    purity, purity_error
        Share of the 10 nearest others of a scored row that have its label, and its standard error.
    purity_chance
        The same for rows in any order.
    silhouette
        Mean silhouette of the labels as clusters (Rousseeuw 1987): 1 far apart, 0 overlapping;
        None where the rows have one label.
    """

    num_classes: int
    linear: float
    linear_error: float
    linear_chance: float
    num_few: int
    few: float
    few_error: float
    few_chance: float
    purity: float
    purity_error: float
    purity_chance: float
    silhouette: float | None


def label_scores(
    fitted: Floats,
    scored: Floats,
    label: NDArray[Any],
    truth: NDArray[Any],
    *,
    few: int = 10,
    seed: int = 0,
) -> LabelScores:
    """Score codes ``(N, L)``, ``(M, L)`` with their labels ``(N,)``, ``(M,)``.

    Rows without a label (nan, or a negative one) are left out.

    Raises
    ------
    RequestError
        For labels that are no classes, or but one.

    Examples
    --------
    >>> label = np.arange(60) % 2
    >>> codes = label[:, None] + np.linspace(0, 0.1, 60)[:, None]
    >>> scores = label_scores(codes, codes, label, label, few=2)
    >>> scores.linear, scores.purity, scores.linear_chance
    (1.0, 1.0, 0.5)
    """
    fitted, label = _labelled(fitted, label)
    scored, truth = _labelled(scored, truth)
    values = np.unique(label)
    if not 2 <= len(values) <= _MOST_CLASSES or len(np.unique(truth)) < 2:
        raise RequestError(
            f"the label has {len(values)} values in {len(label)} rows, and codes are scored by 2 "
            f"to {_MOST_CLASSES} classes; name another `label`, or `factors`"
        )
    scale = np.maximum(fitted.std(0), 1e-12)
    accuracy = _accuracy(fitted / scale, label, scored / scale, truth)
    tries, num_few = _few_labels(fitted / scale, label, scored / scale, truth, few, seed)
    pure, by_chance = _purity(scored, truth)
    return LabelScores(
        len(values),
        accuracy,
        float(np.sqrt(accuracy * (1 - accuracy) / len(truth))),
        float(np.unique(truth, return_counts=True)[1].max() / len(truth)),
        num_few,
        float(tries.mean()),
        float(tries.std(ddof=1) / np.sqrt(len(tries))),
        1 / len(values),
        float(pure.mean()),
        float(pure.std() / np.sqrt(len(pure))),
        by_chance,
        _silhouette(scored, truth, seed),
    )


def _labelled(codes: Floats, label: NDArray[Any]) -> tuple[Floats, NDArray[Any]]:
    has_one = np.isfinite(label) & (label >= 0)
    return codes[has_one], label[has_one]


def _accuracy(codes: Floats, label: NDArray[Any], others: Floats, truth: NDArray[Any]) -> float:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():  # its last steps change no class
        warnings.simplefilter("ignore", ConvergenceWarning)
        classifier = LogisticRegression(max_iter=_MOST_STEPS).fit(codes, label)
    return float(classifier.score(others, truth))


def _few_labels(
    codes: Floats,
    label: NDArray[Any],
    others: Floats,
    truth: NDArray[Any],
    few: int,
    seed: int,
) -> tuple[Floats, int]:
    """Return accuracies with few labels of each class, and how many of the rarest there were."""
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(label == value) for value in np.unique(label)]
    number = min(few, *map(len, members))
    accuracies = []
    for _ in range(_NUM_TRIES):
        rows = np.concatenate([rng.choice(some, number, replace=False) for some in members])
        accuracies.append(_accuracy(codes[rows], label[rows], others, truth))
    return np.array(accuracies), number


def _purity(codes: Floats, label: NDArray[Any]) -> tuple[Floats, float]:
    """Return the share of the nearest others with the label of each row, and that by chance."""
    from sklearn.neighbors import NearestNeighbors

    number = min(NEIGHBOURS, len(codes) - 1)
    nearest = NearestNeighbors(n_neighbors=number).fit(codes).kneighbors(return_distance=False)
    _, counts = np.unique(label, return_counts=True)
    by_chance = float((counts * (counts - 1)).sum() / (len(label) * (len(label) - 1)))
    return (label[nearest] == label[:, None]).mean(1), by_chance


def _silhouette(codes: Floats, label: NDArray[Any], seed: int) -> float | None:
    from sklearn.metrics import silhouette_score

    rows = np.random.default_rng(seed).permutation(len(codes))[:_MOST_PAIRED]
    if not 2 <= len(np.unique(label[rows])) < len(rows):
        return None
    return float(silhouette_score(codes[rows], label[rows]))
