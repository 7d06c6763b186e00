"""Values that an observed site does not explain: counted and named before training."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyro
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import constraints

from vaezoo.data.dataset import Array, Data, slices
from vaezoo.data.padding import is_frame
from vaezoo.data.transform import Transform
from vaezoo.distributions.families import family, support_of
from vaezoo.errors import RequestError
from vaezoo.observations.roles import Observation

__all__ = ["check_values"]

_SUM_TO_ONE = 1e-4  # what 32 bits may be off


def check_values(
    name: str,
    fn: Any,
    taken: Observation,
    data: Data,
    transform: Transform,
    way: str = "another likelihood",
) -> None:
    """Refuse values that a site does not explain, of the elements that it takes.

    What lies outside the support is counted, and what lies on the boundary, if the density has no
    finite value there, as that of a Beta at 0 and at 1.

    Parameters
    ----------
    name, fn
        The observed site, and its distribution for some rows.
    taken
        What it observes.
    data
        All rows.
    transform
        What the pair gets instead of ``x``.
    way
        What to use instead.

    Raises
    ------
    RequestError
        With the number of rows and the place of the first.
    """
    support = support_of(fn)
    if support is constraints.real or not hasattr(support, "check"):
        return
    event = tuple(fn.event_shape)[-support.event_dim :] if support.event_dim else ()
    bounds = _without_density(fn, support, event)
    number, first = 0, ""
    for start, rows, valid in _pieces_of(data, taken.argument):
        values = _as_seen(rows.reshape(*valid.shape, -1), taken, transform)
        if values.shape[-1] % math.prod(event):
            return
        refused = _refused(values.reshape(*valid.shape, -1, *event), support, bounds)
        if refused is None:  # its bounds depend on the rows
            return
        where = refused.any(-1).numpy() & valid
        number += int(where.sum())
        if where.any() and not first:
            first = _place(np.argwhere(where)[0].tolist(), start)
    if number:
        raise RequestError(
            f"{data.name}: site '{name}' ({family(fn)}) does not explain '{taken.argument}' in "
            f"{number} {_units(data, taken)}, the first in {first}: {_expected(support, bounds)}; "
            f"use {way}, or change the values"
        )


def _refused(values: Tensor, support: Any, bounds: tuple[float, ...]) -> Tensor | None:
    """Return which events are refused; None where the bounds of the support are those of rows."""
    missing = torch.isnan(values)
    on_bound = torch.zeros_like(missing)
    for bound in bounds:
        on_bound |= values == bound
    over = tuple(range(-support.event_dim, 0))
    if over:
        missing, on_bound = missing.any(over), on_bound.any(over)
    try:
        inside = _is_inside(values, support)
    except RuntimeError:
        return None
    return (~inside | on_bound) & ~missing if inside.shape == missing.shape else None


def _is_inside(values: Tensor, support: Any) -> Tensor:
    if support is constraints.simplex:
        near = (values.sum(-1) - 1).abs() < _SUM_TO_ONE
        return (values >= 0).all(-1) & near
    inside: Tensor = support.check(values)
    return inside


def _without_density(fn: Any, support: Any, event: tuple[int, ...]) -> tuple[float, ...]:
    """Return the bounds of a support at which the density is not finite."""
    if support.is_discrete:
        return ()
    candidates = [0.0] if support is constraints.simplex else _bounds(support)
    shape = torch.Size((*fn.batch_shape, *fn.event_shape))
    refused = []
    for bound in candidates:
        value = torch.full(shape, bound)
        if support is constraints.simplex:
            value[..., 1:] = 1 / max(1, event[-1] - 1)
        with torch.no_grad(), pyro.validation_enabled(False):
            density = fn.log_prob(value.to(_device(fn)))
        if not torch.isfinite(density).all():
            refused.append(bound)
    return tuple(refused)


def _device(fn: Any) -> torch.device:
    """Return where the parameters of a distribution are."""
    while hasattr(fn, "base_dist"):
        fn = fn.base_dist
    tensors = (value for value in vars(fn).values() if isinstance(value, Tensor))
    return next(tensors, torch.zeros(())).device


def _bounds(support: Any) -> list[float]:
    """Return the bounds that all elements have in common."""
    bounds = (getattr(support, side, None) for side in ("lower_bound", "upper_bound"))
    return [float(bound) for bound in bounds if isinstance(bound, int | float)]


def _expected(support: Any, bounds: tuple[float, ...]) -> str:
    """Say what a support holds."""
    if support is constraints.boolean:
        return "it takes 0 and 1 only"
    if support is constraints.simplex:
        return f"it takes shares that sum to 1{', none of them 0' if bounds else ''}"
    if isinstance(support, constraints.one_hot.__class__):
        return "it takes a single 1 among zeros"
    limits = [
        f"{word} {float(bound):g}"
        for word, side in (("from", "lower_bound"), ("to", "upper_bound"))
        if isinstance(bound := getattr(support, side, None), int | float)
    ]
    kind = "counts whose sum is " if support.event_dim else ""
    words = [f"it takes {'whole ' if support.is_discrete and not kind else ''}{kind or 'numbers'}"]
    least = f", where its density is not finite at {' and '.join(f'{b:g}' for b in bounds)}"
    return " ".join([*words, *limits]) + (least if bounds else "")


def _units(data: Data, taken: Observation) -> str:
    has_frames = data.arrays[taken.argument].shape[1:2] == data.x.shape[1:2]
    return "frames" if data.length is not None and has_frames else "rows"


def _place(place: list[int], start: int) -> str:
    row, *frame = place
    return f"row {start + row}{f', frame {frame[0]}' if frame else ''}"


def _as_seen(flat: Array, taken: Observation, transform: Transform) -> Tensor:
    """Return the values that a site gets, ``(n, ..., elements)``."""
    values = np.asarray(flat, np.float64)
    if taken.argument == "x":
        values = values / transform.scale
        if transform.mean is not None and transform.std is not None:
            values = (values - transform.mean.ravel()) / transform.std.ravel()
    chosen = values if taken.elements is None else values[..., taken.elements.numpy()]
    return torch.as_tensor(chosen.astype(np.float32))


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
