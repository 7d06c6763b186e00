"""How many threads a step is worth."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["count_flops", "threads_for"]

FLOPS_PER_THREAD = 2e7
_CHOSEN_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class _OneModule:
    """Stands for all modules: to track each by its own hooks fails where a weight is computed."""

    parents = frozenset({"Global"})

    def __enter__(self) -> None:
        return

    def __exit__(self, *exception: object) -> None:
        return


def count_flops(function: Callable[[], object]) -> int | None:
    """Return the floating-point operations of the matrix products and convolutions of a call.

    None where they cannot be counted: what only makes a training faster does not stop it.

    Examples
    --------
    >>> a, b = torch.ones(2, 3), torch.ones(3, 5)
    >>> count_flops(lambda: a @ b)
    60
    """
    counter: Any = FlopCounterMode(display=False)
    counter.mod_tracker = _OneModule()
    try:
        with counter:
            function()
    except Exception:  # an operation without a formula, or one that no mode may watch
        return None
    return int(counter.get_total_flops())


@contextmanager
def threads_for(flops: int | None) -> Iterator[None]:
    """Run steps of so many operations with as many of torch's threads as they can keep busy.

    On a small net a second thread costs more than it gives, many times more on a machine that is
    busy. The number depends on the step alone, so that a resumed run rounds as before. Nothing
    changes when ``OMP_NUM_THREADS`` is set, or nobody knows how many operations there are.
    """
    default = torch.get_num_threads()
    if flops is None or any(name in os.environ for name in _CHOSEN_BY_USER):
        yield
        return
    torch.set_num_threads(max(1, min(default, int(flops // FLOPS_PER_THREAD))))
    try:
        yield
    finally:
        torch.set_num_threads(default)
