"""Times of steps that take turns in one process, and the arithmetic that no step can avoid."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._inductor.utils import clear_caches
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ["Clock", "Measured", "Products", "alternate", "cache_in", "timed"]

Step = Callable[[], Tensor | float]


@dataclass(frozen=True)
class Measured:
    """What came out for one net.

    Attributes
    ----------
    seconds
        Median of a step.
    num_times
        Of how many times.
    first
        Seconds of the first call, and, where a compiler ran, of the first call after that.
    flops
        Floating-point operations of the products in a step.
    """

    seconds: Mapping[str, float]
    num_times: int
    first: Mapping[str, Sequence[float]]
    flops: int


class Clock:
    """How steps are timed on a device, and until when.

    On the CPU single steps are timed, their loss read back; on a GPU blocks of steps, since it
    works behind the back of the processor, and only the last loss is waited for.

    Parameters
    ----------
    device
        Where the steps run.
    budget
        Seconds from now.
    """

    def __init__(self, device: torch.device, budget: float) -> None:
        self.device = device
        self.deadline = time.monotonic() + budget
        self.steps_at_once, self.steps_before = (50, 10) if device.type == "cuda" else (1, 1)
        self.times_a_turn = 2 if device.type == "cuda" else 5

    def is_over(self) -> bool:
        """Whether the budget is used up."""
        return time.monotonic() > self.deadline

    def turn(self, step: Step) -> list[float]:
        """Return some times of a step, in seconds."""
        self.run(step, self.steps_before)
        seconds = [self.run(step, self.steps_at_once) for _ in range(self.times_a_turn)]
        return [second / self.steps_at_once for second in seconds]

    def run(self, step: Step, number: int) -> float:
        """Return how long some steps take, in seconds."""
        self.wait()
        began = time.perf_counter()
        for _ in range(number):
            loss = step()
        float(loss)
        self.wait()
        return time.perf_counter() - began

    def wait(self) -> None:
        """Wait for the device."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def alternate(
    steps: Mapping[str, Step], rounds: int, clock: Clock, *, seconds: float
) -> tuple[dict[str, float], int]:
    """Let steps take turns, so that a busy moment of the machine hits all of them.

    Returns
    -------
    tuple
        The median seconds of each step, and of how many times; fewer than asked for after some
        seconds, but at least five turns, and three when the budget is used up.
    """
    times: dict[str, list[float]] = {name: [] for name in steps}
    names, began = list(steps), time.monotonic()
    for number in range(rounds):
        if number >= (3 if clock.is_over() else 5) and time.monotonic() - began > seconds:
            break
        first = number % len(names)
        for name in names[first:] + names[:first]:
            times[name] += clock.turn(steps[name])
    return {name: median(values) for name, values in times.items()}, len(times[names[0]])


@contextmanager
def cache_in(folder: Path) -> Iterator[None]:
    """Let Inductor keep what it compiles in a folder, and nothing of it in memory."""
    clear_caches()
    with patch.dict(os.environ, {"TORCHINDUCTOR_CACHE_DIR": str(folder)}):
        yield
    clear_caches()


def timed(make: Callable[[], Step], clock: Clock) -> tuple[Step, float]:
    """Return a step and how long making and calling it takes, the first time, in seconds."""
    clock.wait()
    began = time.perf_counter()
    step = make()
    clock.run(step, 1)
    return step, time.perf_counter() - began


class Products(TorchDispatchMode):
    """Remembers the matrix products and convolutions under it, and does them again: the floor."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Callable[..., Any], Sequence[Any], Mapping[str, Any]]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with suppress(AttributeError):
            if func.overloadpacket in flop_registry:
                self.calls.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))

    @torch.no_grad()
    def again(self) -> float:
        """Do all of them on the tensors of then."""
        for func, args, kwargs in self.calls:
            func(*args, **kwargs)
        return 0.0
