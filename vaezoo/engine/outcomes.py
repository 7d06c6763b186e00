"""Outcomes of evaluations: what one gives under a seed, and whether two give the same."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaezoo.engine.batch_kind import BatchKind
from vaezoo.engine.capture import Function
from vaezoo.options import Precision
from vaezoo.runtime.isolation import untouched

__all__ = ["Outcome", "difference_from_eager", "largest_error", "outcome_of"]

_TOLERANCE = {("graph", "float32"): 1e-5, ("compiled", "float32"): 1e-3}
_TOLERANCE_IN_BF16 = 0.05
_NUM_TRIALS = 3


@dataclass(frozen=True)
class Outcome:
    """What came of one evaluation, after which a pair is as it was before.

    Attributes
    ----------
    values
        Loss, gradients and buffers.
    written
        The buffers that it changed.
    seconds
        How long it took.
    """

    values: list[Tensor]
    written: tuple[Tensor, ...]
    seconds: float


def outcome_of(run: Function, pair: nn.Module, inputs: Sequence[Tensor], seed: int) -> Outcome:
    """Evaluate once, under a seed, and leave the pair and the generators as they were."""
    with untouched(pair, inputs[0].device):
        before = [(buffer, buffer.clone()) for buffer in pair.buffers()]
        torch.manual_seed(seed)
        began = time.perf_counter()
        loss, _, _, *gradients = run([tensor.clone() for tensor in inputs])
        seconds = time.perf_counter() - began
        buffers = [buffer.clone() for buffer in pair.buffers()]
        written = tuple(b for b, value in before if not torch.equal(b, value))
    return Outcome([loss, *gradients, *buffers], written, seconds)


def difference_from_eager(
    kind: BatchKind,
    run: Function,
    tier: str,
    pair: nn.Module,
    inputs: Sequence[Tensor],
    *,
    precision: Precision,
    seed: int,
) -> float:
    """Return by how much an evaluation differs from the eager one: 0 for no more than rounding.

    Rounding alone may turn a unit of a ReLU network on or off, under one noise but not under three;
    what is frozen differs under all.

    Parameters
    ----------
    kind
        Has the eager evaluation, whose shortest time is noted.
    run, tier
        The evaluation, and the tier that it is of: what rounding is.
    inputs
        On which both are called.
    seed
        Of the first trial.
    """
    limit = _TOLERANCE.get((tier, precision), _TOLERANCE_IN_BF16)
    error = 0.0
    for trial in range(_NUM_TRIALS):
        expected = outcome_of(kind.eager, pair, inputs, seed + trial)
        kind.eager_seconds = min(kind.eager_seconds, expected.seconds)
        values = outcome_of(run, pair, inputs, seed + trial).values
        error = largest_error(values, expected.values)
        if error <= limit:
            return 0.0
    return error


def largest_error(values: Sequence[Tensor], expected: Sequence[Tensor]) -> float:
    """Return the largest difference between two outcomes, in units of the norm of each tensor.

    In the norm a unit of a ReLU network that is zero but for rounding weighs little.

    Examples
    --------
    >>> round(largest_error([torch.tensor([3.0, 4.5])], [torch.tensor([3.0, 4.0])]), 3)
    0.1
    """
    pairs = [(a.double(), b.double()) for a, b in zip(values, expected, strict=True) if b.numel()]
    if not all(bool(torch.isfinite(b).all()) for _, b in pairs):
        return 0.0
    largest = max(float(b.norm()) for _, b in pairs)
    errors = [(a - b).norm() / (b.norm() + 1e-3 * largest) for a, b in pairs]
    return float(torch.stack(errors).nan_to_num(float("inf")).max())
