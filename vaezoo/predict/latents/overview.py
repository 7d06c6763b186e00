"""What the codes of a run are like: where they lie, which elements are in use, and for what."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from pyro import poutine

from vaezoo.data import DataLike
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.markup import table
from vaezoo.pairs.accounting import units_per_row
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.pieces import MOST_ROWS, split_rows
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import model_of, sample_sites
from vaezoo.predict.latents.codes import Codes, find_codes, rows_of
from vaezoo.predict.latents.units import Unit, units_of
from vaezoo.runs import RunLike, as_run
from vaezoo.runs.conditions import Given
from vaezoo.runtime.device import seeded

__all__ = ["LatentOverview", "latents"]


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
    lost
        Nats per datum (frame) of log p(x | z) that are lost when an element is set to its mean over
        the data, ``(L,)``.
    correlation
        Of the codes, ``(L, L)``; nan for an element that never varies.
    """

    units: tuple[Unit, ...]
    codes: Array
    draws: Array
    label: Array | None
    variance: Array
    spread: Array
    lost: Array
    correlation: Array

    def _repr_html_(self) -> str:
        """Return a table for a notebook: what each element costs, and what it is for."""
        head = ("latent", "KL, nats", "lost, nats", "variance of codes", "sd of q")
        numbers = zip(self.lost, self.variance, self.spread, strict=True)
        rows = [
            (unit.name, "" if unit.kl is None else f"{unit.kl:.3f}", *(f"{x:.3f}" for x in values))
            for unit, values in zip(self.units, numbers, strict=True)
        ]
        return table(rows, head)

    @property
    def num_active(self) -> int:
        """Elements whose codes have a variance above 0.01 over the data."""
        return int((self.variance > 0.01).sum())


def latents(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = 1_000,
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
    given
        Other conditions than those of the data, by name.
    seed
        Seed of the draws.
    data_dir
        Where original data files lie.

    Raises
    ------
    RequestError
        For latents that are discrete, on a sphere, or shared by all data.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", config={"z_dim": 3}, training={"steps": 5})
    >>> seen = vaezoo.latents(run, limit=50)
    >>> seen.codes.shape, seen.correlation.shape
    ((50, 3), (3, 3))
    """
    run, batches = rows_of(
        as_run(run), data, split=split, limit=limit, given=given, data_dir=data_dir
    )
    codes = find_codes(run, batches, split=split, limit=limit)
    draws = find_codes(run, batches, split=split, limit=limit, z="sample", seed=seed)
    units = units_of(run, codes, batches, split, seed)
    means, drawn = (_columns(part, units) for part in (codes, draws))
    kept = np.asarray(~np.isnan(means).any(1))
    with np.errstate(invalid="ignore", divide="ignore"):
        correlation = np.corrcoef(means[kept], rowvar=False).reshape(len(units), -1)
    return LatentOverview(
        units,
        means[kept],
        drawn[kept],
        _labels(batches.data.arrays.get("label"), batches.data.rows(split)[:limit], codes, kept),
        means[kept].var(0),
        (drawn - means)[kept].std(0),
        _lost(draws, codes, units, seed),
        correlation,
    )


def _columns(codes: Codes, units: tuple[Unit, ...]) -> Array:
    """Return elements as columns, ``(N * T, L)``, nan behind the end of a sequence."""
    frames = {unit.latent: codes.frames(unit.latent).cpu().numpy() for unit in units}
    longest = max(value.shape[1] for value in frames.values())
    parts = [np.broadcast_to(frames[u.latent][:, :, u.index], (len(codes), longest)) for u in units]
    return np.stack(parts, -1).reshape(-1, len(units))


def _labels(label: Array | None, rows: Array, codes: Codes, kept: Array) -> Array | None:
    if label is None or label.ndim != 1:
        return None
    return np.asarray(np.repeat(label[rows], len(kept) // len(codes))[kept])


def _lost(draws: Codes, codes: Codes, units: tuple[Unit, ...], seed: int) -> Array:
    """Return the loss of log p(x | z) when an element is set to its mean over the data."""
    whole = _log_likelihood(draws, seed)
    lost = []
    for unit in units:
        mean = codes.frames(unit.latent)[:, :, unit.index].nanmean()
        reals = dict(draws.reals)
        for name in draws.of_latent(unit.latent):
            reals[name] = reals[name].clone()
            reals[name][:, unit.index] = mean
        lost.append(whole - _log_likelihood(replace(draws, reals=reals), seed))
    return np.array(lost)


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
