"""Kinds of batches: how those of one kind are evaluated, and how long that takes."""

import math
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from statistics import median

from torch import Tensor, nn

from vaezoo.engine.capture import Captured, Function
from vaezoo.engine.cudagraph import CudaGraph

__all__ = ["BatchKind", "Trial", "calls_by_tier", "kind_of"]

_LAST_CALLS = 64


def kind_of(pair: nn.Module, inputs: Sequence[Tensor]) -> object:
    """Return what inputs that are evaluated alike have in common: shapes, dtypes, mode."""
    return (pair.training, *[(tensor.shape, tensor.dtype) for tensor in inputs])


@dataclass
class Trial:
    """What holds for all kinds that differ in their number of frames only.

    Attributes
    ----------
    written
        The buffers that an evaluation changes.
    num_sites
        How many sites a graph of so many frames would have, for a few numbers of frames.
    is_captured
        Whether one of the kinds was captured, and gave what the eager evaluation gives.
    """

    written: tuple[Tensor, ...]
    num_sites: dict[int, int] = field(default_factory=dict)
    is_captured: bool = False

    def num_sites_at(self, num_frames: int) -> int:
        """Return how many sites a graph of so many frames would have, on the line through two.

        Examples
        --------
        >>> Trial((), {4: 9, 8: 17}).num_sites_at(100)
        201
        """
        (fewer, low), (few, high) = sorted(self.num_sites.items())
        return round(high + (high - low) / (few - fewer) * max(0, num_frames - few))


@dataclass
class BatchKind:
    """How inputs of one kind (shapes, dtypes, mode of the pair) are evaluated.

    Attributes
    ----------
    eager
        The evaluation by Pyro and autograd.
    run
        The evaluation of ``tier``.
    captured, recorded
        The graph that ``run`` calls, or was compiled from; the CUDA graph of a whole step.
    written
        The buffers that an evaluation changes.
    num_calls
        How many steps were taken.
    eager_seconds, times
        The shortest eager evaluation, infinite before the first, and the last ones of ``run``, in
        seconds.
    """

    eager: Function
    run: Function
    tier: str = "eager"
    captured: Captured | None = None
    recorded: CudaGraph | None = None
    written: tuple[Tensor, ...] = ()
    num_calls: int = 0
    eager_seconds: float = math.inf
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_LAST_CALLS))

    def fall_back(self) -> None:
        """Evaluate eagerly from now on."""
        self.run, self.tier, self.captured, self.recorded = self.eager, "eager", None, None

    @property
    def seconds_saved(self) -> float:
        """By how much all calls together were shorter than as many eager ones, if that is known."""
        if math.isinf(self.eager_seconds):
            return 0.0
        usual = median(self.times) if self.times else 0.0
        return self.num_calls * (self.eager_seconds - usual)


def calls_by_tier(kinds: Iterable[BatchKind]) -> dict[str, int]:
    """Return the number of steps by the tier on which batches of their kind run now.

    Examples
    --------
    >>> calls_by_tier([BatchKind(tuple, tuple, num_calls=2), BatchKind(tuple, tuple, num_calls=1)])
    {'eager': 3}
    """
    counts: dict[str, int] = {}
    for kind in kinds:
        counts[kind.tier] = counts.get(kind.tier, 0) + kind.num_calls
    return counts
