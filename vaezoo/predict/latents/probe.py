"""What the codes of a run know of labels, and of the factors that data were made from."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vaezoo.data import Data, DataLike
from vaezoo.data.batches import Batches
from vaezoo.data.padding import is_frame
from vaezoo.errors import RequestError, nearest
from vaezoo.markup import table
from vaezoo.observations import predictions
from vaezoo.predict.latents.disentanglement import (
    ACTIVE,
    Classes,
    Factored,
    FactorScores,
    Floats,
    entropies,
    information_with,
    scores_of,
)
from vaezoo.predict.latents.labels import LabelScores, label_scores
from vaezoo.predict.points import shared_latents
from vaezoo.runs import Run, RunLike, as_run
from vaezoo.runtime.device import seeded

__all__ = ["FactorReport", "Probe", "probe"]

FEWEST = 20  # rows, below which no classifier is worth fitting
_MOST_CLASSES = 64
_BINS = 20
_Sides = tuple[Floats, Floats]  # of the rows that are fitted to, and of those that are scored
_PARTS = ("fitted", "scored")
SCORES = {
    "mig": "MIG",
    "sap": "SAP",
    "dci_disentanglement": "DCI disentanglement",
    "dci_completeness": "DCI completeness",
    "dci_informativeness": "DCI informativeness",
    "modularity": "modularity",
    "beta_vae": "beta-VAE score",
    "factor_vae": "FactorVAE score",
}
_NO_FACTORS = {"x", "label", "length", "mask", "time"}


@dataclass(frozen=True)
class FactorReport:
    """Scores by factors, and what each element knows of each.

    Attributes
    ----------
    names
        The factors, ``F`` of them.
    codes, pca, shuffled
        Scores of the codes, of as many principal components, and of codes whose rows are shuffled:
        what the score of codes that know nothing is.
    information
        Mutual information of each element and factor in nats, ``(L, F)``.
    entropy
        Of each factor in nats, the most that an element can know, ``(F,)``.
    """

    names: tuple[str, ...]
    codes: FactorScores
    pca: FactorScores
    shuffled: FactorScores
    information: Floats
    entropy: Floats


@dataclass(frozen=True)
class Probe:
    """What codes know of labels and factors.

    Attributes
    ----------
    num_fitted, num_scored
        Rows that classifiers were fitted to, and rows that scores are of.
    elements
        Names of the elements of a code, as ``z[3]``.
    num_active
        Elements whose codes have a variance above 0.01 over the scored rows.
    label, label_pca
        Scores by label, of the codes and of as many principal components of the data; None where
        the data have no label.
    factors
        Scores by factors; None where there are none.
    """

    num_fitted: int
    num_scored: int
    elements: tuple[str, ...]
    num_active: int
    label: LabelScores | None
    label_pca: LabelScores | None
    factors: FactorReport | None

    def cells_of_label(self) -> list[tuple[str, ...]]:
        """Return a row for each score by label: its name, codes, PCA, and chance."""
        codes, pca = self.label, self.label_pca
        if codes is None or pca is None:
            return []
        linear, few, near = (
            tuple(_sure(getattr(s, name), getattr(s, f"{name}_error")) for s in (codes, pca))
            for name in ("linear", "few", "purity")
        )
        return [
            ("linear classifier", *linear, f"{codes.linear_chance:.3f}"),
            (f"{codes.num_few} labels of each class", *few, f"{codes.few_chance:.3f}"),
            ("10 nearest alike", *near, f"{codes.purity_chance:.3f}"),
            ("silhouette", *map(_silhouette, (codes, pca)), "0.000"),
        ]

    def cells_of_factors(self) -> list[tuple[str, ...]]:
        """Return a row for each score by factors: its name, codes, PCA, and chance."""
        if self.factors is None:
            return []
        sides = (self.factors.codes, self.factors.pca, self.factors.shuffled)
        return [
            (name, *(f"{getattr(scores, key):.3f}" for scores in sides))
            for key, name in SCORES.items()
        ]

    def _repr_html_(self) -> str:
        head = (f"{self.num_scored} rows", "codes", "PCA", "chance")
        return table([*self.cells_of_label(), *self.cells_of_factors()], head)

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain values."""
        values = asdict(self)
        if self.factors is not None:
            arrays = {"information": self.factors.information, "entropy": self.factors.entropy}
            values["factors"] |= {name: array.tolist() for name, array in arrays.items()}
        return values


def _sure(value: float, error: float) -> str:
    return f"{value:.3f} +- {error:.3f}"


def _silhouette(scores: LabelScores) -> str:
    return "-" if scores.silhouette is None else f"{scores.silhouette:.3f}"


def probe(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    factors: Sequence[str] | None = None,
    split: str = "test",
    limit: int = 5_000,
    few: int = 10,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Probe:
    """Score codes, the means of q(z | x), by what they know of labels and of known factors.

    Everything is fitted to training rows and scored on others. Beside the codes stand as many
    principal components of the data, what a linear model without training has, and chance. Of
    sequences the code is the mean over frames.

    Parameters
    ----------
    run
        A trained run, or its folder; that of an autoencoder is as good.
    data, split
        Which rows are scored; by default those of the run's test data. Classifiers are fitted to
        the training rows; of data without splits, to a random half.
    factors
        Arrays of the data with one number for each row: what the data were made from. By default
        all such arrays of whole numbers with 2 to 64 values, but the label, if they are two or
        more. One with more than 64 values is cut into 20 bins with as many rows each.
    limit
        At most so many rows for each of the two, chosen at random.
    few
        How many labels of each class a classifier gets that has few.
    seed
        Seed of all choices.
    data_dir
        Where original data files lie.

    Raises
    ------
    RequestError
        For data with neither labels nor factors, or with too few rows, and pairs without latents.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", training={"steps": 200})
    >>> result = vaezoo.probe(run, limit=200)
    >>> result.label.linear > result.label.linear_chance
    True
    """
    if few < 1 or limit < FEWEST:
        raise RequestError(f"give `few` of 1 or more, and a `limit` of {FEWEST} or more")
    run = as_run(run)
    batches = run.batches(data, data_dir=data_dir, split=split)
    chosen = _chosen(batches.data, factors)
    batches = _two_parts(batches, split, limit, seed)
    held = batches.data
    label = held.arrays.get("label")
    if (label is None or label.ndim != 1) and not chosen:
        raise RequestError(
            f"codes are scored by a label or by two or more `factors`, one number for each row, "
            f"and {held.name} has neither; data of your own have a label by `label` in training"
        )
    names, codes = _codes(run.explaining(batches), batches, seed)
    components = _components(held, len(names), seed)
    by_label = by_pca = None
    if label is not None and label.ndim == 1:
        labels = [label[held.splits[part]] for part in _PARTS]
        by_label, by_pca = (
            label_scores(*sides, *labels, few=few, seed=seed) for sides in (codes, components)
        )
    return Probe(
        len(codes[0]),
        len(codes[1]),
        names,
        int((codes[1].var(0) > ACTIVE).sum()),
        by_label,
        by_pca,
        _by_factors(held, chosen, codes, components, seed) if chosen else None,
    )


def _two_parts(batches: Batches, split: str, limit: int, seed: int) -> Batches:
    """Return batches with two splits: rows to fit to, and others to score."""
    rng = np.random.default_rng(seed)
    data = batches.data
    scored = rng.permutation(data.rows(split))
    fitted = rng.permutation(data.rows("train"))
    if len(np.intersect1d(scored, fitted)):
        fitted, scored = scored[::2], scored[1::2]
    parts = {
        name: np.sort(rows[:limit]) for name, rows in zip(_PARTS, (fitted, scored), strict=True)
    }
    for name, rows in parts.items():
        if len(rows) < FEWEST:
            raise RequestError(
                f"{len(rows)} rows are {name}, and codes are judged by {FEWEST} or more; "
                "`split='all'` has all rows"
            )
    return batches.with_splits(parts)


def _chosen(data: Data, factors: Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of the factors."""
    if factors is None:
        names = [name for name in data.arrays if name not in _NO_FACTORS and _is_factor(data, name)]
        return tuple(names) if len(names) > 1 else ()
    for name in factors:
        if name not in data.arrays:
            raise RequestError(f"no array '{name}' in the data; {nearest(name, data.arrays)}")
        if data.arrays[name].ndim != 1:
            raise RequestError(
                f"factor '{name}' has {data.arrays[name].shape}: not one number a row"
            )
    if len(set(factors)) < 2:
        raise RequestError("give two `factors` or more: one is a label")
    return tuple(dict.fromkeys(factors))


def _is_factor(data: Data, name: str) -> bool:
    values = data.arrays[name]
    if values.ndim != 1 or (values.dtype.kind == "f" and not (values == np.floor(values)).all()):
        return False
    return 2 <= len(np.unique(values)) <= _MOST_CLASSES


def _codes(run: Run, batches: Batches, seed: int) -> tuple[tuple[str, ...], _Sides]:
    """Return the names of elements, and codes ``(N, L)`` of the rows of the two parts."""
    left_out = shared_latents(run)
    sites: list[dict[str, Tensor]] = []
    with seeded(seed, run.device):
        for part in _PARTS:
            pieces: dict[str, list[Tensor]] = {}
            for args in batches.fixed(part):
                named = dict(zip(batches.names, args, strict=True))
                for name, value in predictions.encode(run.pair, args).items():
                    if name not in left_out:
                        pieces.setdefault(name, []).append(_as_rows(value, named).cpu())
            sites.append({name: torch.cat(values) for name, values in pieces.items()})
    if not sites[0]:
        raise RequestError(f"the pair of '{run.name}' has no latents of a datum, so no codes")
    names = [f"{name}[{i}]" for name, value in sites[0].items() for i in range(value.shape[1])]
    fitted, scored = (torch.cat([*part.values()], 1).double().numpy() for part in sites)
    return tuple(names), (fitted, scored)


def _as_rows(value: Tensor, named: Mapping[str, Tensor]) -> Tensor:
    """Return one vector for each row, of a latent of frames its mean over them."""
    length = named.get("length")
    if length is None or value.ndim < 2 or value.shape[1] != named["x"].shape[1]:
        return value.reshape(len(value), -1)
    frames = value.flatten(2) if value.ndim > 2 else value.unsqueeze(-1)
    valid = torch.arange(frames.shape[1], device=length.device) < length.unsqueeze(-1)
    return (frames * valid.unsqueeze(-1)).sum(1) / length.unsqueeze(-1)


def _components(data: Data, number: int, seed: int) -> _Sides:
    """Return as many principal components of the data, or as there are, of the two parts."""
    from sklearn.decomposition import PCA

    fitted, scored = (_flat(data, data.splits[part]) for part in _PARTS)
    middle = np.nan_to_num(np.nanmean(fitted, 0))
    fitted, scored = (np.where(np.isnan(x), middle, x) for x in (fitted, scored))
    pca = PCA(min(number, *fitted.shape), random_state=seed).fit(fitted)
    # In units of the first, as codes are in units of a prior: below ACTIVE a component is noise.
    scale = max(float(np.sqrt(pca.explained_variance_[0])), 1e-12)
    return pca.transform(fitted) / scale, pca.transform(scored) / scale


def _flat(data: Data, rows: NDArray[np.int64]) -> Floats:
    """Return x as vectors, of sequences its mean over frames."""
    x = np.asarray(data.x[rows], np.float64)
    if data.length is None:
        return x.reshape(len(x), -1)
    valid = is_frame(data.length[rows], x.shape[1])[:, :, None]
    return np.nanmean(np.where(valid, x, np.nan), 1)


def _by_factors(
    data: Data,
    names: tuple[str, ...],
    codes: _Sides,
    components: _Sides,
    seed: int,
) -> FactorReport:
    classes = np.stack([_classes(data.arrays[name], data) for name in names], 1)
    truth = [classes[data.splits[part]] for part in _PARTS]
    rng = np.random.default_rng(seed)
    shuffled = [rng.permutation(part) for part in codes]
    own, pca, by_chance = (
        scores_of(*map(Factored, sides, truth), seed=seed)
        for sides in (codes, components, shuffled)
    )
    information = information_with(Factored(codes[1], truth[1]))
    return FactorReport(names, own, pca, by_chance, information, entropies(truth[1]))


def _classes(values: NDArray[Any], data: Data) -> Classes:
    """Return the class of each row from 0 on: its value, or its bin where there are many."""
    rows = np.concatenate([data.splits[part] for part in _PARTS])
    if not np.isfinite(values[rows]).all():
        raise RequestError("a factor has missing values")
    if len(np.unique(values[rows])) <= _MOST_CLASSES:
        return np.asarray(np.searchsorted(np.unique(values[rows]), values), np.int64)
    edges = np.quantile(values[rows], np.arange(1, _BINS) / _BINS)
    return np.asarray(np.searchsorted(edges, values, side="right"), np.int64)
