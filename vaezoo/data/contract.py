"""The data contract: can this model explain these data? Answered before training starts.

What a pair can explain is the support of the distributions of its observed sites; nothing else of
the pair is looked at.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyro
import torch
from torch import nn

from vaezoo.data.dataset import Data
from vaezoo.data.transform import Transform, standardization
from vaezoo.errors import RequestError
from vaezoo.options import Binarize
from vaezoo.pairs.families import is_boolean, support_of
from vaezoo.pairs.sites import PairTrace, argument_names, trace_pair
from vaezoo.runtime.device import device_of
from vaezoo.runtime.isolation import isolated

__all__ = ["Summary", "check_transform", "choose_transform", "probe", "summarize"]


@dataclass(frozen=True)
class Summary:
    """Range and nature of the values of x, over its valid frames for sequences.

    ``first_invalid`` is the row of the first NaN or infinite value, with the frame for sequences.
    """

    low: float
    high: float
    num_invalid: int
    first_invalid: tuple[int, ...]
    is_binary: bool
    is_integer: bool

    @property
    def place(self) -> str:
        """Where the first NaN or infinite value stands, in words."""
        names = ("row",) if len(self.first_invalid) == 1 else ("sequence", "frame")
        return ", ".join(f"{name} {n}" for name, n in zip(names, self.first_invalid, strict=False))


def summarize(data: Data) -> Summary:
    """Return range and nature of ``x`` in one pass over its rows, in pieces.

    Examples
    --------
    >>> from vaezoo.data import load_data
    >>> summary = summarize(load_data("digits"))
    >>> summary.low, summary.high, summary.is_binary
    (0.0, 16.0, False)
    """
    low, high, invalid = np.inf, -np.inf, 0
    first: tuple[int, ...] = ()
    binary = integer = True
    for start, rows, valid in data.pieces():
        x = rows[valid]
        finite = np.isfinite(x)
        if not finite.all():
            row, *frame = np.argwhere(valid)[~finite.reshape(len(x), -1).all(1)][0].tolist()
            first = first or (start + row, *frame)
            invalid += int((~finite).sum())
            x = x[finite]
        if x.size == 0:
            continue
        low, high = min(low, float(x.min())), max(high, float(x.max()))
        binary = binary and bool(((x == 0) | (x == 1)).all())
        integer = integer and (x.dtype.kind in "bui" or bool((x == np.floor(x)).all()))
    return Summary(low, high, invalid, first, binary, integer)


def probe(pair: nn.Module, data: Data, num_rows: int = 2) -> PairTrace:
    """Run a pair on rows of zeros shaped like the data, and return its sites."""
    args = tuple(
        torch.zeros(num_rows, *data.arrays[name].shape[1:])
        if name == "x"
        else torch.from_numpy(np.asarray(data.arrays[name][:num_rows]).astype(np.int64))
        for name in argument_names(pair)
    )
    with torch.no_grad(), isolated(), pyro.validation_enabled(False):
        return trace_pair(pair, tuple(arg.to(device_of(pair)) for arg in args))


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
    needs_binary = any(is_boolean(site["fn"]) for site in probe(pair, data).observed.values())
    grey = data.scale != 1.0
    if binarize == "auto":
        draw = needs_binary and grey and not (summary.is_binary or standardize)
        binarize = "dynamic" if draw else "none"
    if standardize and binarize != "none":
        raise RequestError("`standardize` and `binarize` exclude each other")
    mean_and_std = standardization(data) if standardize else (None, None)
    transform = Transform(data.scale, binarize, *mean_and_std)
    _check(transform, pair, data, summary)
    return transform


def check_transform(transform: Transform, pair: nn.Module, data: Data) -> None:
    """Refuse data that a pair cannot explain after a transform that was chosen for other data."""
    _check(transform, pair, data, _finite_summary(data))


def _finite_summary(data: Data) -> Summary:
    summary = summarize(data)
    if summary.num_invalid:
        raise RequestError(
            f"{data.name}: {summary.num_invalid} values of x are NaN or infinite, the first in "
            f"{summary.place}; remove or fill them"
        )
    largest = max(abs(summary.low), abs(summary.high))
    if largest > float(np.finfo(np.float32).max):
        raise RequestError(
            f"{data.name} has values up to {largest:g}, too large for 32 bits; scale them"
        )
    return summary


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
    for name, site in probe(pair, data).observed.items():
        if is_boolean(site["fn"]) and not binary:
            draw = "`binarize='dynamic'` or " if unit else ""
            raise RequestError(
                f"{span}, but site '{name}' explains 0 and 1 only; "
                f"use {draw}`likelihood='gaussian'`"
            )
        _check_support(name, site["fn"], low, high, span, transform)


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
