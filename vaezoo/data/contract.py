"""The data contract: can this model explain these data? Answered before training starts.

What a pair can explain is the support of the distributions of its observed sites; nothing else of
the pair is looked at.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyro
import torch
from torch import nn
from torch.distributions import constraints

from vaezoo.data.batches import to_tensor
from vaezoo.data.dataset import Array, Data
from vaezoo.data.sets.sources import SOURCES
from vaezoo.data.summary import Summary, finite_summary, likelihood_for
from vaezoo.data.supports import check_values
from vaezoo.data.transform import Transform, standardization
from vaezoo.distributions.families import elements_of, is_boolean, is_discrete, support_of
from vaezoo.errors import RequestError
from vaezoo.observations.missing import filled
from vaezoo.observations.roles import Observation, roles_of
from vaezoo.options import Binarize
from vaezoo.pairs.lengths import first_frames
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import PairTrace, argument_names, step_of, takes_lengths, trace_pair
from vaezoo.registry import entry_of, list_models, source_file
from vaezoo.runtime.device import device_of
from vaezoo.runtime.isolation import isolated

__all__ = [
    "check_transform",
    "choose_transform",
    "probe",
]


TRIAL_ROWS = 16
_LEAST_GREY, _GREY = 100.0, 255.0  # between which the largest of grey levels lies
_FAR, _SMALL = 4.0, 0.1  # means and deviations of which a network would have to learn the units


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
    sites: dict[str, tuple[str, Any, Observation]] = {}
    for name, site in probe(pair, data).observed.items():
        step = step_of(name) if takes_lengths(pair) else None
        base = step[0] if step else name
        if (taken := observed.get(base)) is not None:
            sites.setdefault(base, (name, site["fn"], taken))  # one step stands for all
    return [*sites.values()]


def choose_transform(
    pair: nn.Module, data: Data, *, binarize: Binarize = "auto", standardize: bool | None = None
) -> Transform:
    """Return the transform that makes the data fit the pair's observed sites.

    Grey levels are binarised for a Bernoulli likelihood unless that is forbidden. Values far from
    mean 0 and deviation 1 are standardised for a pair of the zoo whose likelihood is one of all
    reals, unless that is forbidden; named data sets but tables have their own units. Everything
    else that does not fit is refused.

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
    summary, sites = finite_summary(data), _observed_sites(pair, data)
    of_x = [fn for _, fn, taken in sites if taken.argument == "x"]
    scale = _scale(of_x, data, summary)
    if binarize == "auto":
        draw = any(map(is_boolean, of_x)) and scale != 1.0
        binarize = "dynamic" if draw and not (summary.is_binary or standardize) else "none"
    if standardize and binarize != "none":
        raise RequestError("`standardize` and `binarize` exclude each other")
    mean_and_std: tuple[Array | None, Array | None] = (None, None)
    if standardize:
        mean_and_std = standardization(data, scale=scale)
    elif standardize is None and binarize == "none" and scale == 1.0 and not _is_share(summary):
        mean_and_std = _far_from_standard(pair, data, sites)
    transform = Transform(scale, binarize, *mean_and_std)
    _check(transform, data, summary, sites)
    return transform


def _scale(of_x: Sequence[Any], data: Data, summary: Summary) -> float:
    """Return the largest grey level: bytes are grey levels, or numbers of something."""
    if any(map(_is_count, of_x)):
        return 1.0
    is_grey = summary.is_integer and summary.low >= 0 and _LEAST_GREY <= summary.high <= _GREY
    if data.scale == 1.0 and is_grey and any(map(is_boolean, of_x)):
        return _GREY  # what else may a Bernoulli make of whole numbers?
    return data.scale


def _is_share(summary: Summary) -> bool:
    return summary.low >= 0 and summary.high <= 1


def _far_from_standard(
    pair: nn.Module, data: Data, sites: Sequence[tuple[str, Any, Observation]]
) -> tuple[Array | None, Array | None]:
    """Return how to standardise what sites of all reals observe; nothing if it is near that."""
    keep = np.ones(data.x_shape, bool).ravel()
    for _, fn, taken in sites:
        if taken.argument == "x" and support_of(fn) is constraints.real:
            keep[slice(None) if taken.elements is None else taken.elements.numpy()] = False
        elif taken.argument == "x" and taken.elements is None:  # of a table, its columns of reals
            keep[getattr(support_of(fn), "reals", torch.zeros(0, dtype=torch.long)).cpu()] = False
    has_own_units = data.name in SOURCES and not data.columns
    if keep.all() or has_own_units or not _is_of_the_zoo(type(pair)):
        return None, None
    mean, std = standardization(data, keep=keep.reshape(data.x_shape))
    far = (np.abs(mean) > _FAR) | (std > _FAR) | (std < _SMALL)
    return (mean, std) if far.any() else (None, None)


def _is_of_the_zoo(cls: type) -> bool:
    """Whether a pair has no parameters with a meaning in somebody's units."""
    return source_file(cls) is None and entry_of(cls).name in list_models()


def check_transform(transform: Transform, pair: nn.Module, data: Data) -> None:
    """Refuse data that a pair cannot explain after a transform that was chosen for other data."""
    _check(transform, data, finite_summary(data), _observed_sites(pair, data))


def _check(
    transform: Transform,
    data: Data,
    summary: Summary,
    sites: Sequence[tuple[str, Any, Observation]],
) -> None:
    low, high = summary.low / transform.scale, summary.high / transform.scale
    unit = low >= 0 and high <= 1
    span = f"{data.name} has values {summary.low:g} ... {summary.high:g}"
    is_drawn = transform.binarize != "none"  # as bits of these probabilities
    if is_drawn and not unit:
        raise RequestError(
            f"{span}, which cannot be probabilities: "
            f"`binarize={transform.binarize!r}` needs 0 ... 1"
        )
    binary = is_drawn or (summary.is_binary and transform.scale == 1.0 and transform.mean is None)
    for name, fn, taken in sites:
        whole = taken.argument == "x" and taken.elements is None
        if whole and is_boolean(fn) and not binary:
            way = _way(unit, data, summary)
            raise RequestError(f"{span}, but site '{name}' explains 0 and 1 only; {way}")
        way = f"`likelihood={likelihood_for(data, summary)!r}`" if whole else "another likelihood"
        if whole:
            way = _bound_of(fn, summary) or way
            _check_support(name, fn, low, high, span, transform, way)
        if taken.argument != "x":
            check_values(name, fn, taken, data, Transform(), way)
        elif not (is_drawn or (whole and is_boolean(fn))):  # what is binary, is looked at already
            check_values(name, fn, taken, data, transform, way)


def _way(unit: bool, data: Data, summary: Summary) -> str:
    """What to do where values are not binary."""
    draw = "`binarize='dynamic'` or " if unit else ""
    levels = not unit and summary.is_integer and 1 < summary.high <= _GREY and summary.low >= 0
    grey = f"`scale={summary.high:g}` if they are grey levels, or " if levels else ""
    return f"use {grey}{draw}`likelihood={likelihood_for(data, summary)!r}`"


def _bound_of(fn: Any, summary: Summary) -> str:
    """Return the setting of a likelihood of levels, or of so many of n, that has too few."""
    if not summary.is_integer or summary.low < 0:
        return ""
    elements, most = elements_of(fn), int(summary.high)
    if getattr(elements, "num_levels", most + 1) <= most:
        return f"`likelihood.num_levels={most + 1}`"
    return f"`likelihood.total={most}`" if getattr(elements, "largest", most) < most else ""


def _is_count(fn: Any) -> bool:
    """Return whether a distribution is one of whole numbers that may be above 1."""
    return is_discrete(fn) and not is_boolean(fn)


def _check_support(
    name: str, fn: Any, low: float, high: float, span: str, transform: Transform, way: str
) -> None:
    """Compare the range with a support that is an interval."""
    support = support_of(fn)
    if is_boolean(fn) or transform.mean is not None:
        return
    lower, upper = (
        float(np.ravel(bound)[0]) if np.size(bound) == 1 else default
        for bound, default in (
            (getattr(support, "lower_bound", -np.inf), -np.inf),
            (getattr(support, "upper_bound", np.inf), np.inf),
        )
    )
    if low < lower or high > upper:
        raise RequestError(
            f"{span}, but site '{name}' explains {lower:g} ... {upper:g} only; use {way}"
        )
