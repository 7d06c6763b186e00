"""What the codes of a run are like: where they lie, which elements are in use, and for what."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pyro import poutine

from vaezoo.data import DataLike
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.markup import filled, table
from vaezoo.observations.predictions import prior_predictive
from vaezoo.options import CodesMap, require_choice
from vaezoo.pairs.accounting import units_per_row
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.pieces import MOST_ROWS, split_rows
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import model_of, sample_sites, step_of, takes_lengths
from vaezoo.predict.latents.codes import Codes, find_codes, labels_of, rows_of
from vaezoo.predict.latents.plane import Embedding, Plane, embedding_of, plane_of
from vaezoo.predict.latents.units import Unit, covariances_of, paths_of, units_of
from vaezoo.predict.observed import shown
from vaezoo.runs import RunLike, as_run
from vaezoo.runs.conditions import Given
from vaezoo.runtime.device import seeded
from vaezoo.training.metrics import ACTIVE_VARIANCE

__all__ = ["DecoderJacobian", "LatentOverview", "latents"]

NUM_JACOBIANS = 100  # data
NUM_COVARIANCES = 12  # few enough to be told apart in a picture
DIFFERENCE, SMALLEST = 0.02, 0.01  # in deviations of the codes, which are no smaller


@dataclass(frozen=True)
class LatentOverview:
    """Codes of data, and what each element of them is worth.

    Attributes
    ----------
    units
        The elements, ``L`` of them, those with the largest KL first.
    codes, draws
        Means of q(z | x), and a draw of each, ``(M, L)``: of data, or of the frames of sequences.
        An autoencoder has one value for both.
    label
        Of each row ``(M,)``, where the data have one number for each.
    variance
        Of the codes over data, ``(L,)``: above 0.01 an element is active (Burda et al. 2016,
        arXiv:1509.00519).
    spread
        Standard deviation of q(z | x) about its mean, from the draws, ``(L,)``.
    some, covariance
        Up to 12 rows of codes ``(E,)``, and the covariance of q(z | x) of each ``(E, L, L)``: exact
        for a guide of one Gaussian site, else of 64 draws.
    lost
        Nats per datum (frame) of log p(x | z) that are lost when an element is set to its mean over
        the data, ``(L,)``.
    correlation
        Of the codes, ``(L, L)``; nan for an element that never varies.
    pruned
        Nats per datum (frame) that are lost when all elements that are not active are set to their
        means at once.
    prior
        Draws of p(z) for the same data, ``(M, L)``, to lay beside ``draws``: all of these together
        are of q(z), the aggregate posterior. None where nothing can be drawn from it.
    decoder
        How x answers to each element; None for sequences, whose frames hear draws of others.
    map
        Where the codes lie in two dimensions.
    """

    units: tuple[Unit, ...]
    codes: Array
    draws: Array
    label: Array | None
    variance: Array
    spread: Array
    some: Array
    covariance: Array
    lost: Array
    correlation: Array
    pruned: float
    prior: Array | None
    decoder: "DecoderJacobian | None"
    map: Plane | Embedding

    def _repr_html_(self) -> str:
        """Return a table for a notebook: what each element costs, and what it is for."""
        head, *rows = self.cells()
        return table(rows, head)

    def cells(self) -> list[tuple[str, ...]]:
        """Return a table in words, without what is not there, as an autoencoder's KL."""
        kl = [np.nan if unit.kl is None else unit.kl for unit in self.units]
        spread = self.spread if self.spread.any() else np.full(len(kl), np.nan)
        moved = np.full(len(kl), np.nan) if self.decoder is None else self.decoder.moved
        numbers = zip(kl, self.lost, self.variance, spread, moved, strict=True)
        rows = [
            (unit.name, *("" if np.isnan(value) else f"{value:.3f}" for value in values))
            for unit, values in zip(self.units, numbers, strict=True)
        ]
        heads = ("latent", "KL, nats", "lost, nats", "variance of codes", "sd of q", "moves x by")
        return filled([heads, *rows])

    @property
    def active(self) -> Array:
        """Which elements have codes with a variance above 0.01 over the data, ``(L,)``."""
        return np.asarray(self.variance > ACTIVE_VARIANCE)

    @property
    def num_active(self) -> int:
        """Elements whose codes have a variance above 0.01 over the data."""
        return int(self.active.sum())


@dataclass(frozen=True)
class DecoderJacobian:
    """d mean(x) / dz at codes of data, by central differences, in the units that the pair sees.

    Attributes
    ----------
    moved
        Root mean square change of x, over its elements and data, when a latent moves by a standard
        deviation of its codes, ``(L,)``.
    cosine
        Mean over data of the absolute cosine of the angle between two columns, ``(L, L)``; nan for
        a column that is 0. Independent directions in D elements have about sqrt(2 / (pi D)).
    """

    moved: Array
    cosine: Array

    def mean_cosine(self, among: Array) -> float:
        """Return the mean over pairs of some elements, nan where there are fewer than two."""
        chosen = self.cosine[np.ix_(among, among)]
        pairs = chosen[~np.eye(len(chosen), dtype=bool)]
        return float(np.nanmean(pairs)) if np.isfinite(pairs).any() else float("nan")


def latents(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = 1_000,
    map: CodesMap = "pca",
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> LatentOverview:
    """Describe the codes of data: where they lie, which elements are in use, and for what.

    Parameters
    ----------
    run
        A trained run, or its folder; that of an autoencoder is as good.
    data, split, limit
        Whose codes: by default those of the first 1,000 test rows.
    map
        Of the codes: ``pca``, a plane of the only two elements or of the first two principal
        components, or ``umap``, which keeps neighbours together and has no distances.
    given
        Other conditions than those of the data, by name.
    seed
        Seed of the draws, and of ``umap``.
    data_dir
        Where original data files lie.

    Raises
    ------
    RequestError
        For latents that are discrete, on a sphere, or shared by all data, and for a map by UMAP
        that is not installed, of two latents, or of no more than 15 codes.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", config={"z_dim": 3}, training={"steps": 5})
    >>> seen = vaezoo.latents(run, limit=50)
    >>> seen.codes.shape, seen.correlation.shape
    ((50, 3), (3, 3))
    """
    require_choice("map", map, CodesMap)
    run, batches = rows_of(
        as_run(run), data, split=split, limit=limit, given=given, data_dir=data_dir
    )
    codes = find_codes(run, batches, split=split, limit=limit)
    draws = find_codes(run, batches, split=split, limit=limit, z="sample", seed=seed)
    units = units_of(run, codes, batches, split, seed)
    means, samples = (_columns(part, units) for part in (codes, draws))
    kept = np.asarray(~np.isnan(means).any(1))
    where = _map(map, means[kept], units, seed)
    variance = means[kept].var(0)
    label = labels_of(batches, split, len(codes))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.corrcoef(means[kept], rowvar=False).reshape(len(units), -1)
    return LatentOverview(
        units,
        means[kept],
        samples[kept],
        label if label is None else np.repeat(label, len(kept) // len(codes))[kept],
        variance,
        (samples - means)[kept].std(0),
        *_some_covariances(codes, units, kept, seed),
        _lost(draws, codes, units, seed),
        correlation,
        _pruned(
            draws, codes, [units[i] for i in np.flatnonzero(variance <= ACTIVE_VARIANCE)], seed
        ),
        _of_prior(codes, units, kept, seed),
        None if codes.length is not None else _jacobian(codes, units, seed),
        where,
    )


def _map(kind: CodesMap, codes: Array, units: Sequence[Unit], seed: int) -> Plane | Embedding:
    if kind == "umap":
        return embedding_of(codes, seed)
    return plane_of(codes, [unit.name for unit in units])


def _columns(codes: Codes, units: tuple[Unit, ...]) -> Array:
    """Return elements as columns, ``(N * T, L)``, nan behind the end of a sequence."""
    return paths_of(codes, units).reshape(-1, len(units)).astype(np.float32)


def _some_covariances(
    codes: Codes, units: Sequence[Unit], kept: Array, seed: int
) -> tuple[Array, Array]:
    """Return rows among those that are kept, and the covariance of q(z | x) of each."""
    places = np.flatnonzero(kept)
    some = np.unique(np.linspace(0, len(places) - 1, NUM_COVARIANCES).round().astype(int))
    rows, frames = np.divmod(places[some], len(kept) // len(codes))
    covariance = covariances_of(codes.at(rows), units, seed)
    return some, covariance[np.arange(len(some)), frames]


def _lost(draws: Codes, codes: Codes, units: Sequence[Unit], seed: int) -> Array:
    """Return the loss of log p(x | z) when an element is set to its mean over the data."""
    whole = _log_likelihood(draws, seed)
    alone = [_log_likelihood(_at_means(draws, codes, [unit]), seed) for unit in units]
    return whole - np.array(alone)


def _pruned(draws: Codes, codes: Codes, unused: Sequence[Unit], seed: int) -> float:
    """Return the loss of log p(x | z) when all of some elements are set to their means."""
    if not unused:
        return 0.0
    left = _log_likelihood(_at_means(draws, codes, unused), seed)
    return _log_likelihood(draws, seed) - left


def _at_means(draws: Codes, codes: Codes, units: Sequence[Unit]) -> Codes:
    """Return draws with some elements at the means of the codes, of all data and frames."""
    reals = dict(draws.reals)
    for unit in units:
        mean = codes.frames(unit.latent)[:, :, unit.index].nanmean()
        for name in draws.of_latent(unit.latent):
            reals[name] = reals[name].clone()
            reals[name][:, unit.index] = mean
    return replace(draws, reals=reals)


def _of_prior(codes: Codes, units: tuple[Unit, ...], kept: Array, seed: int) -> Array | None:
    """Return draws of the prior as columns, given the conditions of the rows."""
    try:
        with seeded(seed, codes.run.device):
            values = prior_predictive(codes.run.pair, codes.args)
    except RequestError:  # flat, as that of an autoencoder
        return None
    reals = {}
    for site in codes.sites:
        step = step_of(site.name) if takes_lengths(codes.run.pair) else None
        value = values[step[0]][:, step[1]] if step else values[site.name]
        reals[site.name] = site.to_reals(value)
    return _columns(replace(codes, reals=reals), units)[kept]


def _jacobian(codes: Codes, units: Sequence[Unit], seed: int) -> DecoderJacobian:
    """Return how the mean of x answers to each element, at the codes of the first data."""
    transform, some = codes.run.transform, codes.at(range(min(NUM_JACOBIANS, len(codes))))
    unit_of_x = transform.scale if transform.std is None else transform.spread
    columns, spreads = [], []
    for unit in units:
        spread = float(codes.frames(unit.latent)[:, 0, unit.index].std(correction=0))
        step = DIFFERENCE * max(spread, SMALLEST)
        ends = []
        for sign in (1, -1):
            reals = dict(some.reals)
            for name in some.of_latent(unit.latent):
                reals[name] = reals[name].clone()
                reals[name][:, unit.index] += sign * step
            x = shown(replace(some, reals=reals).decoded(seed=seed)).astype(np.float64)
            ends.append((x / unit_of_x).reshape(len(x), -1))
        columns.append((ends[0] - ends[1]) / (2 * step))
        spreads.append(spread)
    jacobian = np.nan_to_num(np.stack(columns, 1))  # (N, L, D)
    moved = np.sqrt((jacobian**2).mean((0, 2))) * np.array(spreads)
    norms = np.linalg.norm(jacobian, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        ways = np.where(norms > 0, jacobian / norms, np.nan)
    return DecoderJacobian(moved, np.abs(ways @ ways.swapaxes(1, 2)).mean(0))


def _log_likelihood(codes: Codes, seed: int) -> float:
    """Return log p(x | z) at codes, in nats per datum, per frame of sequences."""
    total = units = 0.0
    values = tuple(codes.reals.values())
    with torch.no_grad(), seeded(seed, codes.run.device):
        for rows in split_rows((*codes.args, *values), MOST_ROWS):
            args, reals = rows[: len(codes.args)], rows[len(codes.args) :]
            model = hold(codes.as_latents(reals))(model_of(codes.run.pair))
            sites = sample_sites(poutine.trace(model).get_trace(*args))
            observed = [site for site in sites.values() if site["is_observed"]]
            total += sum(float(log_density(site).sum()) for site in observed)
            units += float(units_per_row(codes.run.pair, args).sum())
    if not np.isfinite(total):
        raise RequestError("log p(x | z) of these data is not finite at their codes")
    return total / units
