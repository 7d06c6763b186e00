"""What a pass over data finds: range and nature of their values, and what is missing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array, Data, slices
from vaezoo.errors import RequestError

__all__ = [
    "FACTS",
    "Summary",
    "describe_missing",
    "finite_summary",
    "in_words",
    "likelihood_for",
    "refuse_missing",
    "summarize",
]


_FEW_LEVELS = 20  # each of which may have its own probability


@dataclass(frozen=True)
class Summary:
    """Range and nature of the values of x, over its valid frames for sequences.

    Attributes
    ----------
    low, high
        Of what is there and finite.
    num_missing, first_missing
        Entries that are nan, and the row of the first, with the frame for sequences.
    num_infinite, first_infinite
        The same of infinite values.
    is_binary, is_integer
        What all values are that are there.
    """

    low: float
    high: float
    num_missing: int
    first_missing: tuple[int, ...]
    num_infinite: int
    first_infinite: tuple[int, ...]
    is_binary: bool
    is_integer: bool


@dataclass
class _Places:
    """How many values are of some kind, and where the first stands."""

    number: int = 0
    first: tuple[int, ...] = ()

    def add(self, are: Array, valid: Array, start: int) -> None:
        """Count those of the frames ``valid`` of a piece of rows."""
        self.number += int(are.sum())
        if are.any() and not self.first:
            row, *frame = np.argwhere(valid)[are.reshape(len(are), -1).any(1)][0].tolist()
            self.first = (start + row, *frame)


def in_words(place: tuple[int, ...]) -> str:
    """Return where a value stands, as ``sequence 3, frame 0``.

    Examples
    --------
    >>> in_words((3,)), in_words((3, 0))
    ('row 3', 'sequence 3, frame 0')
    """
    names = ("row",) if len(place) == 1 else ("sequence", "frame")
    return ", ".join(f"{name} {n}" for name, n in zip(names, place, strict=False))


def summarize(data: Data) -> Summary:
    """Return range and nature of ``x`` in one pass over its rows, in pieces.

    Examples
    --------
    >>> from vaezoo.data import load_data
    >>> summary = summarize(load_data("digits"))
    >>> summary.low, summary.high, summary.is_binary
    (0.0, 16.0, False)
    """
    low, high, missing, infinite = np.inf, -np.inf, _Places(), _Places()
    binary = integer = True
    for start, rows, valid in data.pieces():
        x = rows[valid]
        finite = np.isfinite(x)
        if not finite.all():
            missing.add(np.isnan(x), valid, start)
            infinite.add(np.isinf(x), valid, start)
            x = x[finite]
        if x.size == 0:
            continue
        low, high = min(low, float(x.min())), max(high, float(x.max()))
        binary = binary and bool(((x == 0) | (x == 1)).all())
        integer = integer and (x.dtype.kind in "bui" or bool((x == np.floor(x)).all()))
    gaps, ends = (missing.number, missing.first), (infinite.number, infinite.first)
    return Summary(low, high, *gaps, *ends, binary, integer)


def finite_summary(data: Data) -> Summary:
    """Return range and nature of ``x``; a refusal of what no number of 32 bits can be.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> finite_summary(from_arrays(np.array([[1.0, np.nan], [2.0, 5.0]]))).high
    5.0
    """
    summary = summarize(data)
    if summary.num_infinite:
        raise RequestError(
            f"{data.name}: {summary.num_infinite} values of x are infinite, the first in "
            f"{in_words(summary.first_infinite)}; remove them, or write nan for what is missing"
        )
    if summary.low > summary.high:
        raise RequestError(f"{data.name}: all entries of x are missing (nan)")
    largest = max(abs(summary.low), abs(summary.high))
    if largest > float(np.finfo(np.float32).max):
        raise RequestError(
            f"{data.name} has values up to {largest:g}, too large for 32 bits; scale them"
        )
    return summary


def refuse_missing(data: Data) -> None:
    """Refuse data that have missing entries, with their number and the place of the first."""
    summary = summarize(data)
    if summary.num_missing:
        raise RequestError(
            f"{data.name}: {summary.num_missing} values of x are missing (nan), the first in "
            f"{in_words(summary.first_missing)}; fill them, or leave them out of the likelihood "
            "with `missing='nan'`"
        )


def describe_missing(data: Data, names: Sequence[str] = ("x",)) -> str:
    """Return how many entries of what is observed are missing, in one line; empty when none is.

    Parameters
    ----------
    data
        Rows.
    names
        The arguments that count.

    Examples
    --------
    >>> from vaezoo.data import from_arrays
    >>> describe_missing(from_arrays(np.array([[1.0, np.nan], [2.0, 3.0]])))
    '1 of 2 rows have 1 missing entry of x (25 %): it is left out of the likelihood'
    """
    numbers = {name: _num_missing(data, name) for name in names if name in data.incomplete}
    if not numbers:
        return ""
    rows = np.unique(np.concatenate([data.incomplete[name] for name in numbers])).size
    entries = " and ".join(
        f"{number} missing {'entry' if number == 1 else 'entries'} of {name} "
        f"({100 * number / _num_entries(data, name):.2g} %)"
        for name, number in numbers.items()
    )
    are = "it is" if sum(numbers.values()) == 1 else "they are"
    return f"{rows} of {len(data.x)} rows have {entries}: {are} left out of the likelihood"


def _num_missing(data: Data, name: str) -> int:
    if name == "x":
        return summarize(data).num_missing
    array = data.arrays[name]
    return sum(int(np.isnan(array[some]).sum()) for some in slices(array))


def _num_entries(data: Data, name: str) -> int:
    if name == "x" and data.length is not None:  # its padding is no entry
        return int(data.length.sum()) * int(np.prod(data.x_shape))
    return data.arrays[name].size


def likelihood_for(data: Data, summary: Summary) -> str:
    """Return the name of a likelihood that explains all values as they are stored.

    Examples
    --------
    >>> from vaezoo.data import load_data
    >>> digits = load_data("digits")
    >>> likelihood_for(digits, summarize(digits))
    'categorical'
    """
    if summary.is_binary:
        return "bernoulli"
    if not summary.is_integer or summary.low < 0:
        return "gaussian"
    if summary.high <= _FEW_LEVELS:
        return "categorical"
    return "discretized-logistic" if data.kind == "images" else "negative-binomial"


def _largest(data: Data) -> int | None:
    """Return the largest value of whole numbers from 0."""
    summary = finite_summary(data)
    return int(summary.high) if summary.is_integer and summary.low >= 0 else None


def _num_levels(data: Data) -> int | None:
    largest = _largest(data)
    return None if largest is None else max(2, largest + 1)


def _totals(data: Data) -> Array | None:
    """Return the sum of each datum of counts, or of each frame."""
    if _largest(data) is None:
        return None
    axes = tuple(range(-len(data.x_shape), 0))
    totals = [np.nansum(rows[valid], axis=axes) for _, rows, valid in data.pieces()]
    return np.concatenate(totals).astype(np.float64)


def _mean_total(data: Data) -> int | None:
    totals = _totals(data)
    return None if totals is None else max(1, round(float(totals.mean())))


def _log_total(data: Data) -> tuple[float, float] | None:
    """Return mean and deviation of the logarithm of the totals of the rows that have one."""
    totals = _totals(data)
    if totals is None or not (totals > 0).any():
        return None
    logs = np.log(totals[totals > 0])
    return round(float(logs.mean()), 6), round(max(float(logs.std()), 0.05), 6)


def _columns(data: Data) -> tuple[str, ...]:
    """Return the kind of each element: of a table, its columns."""
    size = int(np.prod(data.x_shape))
    low, high = np.full(size, np.inf), np.full(size, -np.inf)
    whole, total, number = np.ones(size, bool), np.zeros(size), np.zeros(size)
    for _, rows, valid in data.pieces():
        x = np.asarray(rows[valid], np.float64).reshape(-1, size)
        there = np.isfinite(x)
        low = np.minimum(low, np.where(there, x, np.inf).min(0, initial=np.inf))
        high = np.maximum(high, np.where(there, x, -np.inf).max(0, initial=-np.inf))
        filled = np.where(there, x, 0.0)
        whole &= (filled == np.floor(filled)).all(0)
        total, number = total + filled.sum(0), number + there.sum(0)
    mean = total / np.maximum(number, 1)
    return tuple(
        _kind_of(data, place, low[place], high[place], bool(whole[place]), mean[place])
        for place in range(size)
    )


def _kind_of(data: Data, place: int, low: float, high: float, is_whole: bool, mean: float) -> str:
    name, _, value = (data.columns[place] if data.columns else "").rpartition("=")
    # A column of text stands as one element for each value; of two values one tells the other.
    if value in data.categories.get(name, ()) and len(data.categories[name]) > 2:
        return f"one-of:{name}"
    if not is_whole or low < 0 or high <= low:
        return "real"
    if high == 1:
        return "binary"
    return f"category:{high + 1:.0f}" if high <= _FEW_LEVELS else f"count:{mean:.4g}"


def _num_labels(data: Data) -> int | None:
    """Return the largest label plus 1; one that is not known is negative."""
    label = data.arrays.get("label")
    return None if label is None or label.dtype.kind not in "iu" else max(2, int(label.max()) + 1)


FACTS: Mapping[str, Callable[[Data], Any]] = {
    "columns": _columns,
    "largest": _largest,
    "log_total": _log_total,
    "mean_total": _mean_total,
    "num_labels": _num_labels,
    "num_levels": _num_levels,
}
