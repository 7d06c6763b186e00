"""Scores of codes by known factors: does each element know one factor, and each factor one element?

Codes are ``(N, L)``, factors ``(N, F)``, each column whole numbers from 0: the class of a row.
The scores are those of the papers, with the settings of Locatello et al. (2019, arXiv:1811.12359)
where a paper leaves a choice. All depend on how codes are turned and on how many rows there are,
so compare each with that of codes whose rows were shuffled.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "ACTIVE",
    "Classes",
    "FactorScores",
    "Factored",
    "Floats",
    "beta_vae_score",
    "dci",
    "entropies",
    "factor_vae_score",
    "information_with",
    "mig",
    "modularity",
    "sap",
    "scores_of",
]

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]

ACTIVE = 0.01  # variance of codes above which an element is in use (Burda et al. 2016)
_BINS = 20
_NUM_TREES = 50
_NUM_POINTS = 800  # of a classifier that is fitted, and as many that it is judged by
_NUM_ROWS = 64  # that share a factor, in each point


@dataclass(frozen=True)
class Factored:
    """Codes ``(N, L)`` and the classes of their factors ``(N, F)``."""

    codes: Floats
    factors: Classes


@dataclass(frozen=True)
class FactorScores:
    """Scores of codes by known factors; each is 1 at best.

    Attributes
    ----------
    mig
        Mutual information gap (Chen et al. 2018, arXiv:1802.04942, eq. 6): by how much the element
        that knows most of a factor knows more than the next, as a share of the factor's entropy.
    sap
        Separated attribute predictability (Kumar et al. 2018, arXiv:1711.00848): the same gap in
        the accuracy of a linear classifier of one element.
    dci_disentanglement, dci_completeness, dci_informativeness
        Of Eastwood & Williams (2018): does an element matter to one factor only, does a factor need
        one element only, and the accuracy of the forest that says so.
    modularity
        Ridgeway & Mozer (2018, arXiv:1802.05312): does an element know of one factor only; mean
        over elements in use.
    beta_vae
        Higgins et al. (2017): accuracy of a linear classifier that tells which factor pairs of rows
        share.
    factor_vae
        Kim & Mnih (2018, arXiv:1802.05983): accuracy of the rule that tells it from the element
        that varies least.
    """

    mig: float
    sap: float
    dci_disentanglement: float
    dci_completeness: float
    dci_informativeness: float
    modularity: float
    beta_vae: float
    factor_vae: float


def scores_of(fitted: Factored, scored: Factored, *, seed: int = 0) -> FactorScores:
    """Return all scores: classifiers are fitted to some rows, and judged by others.

    Examples
    --------
    >>> grid = np.stack(np.meshgrid(range(3), range(3)), -1).reshape(-1, 2).repeat(20, 0)
    >>> rows = Factored(grid.astype(float), grid)
    >>> scores = scores_of(rows, rows)
    >>> round(scores.mig, 6), round(scores.modularity, 6), scores.factor_vae
    (1.0, 1.0, 1.0)
    """
    information = information_with(scored)
    in_use = scored.codes.var(0) > ACTIVE
    return FactorScores(
        mig(information, entropies(scored.factors)),
        sap(fitted, scored),
        *dci(fitted, scored, seed=seed),
        modularity(information[in_use]),
        beta_vae_score(fitted, scored, seed=seed),
        factor_vae_score(fitted, scored, seed=seed),
    )


def information_with(rows: Factored) -> Floats:
    """Return the mutual information of each element and factor in nats, ``(L, F)``.

    From counts, of codes in 20 bins of equal width. Counts of N rows overstate it, by about
    (bins - 1) (classes - 1) / 2N.

    Examples
    --------
    >>> same = np.arange(100) % 2
    >>> round(float(information_with(Factored(same[:, None] * 1.0, same[:, None]))[0, 0]), 3)
    0.693
    """
    from sklearn.metrics import mutual_info_score

    binned = [np.digitize(c, np.histogram_bin_edges(c, _BINS)[:-1]) for c in rows.codes.T]
    return np.array([[mutual_info_score(v, b) for v in rows.factors.T] for b in binned])


def entropies(factors: Classes) -> Floats:
    """Return the entropy of each factor in nats, ``(F,)``."""
    return np.array([_entropy(np.bincount(column)) for column in factors.T])


def _entropy(weights: NDArray[Any]) -> float:
    """Return the entropy of weights in nats; 0 where there are none."""
    shares = weights[weights > 0] / max(weights.sum(), 1e-12)
    return float(-(shares * np.log(shares)).sum())


def mig(information: Floats, entropy: Floats) -> float:
    """Return the mutual information gap of ``(L, F)`` and ``(F,)``, in nats both."""
    return float((_gap(information) / np.maximum(entropy, 1e-12)).mean())


def _gap(values: Floats) -> Floats:
    """Return how far the largest of each column is above the next, ``(F,)``."""
    ordered = np.sort(np.concatenate([np.zeros((1, values.shape[1])), values]), 0)
    return ordered[-1] - ordered[-2]


def sap(fitted: Factored, scored: Factored) -> float:
    """Return the gap in accuracy of the two elements that predict a factor best, mean over factors.

    By a linear support vector machine on one element, as Locatello et al. (2019) do.
    """
    accuracy = [
        [
            _svm_accuracy(fitted.codes[:, [i]], v, scored.codes[:, [i]], w)
            for v, w in zip(fitted.factors.T, scored.factors.T, strict=True)
        ]
        for i in range(fitted.codes.shape[1])
    ]
    return float(_gap(np.array(accuracy)).mean())


def _svm_accuracy(codes: Floats, factor: Classes, others: Floats, truth: Classes) -> float:
    from sklearn.svm import LinearSVC

    if codes.var() == 0:  # an element that never varies says the same of all rows
        return float((truth == np.bincount(factor).argmax()).mean())
    machine = LinearSVC(C=0.01, class_weight="balanced", dual=False).fit(codes, factor)
    return float(machine.score(others, truth))


def dci(fitted: Factored, scored: Factored, *, seed: int = 0) -> tuple[float, float, float]:
    """Return disentanglement, completeness and informativeness.

    Importances are those of random forests, one of the two choices of the paper.
    """
    from sklearn.ensemble import RandomForestClassifier

    importances, accuracies = [], []
    for factor, truth in zip(fitted.factors.T, scored.factors.T, strict=True):
        forest = RandomForestClassifier(_NUM_TREES, min_samples_leaf=2, random_state=seed)
        forest.fit(fitted.codes, factor)
        importances.append(forest.feature_importances_)
        accuracies.append(forest.score(scored.codes, truth))
    weights = np.array(importances).T  # (L, F)
    num_elements, num_factors = weights.shape
    by_element = [1 - _entropy(row) / np.log(max(num_factors, 2)) for row in weights]
    by_factor = [1 - _entropy(column) / np.log(max(num_elements, 2)) for column in weights.T]
    shares = weights.sum(1) / max(weights.sum(), 1e-12)
    return float(shares @ by_element), float(np.mean(by_factor)), float(np.mean(accuracies))


def modularity(information: Floats) -> float:
    """Return how far each element knows of one factor only, mean over the rows of ``(L, F)``.

    1 - sum_f (m_if / max_f m_if)^2 / (F - 1), over all factors but that of the maximum; 0 where no
    element is in use.
    """
    num_factors = information.shape[1]
    most = information.max(1, initial=0)
    knows = most > 1e-12
    if num_factors < 2 or not knows.any():
        return float(knows.any())
    squares = (information[knows] / most[knows, None]) ** 2
    return float((1 - (squares.sum(1) - 1) / (num_factors - 1)).mean())


def beta_vae_score(fitted: Factored, scored: Factored, *, seed: int = 0) -> float:
    """Return how well a linear classifier tells the factor that pairs of rows share.

    A point is the mean of abs(z - z') over 64 pairs of rows that share one factor.
    """
    from sklearn.linear_model import LogisticRegression

    rng = np.random.default_rng(seed)
    points = [_Points.of_pairs(rows, rng) for rows in (fitted, scored)]
    scale = np.maximum(points[0].values.std(0), 1e-12)
    classifier = LogisticRegression(max_iter=1000).fit(points[0].values / scale, points[0].factor)
    return float(classifier.score(points[1].values / scale, points[1].factor))


def factor_vae_score(fitted: Factored, scored: Factored, *, seed: int = 0) -> float:
    """Return how often the element that varies least tells which factor rows share.

    Variances are over 64 rows that share one value of one factor, relative to that over all rows.
    Each element votes for the factor for which it most often varied least; 0 where no element is
    in use.
    """
    in_use = fitted.codes.var(0) > ACTIVE
    if not in_use.any():
        return 0.0
    rng = np.random.default_rng(seed)
    scale = fitted.codes[:, in_use].std(0)
    votes = np.zeros((int(in_use.sum()), fitted.factors.shape[1]))
    parts = [Factored(rows.codes[:, in_use] / scale, rows.factors) for rows in (fitted, scored)]
    first, second = (_Points.of_sets(rows, rng) for rows in parts)
    np.add.at(votes, (first.values.argmin(1), first.factor), 1)
    return float((votes.argmax(1)[second.values.argmin(1)] == second.factor).mean())


@dataclass(frozen=True)
class _Points:
    """What a classifier sees of rows that share a factor ``(M, L)``, and which it is ``(M,)``."""

    values: Floats
    factor: Classes

    @classmethod
    def of_pairs(cls, rows: Factored, rng: np.random.Generator) -> "_Points":
        factor = rng.integers(rows.factors.shape[1], size=_NUM_POINTS)
        starts = rng.integers(len(rows.codes), size=(_NUM_POINTS, _NUM_ROWS))
        others = _alike(rows, starts, factor, rng)
        differences = [rows.codes[i] - rows.codes[j] for i, j in zip(starts, others, strict=True)]
        return cls(np.array([np.abs(each).mean(0) for each in differences]), factor)

    @classmethod
    def of_sets(cls, rows: Factored, rng: np.random.Generator) -> "_Points":
        factor = rng.integers(rows.factors.shape[1], size=_NUM_POINTS)
        start = rng.integers(len(rows.codes), size=(_NUM_POINTS, 1)).repeat(_NUM_ROWS, 1)
        chosen = _alike(rows, start, factor, rng)
        return cls(np.array([rows.codes[some].var(0) for some in chosen]), factor)


def _alike(rows: Factored, starts: Classes, factor: Classes, rng: np.random.Generator) -> Classes:
    """Return for each of some rows ``(M, B)`` another with the same value of a factor ``(M,)``."""
    others = np.empty_like(starts)
    for number, column in enumerate(rows.factors.T):
        ordered, counts = np.argsort(column, kind="stable"), np.bincount(column)
        value = column[starts[factor == number]]
        place = np.cumsum(counts)[value] - counts[value] + rng.integers(counts[value])
        others[factor == number] = ordered[place]
    return others
