"""Data with missing entries: draws of them, by the chains of :mod:`vaezoo.inference.metropolis`."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaezoo.data import Data, DataLike
from vaezoo.data.batches import Batches
from vaezoo.data.dataset import Array, with_mask
from vaezoo.data.padding import is_frame
from vaezoo.errors import RequestError, require_positive, shown
from vaezoo.inference.metropolis import draw_missing
from vaezoo.pairs.pieces import join_sequences
from vaezoo.pairs.sites import Args, takes_lengths
from vaezoo.runs import Run, RunLike, as_run
from vaezoo.runs.conditions import Given, under_conditions
from vaezoo.runtime.device import seeded

__all__ = ["Imputation", "impute"]

MOST_OF_OWN = 16


@dataclass(frozen=True)
class Imputation:
    """Data with draws of their missing entries, in units of the data.

    Attributes
    ----------
    x
        Draws ``(S, N, *x_shape)``; observed entries are the same in all.
    missing
        Which entries are draws, ``(N, *x_shape)``.
    truth
        What stands in the data, ``(N, *x_shape)``; nan where nobody knows.
    length
        Lengths of sequences, ``(N,)``; None for others.
    acceptance
        Share of the proposals that were taken.
    """

    x: Array
    missing: Array
    truth: Array
    length: Array | None
    acceptance: float

    @property
    def mean(self) -> Array:
        """Mean of the draws, ``(N, *x_shape)``."""
        return np.asarray(self.x.mean(0))


def impute(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str | None = None,
    fraction: float | None = None,
    gap: tuple[int, int] | None = None,
    num_samples: int = 100,
    burn_in: int = 100,
    correct: bool = True,
    limit: int | None = None,
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Imputation:
    """Draw missing entries of data: those that are nan, and those that are to be hidden.

    Parameters
    ----------
    run
        A trained run, or its folder.
    data
        In any form that :func:`fit` takes, in units of the run's data, perhaps with nan; by default
        the data of the run.
    split
        Which rows; by default those for test of the run's data, and all of other data.
    fraction
        Hide this share of the entries, at random.
    gap
        Hide the frames ``start ... end - 1`` of every sequence.
    num_samples
        Draws that are kept, one after each step of the chain.
    burn_in
        Steps before them.
    correct
        As for :func:`draw_missing`.
    limit
        Only the first so many rows; by default 16 of the run's data, and all of other data.
    given
        Conditions in the place of those of the data, by name: a value for all rows, or for each.
    seed
        Seed of the draws, and of what is hidden.
    data_dir
        Where original data files lie.

    Raises
    ------
    RequestError
        When nothing is missing, what is to be hidden lies outside the data, or what is given is no
        condition of the pair.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", training={"steps": 5})
    >>> filled = vaezoo.impute(run, fraction=0.2, num_samples=10, burn_in=5)
    >>> filled.x.shape, filled.mean.shape
    ((10, 16, 8, 8), (16, 8, 8))
    """
    run = as_run(run)
    require_positive("num_samples", num_samples, "draw")
    require_positive("limit", limit, "row")
    rows, unknown = _rows(run, data, split, limit, data_dir)
    if given:
        rows = under_conditions(rows, given, run.roles.conditions, "test")
    _refuse_others(run, rows)
    missing = unknown | _hidden(run, rows, fraction, gap, seed)
    batches = run.batches(_masked(rows, missing) if "mask" in run.shapes else rows)
    if not missing.any():
        raise RequestError(
            f"nothing is missing in {rows.name}: mark entries as nan, or hide some with "
            "`fraction=0.2` or `gap=(10, 20)`"
        )
    draw = partial(
        draw_missing, run.pair, num_samples=num_samples, burn_in=burn_in, correct=correct
    )
    with seeded(seed, run.device):
        parts = [(x, *draw(args, where)) for x, args, where in _started(batches, missing)]
    return _imputation(run, rows, parts, missing, unknown)


def _started(batches: Batches, missing: Array) -> Iterator[tuple[Tensor, Args, Tensor]]:
    """Yield x of each batch, the batch with zeros where x is missing, and which entries are."""
    place, start = batches.names.index("x"), 0
    for args in batches.fixed("test"):
        x = args[place]
        where = torch.from_numpy(missing[start : start + len(x)]).to(x.device)[:, : x.shape[1]]
        yield x, (*args[:place], torch.where(where, 0.0, x), *args[place + 1 :]), where
        start += len(x)


def _rows(
    run: Run,
    data: DataLike | None,
    split: str | None,
    limit: int | None,
    data_dir: str | Path | None,
) -> tuple[Data, Array]:
    """Return the rows to fill in, as a data set without nan, and where nan was."""
    if data is None:
        split, limit = split or "test", limit or MOST_OF_OWN
    whole = run.find_data(data, data_dir=data_dir)
    rows = (whole.rows(split) if split else np.arange(len(whole.x)))[:limit]
    arrays = {name: array[rows] for name, array in whole.arrays.items()}
    unknown = np.isnan(arrays["x"])
    if unknown.all():
        raise RequestError(f"{whole.name}: all entries are missing")
    if unknown.any():
        arrays["x"] = _with_some_value(arrays["x"], unknown)
    # Not with the checksum of the whole, whose rows have other numbers.
    test = {"test": np.arange(len(rows))}
    return replace(whole, arrays=arrays, splits=test, checksum=f"rows of {whole.checksum}"), unknown


def _refuse_others(run: Run, rows: Data) -> None:
    """Refuse entries that are missing of what the pair gets beside x, which no draw fills."""
    others = [name for name in rows.incomplete if name in run.shapes and name not in ("x", "mask")]
    if others:
        raise RequestError(
            f"entries of {others[0]} are missing in {rows.name}, and only those of x are drawn; "
            "fill them first, with what reconstruct says of them"
        )


def _with_some_value(x: Array, unknown: Array) -> Array:
    """Fill each element, of frames for sequences, with a value that it has elsewhere."""
    for axis in (0, tuple(range(x.ndim - 1)), None):  # of the element, of its column, of anything
        some = np.nanmax(np.where(unknown, -np.inf, x), axis=axis, keepdims=True)
        x = np.where(unknown & np.isfinite(some), some, x)
        unknown = np.isnan(x)
    return x


def _masked(rows: Data, missing: Array) -> Data:
    """Return rows whose ``mask`` says what is missing, and what is hidden."""
    present = with_mask(replace(rows, arrays={**rows.arrays, "x": np.where(missing, np.nan, 0.0)}))
    return replace(rows, arrays={**rows.arrays, "mask": present.arrays["mask"]})


def _hidden(
    run: Run, rows: Data, fraction: float | None, gap: tuple[int, int] | None, seed: int
) -> Array:
    """Return which entries are to be hidden, ``(N, *x_shape)``."""
    hidden = np.zeros(rows.x.shape, bool)
    if fraction is not None:
        if not 0 < fraction <= 1:
            raise RequestError(f"`fraction` takes a share from 0 to 1, not {fraction:g}")
        hidden |= np.random.default_rng(seed).random(rows.x.shape) < fraction
    if gap is not None:
        hidden[:, slice(*_checked_gap(run, rows, gap))] = True
    if rows.length is not None:
        hidden &= is_frame(rows.length, rows.x.shape[1])[..., None]
    return hidden


def _checked_gap(run: Run, rows: Data, gap: tuple[int, int]) -> tuple[int, int]:
    if not (isinstance(gap, tuple | list) and len(gap) == 2):
        raise RequestError(f"{shown(gap)} is no range of frames; write it as `gap=(10, 20)`")
    start, end = gap
    if rows.length is None and takes_lengths(run.pair):
        raise RequestError(f"{rows.name} has no 'length', which {run.name} needs")
    if rows.length is None:
        raise RequestError(
            f"`gap` takes a run on sequences, and {run.name} is none; use `fraction`"
        )
    if not 0 <= start < end:
        raise RequestError(f"`gap={gap}` holds no frame; write it as `gap=(10, 20)`")
    shortest = int(rows.length.min())
    if end > shortest:
        row = int(rows.length.argmin())
        raise RequestError(
            f"`gap={gap}` ends behind sequence {row}, which has {shortest} frames; use an "
            f"end of at most {shortest}"
        )
    return start, end


def _imputation(
    run: Run,
    rows: Data,
    parts: list[tuple[Tensor, Tensor, float]],
    missing: Array,
    unknown: Array,
) -> Imputation:
    length = rows.length
    truth = _joined([run.transform.invert(x) for x, _, _ in parts], 0, rows.x.shape[1])
    filled = _joined([run.transform.invert(draws) for _, draws, _ in parts], 1, rows.x.shape[1])
    truth = np.where(unknown, np.nan, truth)
    if length is not None:
        ended = ~is_frame(length, rows.x.shape[1])[..., None]
        truth, filled = np.where(ended, np.nan, truth), np.where(ended, np.nan, filled)
    share = np.average([taken for *_, taken in parts], weights=[len(x) for x, *_ in parts])
    return Imputation(filled, missing, truth, length, float(share))


def _joined(parts: list[Tensor], dim: int, longest: int) -> Array:
    """Join rows that were cut to different lengths, filled up with zeros."""
    values: Array = join_sequences(parts, 0.0, dim=dim, num_frames=longest).cpu().numpy()
    return values
