"""Data with missing entries: draws of them, by the chains of :mod:`vaezoo.inference.completion`."""

from collections.abc import Iterator, Mapping, Sequence
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
from vaezoo.errors import RequestError, nearest, require_positive, shown
from vaezoo.inference.completion import draw_missing, split_r_hat
from vaezoo.pairs.pieces import join_sequences
from vaezoo.pairs.sites import Args, takes_lengths
from vaezoo.runs import Run, RunLike, as_run
from vaezoo.runs.conditions import Given, under_conditions
from vaezoo.runtime.device import seeded

__all__ = ["Filled", "Imputation", "impute"]

MOST_OF_OWN = 16


@dataclass(frozen=True)
class Filled:
    """An argument with draws of its missing entries, in units of the data.

    Attributes
    ----------
    draws
        ``(S, N, ...)``; observed entries are the same in all.
    missing
        Which entries are draws, ``(N, ...)``.
    truth
        What stands in the data, ``(N, ...)``; nan where nobody knows.
    """

    draws: Array
    missing: Array
    truth: Array

    @property
    def point(self) -> Array:
        """Mean of the draws, ``(N, ...)``; of whole numbers, as labels, the most frequent."""
        if self.draws.dtype.kind == "f":
            return np.asarray(self.draws.mean(0))
        values = np.unique(self.draws)
        most = np.stack([(self.draws == value).sum(0) for value in values]).argmax(0)
        return np.asarray(values[most])


@dataclass(frozen=True)
class Imputation:
    """Data with draws of their missing entries, in units of the data.

    Attributes
    ----------
    arguments
        Each observed argument that has missing entries, and x; without any, x has one draw.
    length
        Lengths of sequences, ``(N,)``; None for others.
    acceptance
        Share of the proposals that were taken.
    r_hat
        Split R-hat of the draws that a tenth of the missing entries exceeds: above 1.1 the chains
        have not mixed, and the draws are not those of p(x_missing | x_observed) yet. NaN of fewer
        than 32 draws.
    """

    arguments: Mapping[str, Filled]
    length: Array | None
    acceptance: float
    r_hat: float

    @property
    def x(self) -> Array:
        """Draws of x, ``(S, N, *x_shape)``."""
        return self.arguments["x"].draws

    @property
    def missing(self) -> Array:
        """Which entries of x are draws, ``(N, *x_shape)``."""
        return self.arguments["x"].missing

    @property
    def truth(self) -> Array:
        """What stands in the data as x, ``(N, *x_shape)``; nan where nobody knows."""
        return self.arguments["x"].truth

    @property
    def mean(self) -> Array:
        """Mean of the draws of x, ``(N, *x_shape)``."""
        return self.arguments["x"].point


def impute(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str | None = None,
    fraction: float | None = None,
    gap: tuple[int, int] | None = None,
    hide: Sequence[str] = (),
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
        Hide this share of the entries of x, at random.
    gap
        Hide the frames ``start ... end - 1`` of every sequence, of all that is observed.
    hide
        Hide these observed arguments as a whole, as one of two modalities.
    num_samples
        Draws that are kept; see :func:`draw_missing`.
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
        When nothing is missing, what is to be hidden lies outside the data or is not observed, or
        what is given is no condition of the pair.

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
    _refuse_conditions(run, rows)
    hidden = _hidden(run, rows, fraction, gap, hide, seed)
    missing = {name: unknown[name] | hidden[name] for name in unknown}
    missing = {name: where for name, where in missing.items() if where.any()}
    if not missing:
        raise RequestError(
            f"nothing is missing in {rows.name}: mark entries as nan, or hide some with "
            "`fraction=0.2`, `gap=(10, 20)` or `hide=['x']`"
        )
    has_mask = "mask" in run.shapes and "x" in missing
    batches = run.batches(_masked(rows, missing["x"]) if has_mask else rows)
    draw = partial(
        draw_missing, run.pair, num_samples=num_samples, burn_in=burn_in, correct=correct
    )
    parts = []
    with seeded(seed, run.device):
        for named, args, where in _started(batches, missing):
            parts.append((named, *draw(args, where)))
    return _imputation(run, rows, parts, missing, unknown)


def _started(
    batches: Batches, missing: Mapping[str, Array]
) -> Iterator[tuple[dict[str, Tensor], Args, dict[str, Tensor]]]:
    """Yield each batch by name, the batch with zeros where it is missing, and where that is."""
    start = 0
    for args in batches.fixed("test"):
        named = dict(zip(batches.names, args, strict=True))
        where = {
            name: _cut(entries[start : start + len(args[0])], named[name])
            for name, entries in missing.items()
        }
        begun = {n: torch.where(where[n], 0, v) if n in where else v for n, v in named.items()}
        yield named, tuple(begun.values()), where
        start += len(args[0])


def _cut(entries: Array, like: Tensor) -> Tensor:
    """Return entries of a batch, whose padding is cut."""
    rows = torch.from_numpy(entries).to(like.device)
    return rows[:, : like.shape[1]] if like.dim() > 1 else rows


def _rows(
    run: Run,
    data: DataLike | None,
    split: str | None,
    limit: int | None,
    data_dir: str | Path | None,
) -> tuple[Data, dict[str, Array]]:
    """Return the rows to fill in, as a data set without nan, and where nan was."""
    if data is None:
        split, limit = split or "test", limit or MOST_OF_OWN
    whole = run.find_data(data, data_dir=data_dir)
    rows = (whole.rows(split) if split else np.arange(len(whole.x)))[:limit]
    arrays = {name: array[rows] for name, array in whole.arrays.items()}
    for name in run.roles.data:
        if name not in arrays:
            raise RequestError(f"{whole.name} has no '{name}', which {run.name} needs")
    unknown = {name: np.isnan(arrays[name]) for name in run.roles.data}
    for name, where in unknown.items():
        if where.all():
            raise RequestError(f"{whole.name}: all entries of {name} are missing")
        if where.any():
            together = arrays[name] if takes_lengths(run.pair) else _from_rows(arrays[name], where)
            arrays[name] = _with_some_value(together, np.isnan(together))
    # Not with the checksum of the whole, whose rows have other numbers.
    test = {"test": np.arange(len(rows))}
    return replace(whole, arrays=arrays, splits=test, checksum=f"rows of {whole.checksum}"), unknown


def _refuse_conditions(run: Run, rows: Data) -> None:
    """Refuse entries that are missing of what no site observes, so that no draw fills them."""
    others = [name for name in rows.incomplete if name in run.roles.conditions]
    if others:
        raise RequestError(
            f"entries of {others[0]} are missing in {rows.name}, and no site of the model observes "
            f"it, so that nothing says what they may be; fill them, or give it, "
            f"`given={{'{others[0]}': ...}}`"
        )


def _from_rows(x: Array, unknown: Array) -> Array:
    """Fill elements that are missing together with those of one row that has them.

    So they are what a site can observe where its elements depend on each other, as one-hot ones.
    """
    flat, gaps = x.reshape(len(x), -1).copy(), unknown.reshape(len(x), -1)
    patterns, block = np.unique(gaps, axis=1, return_inverse=True)
    for number, gap in enumerate(patterns.T):
        if gap.any() and not gap.all():
            columns = np.flatnonzero(block == number)
            flat[np.ix_(gap, columns)] = flat[np.argmin(gap), columns]
    return flat.reshape(x.shape)


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
    run: Run,
    rows: Data,
    fraction: float | None,
    gap: tuple[int, int] | None,
    hide: Sequence[str],
    seed: int,
) -> dict[str, Array]:
    """Return which entries are to be hidden, ``(N, ...)``, of each observed argument."""
    names = run.roles.data
    hidden = {name: np.zeros(rows.arrays[name].shape, bool) for name in names}
    if fraction is not None:
        if not 0 < fraction <= 1:
            raise RequestError(f"`fraction` takes a share from 0 to 1, not {fraction:g}")
        hidden[_x_of(names)] |= (
            np.random.default_rng(seed).random(rows.arrays[_x_of(names)].shape) < fraction
        )
    if gap is not None:
        frames = slice(*_checked_gap(run, rows, gap))
        for name in filter(partial(_is_in_time, rows), names):
            hidden[name][:, frames] = True
    for name in (hide,) if isinstance(hide, str) else hide:
        if name not in names:
            raise RequestError(f"`hide`: '{name}' is not observed; {nearest(name, names)}")
        hidden[name][:] = True
    if rows.length is not None:
        for name in filter(partial(_is_in_time, rows), names):
            there = is_frame(rows.length, rows.x.shape[1])
            hidden[name] &= there.reshape(*there.shape, *[1] * (hidden[name].ndim - 2))
    return hidden


def _x_of(names: Sequence[str]) -> str:
    return "x" if "x" in names else names[0]


def _is_in_time(rows: Data, name: str) -> bool:
    frames = rows.x.shape[1:2]
    return rows.length is not None and rows.arrays[name].shape[1:2] == frames


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
    parts: Sequence[tuple[dict[str, Tensor], dict[str, Tensor], float]],
    missing: Mapping[str, Array],
    unknown: Mapping[str, Array],
) -> Imputation:
    names = dict.fromkeys(("x", *missing))
    arguments = {name: _argument(run, rows, name, parts, missing, unknown) for name in names}
    sizes = [len(named["x"]) for named, *_ in parts]
    share = np.average([taken for *_, taken in parts], weights=sizes)
    return Imputation(arguments, rows.length, float(share), _r_hat(arguments))


def _r_hat(arguments: Mapping[str, Filled]) -> float:
    """Return the R-hat that a tenth of the missing entries exceeds."""
    values = [
        split_r_hat(torch.from_numpy(filled.draws[:, filled.missing]))
        for filled in arguments.values()
        if filled.missing.any()
    ]
    return float(torch.cat(values).quantile(0.9))


def _argument(
    run: Run,
    rows: Data,
    name: str,
    parts: Sequence[tuple[dict[str, Tensor], dict[str, Tensor], float]],
    missing: Mapping[str, Array],
    unknown: Mapping[str, Array],
) -> Filled:
    invert = run.transform.invert if name == "x" else lambda value: value
    frames = rows.x.shape[1] if _is_in_time(rows, name) else None
    whole = [invert(named[name]) for named, *_ in parts]
    truth = _joined(whole, 0, frames)
    # What has no missing entries is drawn as it is.
    of_parts = [(named[name], values.get(name)) for named, values, _ in parts]
    draws = _joined([invert(x[None] if new is None else new) for x, new in of_parts], 1, frames)
    nothing = np.zeros(truth.shape, bool)
    if unknown.get(name, nothing).any():
        truth = np.where(unknown[name], np.nan, truth)
    if rows.length is not None and frames is not None and truth.dtype.kind == "f":
        there = is_frame(rows.length, frames)
        ended = ~there.reshape(*there.shape, *[1] * (truth.ndim - 2))
        truth, draws = np.where(ended, np.nan, truth), np.where(ended, np.nan, draws)
    return Filled(draws, missing.get(name, nothing), truth)


def _joined(parts: list[Tensor], dim: int, frames: int | None) -> Array:
    """Join rows; sequences that were cut to different lengths are filled up with zeros."""
    if frames is None:
        return np.asarray(torch.cat(parts, dim).cpu().numpy())
    return np.asarray(join_sequences(parts, 0.0, dim=dim, num_frames=frames).cpu().numpy())
