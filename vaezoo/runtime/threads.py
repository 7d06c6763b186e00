"""How many threads a step is worth."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch.utils.flop_counter import FlopCounterMode

__all__ = ["count_flops", "threads_for"]

FLOPS_PER_THREAD = 2e7
_CHOSEN_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


def count_flops(function: Callable[[], object]) -> int:
    """Return the floating-point operations of the matrix products and convolutions of a call.

    Examples
    --------
    >>> a, b = torch.ones(2, 3), torch.ones(3, 5)
    >>> count_flops(lambda: a @ b)
    60
    """
    counter = FlopCounterMode(display=False)
    with counter:
        function()
    return int(counter.get_total_flops())


@contextmanager
def threads_for(flops: int) -> Iterator[None]:
    """Run steps of so many operations with as many of torch's threads as they can keep busy.

    On a small net a second thread costs more than it gives, many times more on a machine that is
    busy. The number depends on the step alone, so that a resumed run rounds as before. Nothing
    changes when ``OMP_NUM_THREADS`` is set.
    """
    default = torch.get_num_threads()
    if any(name in os.environ for name in _CHOSEN_BY_USER):
        yield
        return
    torch.set_num_threads(max(1, min(default, int(flops // FLOPS_PER_THREAD))))
    try:
        yield
    finally:
        torch.set_num_threads(default)
