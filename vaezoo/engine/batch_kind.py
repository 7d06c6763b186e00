"""Kinds of batches: how those of one kind are evaluated, and how long that takes."""

from collections import deque
from dataclasses import dataclass, field
from statistics import median

from torch import Tensor

from vaezoo.engine.capture import Captured, Function
from vaezoo.engine.cudagraph import CudaGraph

__all__ = ["BatchKind"]

_LAST_CALLS = 64


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
        The shortest eager evaluation, and the last ones of ``run``, in seconds.
    """

    eager: Function
    run: Function
    tier: str = "eager"
    captured: Captured | None = None
    recorded: CudaGraph | None = None
    written: tuple[Tensor, ...] = ()
    num_calls: int = 0
    eager_seconds: float = 0.0
    times: deque[float] = field(default_factory=lambda: deque(maxlen=_LAST_CALLS))

    def fall_back(self) -> None:
        """Evaluate eagerly from now on."""
        self.run, self.tier, self.captured, self.recorded = self.eager, "eager", None, None

    @property
    def seconds_saved(self) -> float:
        """By how much all calls together were shorter than as many eager ones."""
        usual = median(self.times) if self.times else 0.0
        return self.num_calls * (self.eager_seconds - usual)
