"""The data contract: can this model explain these data? Answered before training starts.

What a pair can explain is the support of the distributions of its observed sites; nothing else of
the pair is looked at.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from torch import nn
from torch.distributions import constraints

from vaezoo.data.batches import to_tensor
from vaezoo.data.dataset import Array, Data, slices
from vaezoo.data.padding import is_frame
from vaezoo.data.transform import Transform, standardization
from vaezoo.distributions.families import family, is_boolean, is_discrete, support_of
from vaezoo.errors import RequestError
from vaezoo.observations.missing import filled
from vaezoo.observations.roles import Observation, roles_of
from vaezoo.options import Binarize
from vaezoo.pairs.lengths import first_frames
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import PairTrace, argument_names, step_of, takes_lengths, trace_pair
from vaezoo.runtime.device import device_of
from vaezoo.runtime.isolation import isolated

__all__ = [
    "Summary",
    "check_transform",
    "choose_transform",
    "describe_missing",
    "in_words",
    "probe",
    "refuse_missing",
    "summarize",
]


TRIAL_ROWS = 16


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


def probe(pair: nn.Module, data: Data, num_rows: int = 2) -> PairTrace:
    """Run a pair on rows of zeros shaped like the data, of few frames, and return its sites."""
    rows = {name: data.arrays[name][:num_rows] for name in argument_names(pair)}
    args = {name: to_tensor(array, name) for name, array in rows.items() if name != "x"}
    args = {name: args.get(name, torch.zeros(rows[name].shape)) for name in rows}
    with torch.no_grad(), isolated(), pyro.validation_enabled(False):
        return trace_pair(pair, tuple(a.to(device_of(pair)) for a in first_frames(args).values()))


def _observed_sites(pair: nn.Module, data: Data) -> list[tuple[str, Any, Observation]]:
    """Return the observed sites of a pair: name, distribution, and what it takes of the data.

    What is computed from the data is left out: whatever it is, it is not them.
    """
    rows = {name: to_tensor(data.arrays[name][:TRIAL_ROWS], name) for name in argument_names(pair)}
    rows = first_frames({**rows, "x": rows["x"].to(torch.float32)})
    device = device_of(pair)
    with probing(pair, device), isolated():
        observed = roles_of(pair, tuple(filled(arg).to(device) for arg in rows.values())).observed
    sites = []
    for name, site in probe(pair, data).observed.items():
        step = step_of(name) if takes_lengths(pair) else None
        taken = observed.get(step[0] if step else name)
        sites += [(name, site["fn"], taken)] if taken is not None else []
    return sites


def choose_transform(
    pair: nn.Module, data: Data, *, binarize: Binarize = "auto", standardize: bool = False
) -> Transform:
    """Return the transform that makes the data fit the pair's observed sites.

    Grey levels are binarised for a Bernoulli likelihood unless that is forbidden. Everything else
    that does not fit is refused.

    Raises
    ------
    RequestError
        When values are not finite, or lie outside the support of an observed site. The message
        names the setting that solves it.

    Examples
    --------
    >>> from vaezoo.config import build_model
    >>> from vaezoo.data import load_data
    >>> from vaezoo.registry import get_model
    >>> pair = build_model(get_model("vae-bernoulli"), {}, (8, 8))
    >>> choose_transform(pair, load_data("digits")).binarize
    'dynamic'
    """
    summary = _finite_summary(data)
    of_x = [fn for _, fn, taken in _observed_sites(pair, data) if taken.argument == "x"]
    needs_binary, counts = any(map(is_boolean, of_x)), any(map(_is_count, of_x))
    scale = 1.0 if counts else data.scale  # bytes are grey levels, or numbers of something
    if binarize == "auto":
        draw = needs_binary and scale != 1.0 and not (summary.is_binary or standardize)
        binarize = "dynamic" if draw else "none"
    if standardize and binarize != "none":
        raise RequestError("`standardize` and `binarize` exclude each other")
    mean_and_std = standardization(data) if standardize else (None, None)
    transform = Transform(scale, binarize, *mean_and_std)
    _check(transform, pair, data, summary)
    return transform


def check_transform(transform: Transform, pair: nn.Module, data: Data) -> None:
    """Refuse data that a pair cannot explain after a transform that was chosen for other data."""
    _check(transform, pair, data, _finite_summary(data))


def _finite_summary(data: Data) -> Summary:
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


def _check(transform: Transform, pair: nn.Module, data: Data, summary: Summary) -> None:
    low, high = summary.low / transform.scale, summary.high / transform.scale
    unit = low >= 0 and high <= 1
    span = f"{data.name} has values {summary.low:g} ... {summary.high:g}"
    if transform.binarize != "none":
        if not unit:
            raise RequestError(
                f"{span}, which cannot be probabilities: "
                f"`binarize={transform.binarize!r}` needs 0 ... 1"
            )
        binary = True
    else:
        binary = summary.is_binary and transform.scale == 1.0 and transform.mean is None
    for name, fn, taken in _observed_sites(pair, data):
        if taken.argument != "x":
            _check_values(name, fn, taken, data)
        elif taken.elements is not None and transform.binarize == "none":
            if transform.mean is None:
                _check_values(name, fn, taken, data, transform.scale)
        elif is_boolean(fn) and not binary:
            draw = "`binarize='dynamic'` or " if unit else ""
            raise RequestError(
                f"{span}, but site '{name}' explains 0 and 1 only; "
                f"use {draw}`likelihood='gaussian'`"
            )
        else:
            _check_support(name, fn, low, high, span, transform)
            if transform.mean is None and transform.binarize == "none":
                _check_values(name, fn, taken, data, transform.scale)


def _is_count(fn: Any) -> bool:
    """Return whether a distribution is one of whole numbers that may be above 1."""
    return is_discrete(fn) and not is_boolean(fn)


def _check_values(name: str, fn: Any, taken: Observation, data: Data, scale: float = 1.0) -> None:
    """Refuse values that a site does not explain, of the elements that it takes."""
    support = support_of(fn)
    if support.event_dim or not _may_refuse(support):
        return
    refused, first = 0, -1
    for start, rows, valid in _pieces_of(data, taken.argument):
        flat = rows.reshape(*valid.shape, -1)
        values = flat if taken.elements is None else flat[..., taken.elements.numpy()]
        inside = support.check(torch.as_tensor(values.astype(np.float32)) / scale).numpy()
        outside = (~inside & ~np.isnan(values.astype(np.float32))).any(-1) & valid
        if outside.any() and first < 0:
            first = start + int(np.argwhere(outside)[0][0])
        refused += int(outside.sum())
    if refused:
        what = "frames" if data.length is not None and valid.ndim == 2 else "rows"
        raise RequestError(
            f"{data.name}: site '{name}' ({family(fn)}) does not explain '{taken.argument}' in "
            f"{refused} {what}, the first in row {first}: {_expected(support)}; use another "
            "likelihood, or change the values"
        )


def _may_refuse(support: Any) -> bool:
    return support is not constraints.real and hasattr(support, "check")


def _expected(support: Any) -> str:
    """Say what a support holds."""
    if support is constraints.boolean:
        return "it takes 0 and 1 only"
    bounds = [
        f"{word} {float(bound):g}"
        for word, side in (("from", "lower_bound"), ("to", "upper_bound"))
        if isinstance(bound := getattr(support, side, None), int | float)
    ]
    return " ".join([f"it takes {'whole ' if support.is_discrete else ''}numbers", *bounds])


def _pieces_of(data: Data, name: str) -> Iterator[tuple[int, Array, NDArray[np.bool_]]]:
    """Yield rows of an argument, their start, and which of them, or of their frames, are data."""
    if name == "x":
        yield from data.pieces()
        return
    array = data.arrays[name]
    for some in slices(array):
        rows = np.asarray(array[some])
        valid = np.ones(len(rows), bool)
        if data.length is not None and array.shape[1:2] == data.x.shape[1:2]:
            valid = is_frame(data.length[some], array.shape[1])
        yield some.start, rows, valid


def _check_support(
    name: str, fn: Any, low: float, high: float, span: str, transform: Transform
) -> None:
    """Compare the range with a support that is an interval."""
    support = support_of(fn)
    if is_boolean(fn) or transform.mean is not None:
        return
    lower = float(getattr(support, "lower_bound", -np.inf))
    upper = float(getattr(support, "upper_bound", np.inf))
    if low < lower or high > upper:
        raise RequestError(
            f"{span}, but site '{name}' explains {lower:g} ... {upper:g} only; "
            "use `likelihood='gaussian'`"
        )
