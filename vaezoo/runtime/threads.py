"""How many threads a step is worth."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

__all__ = ["count_flops", "flops_if_used", "threads_for"]

FLOPS_PER_THREAD = 2e7
_CHOSEN_BY_USER = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")


class _Counter(TorchDispatchMode):
    """Adds up the operations of what runs inside.

    ``FlopCounterMode`` does, too, but Dynamo and Inductor come in with its first operation, which
    takes longer than the count, and its hooks on modules fail where a weight is computed.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:  # by torch's own base class it would be imported first
        return False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        formula = flop_registry.get(func.overloadpacket)
        if formula is None:
            with self:  # what it is made of may have one
                parts = func.decompose(*args, **kwargs)
            if parts is not NotImplemented:
                return parts
        out = func(*args, **kwargs)
        if formula is not None:
            self.total += formula(*args, **kwargs, out_val=out)
        return out


def count_flops(function: Callable[[], object]) -> int | None:
    """Return the floating-point operations of the matrix products and convolutions of a call.

    None where they cannot be counted: what only makes a training faster does not stop it.

    Examples
    --------
    >>> a, b = torch.ones(2, 3), torch.ones(3, 5)
    >>> count_flops(lambda: a @ b)
    60
    """
    counter = _Counter()
    try:
        with counter:
            function()
    except Exception:  # an operation that no mode may watch
        return None
    return counter.total


def flops_if_used(function: Callable[[], object], times: float) -> int | None:
    """Return so many times the operations of a call; None where no number of threads is chosen."""
    flops = None if _is_chosen() else count_flops(function)
    return flops and int(times * flops)


def _is_chosen() -> bool:
    """Whether the user has chosen, or there is only one thread."""
    return torch.get_num_threads() == 1 or any(name in os.environ for name in _CHOSEN_BY_USER)


@contextmanager
def threads_for(flops: int | None) -> Iterator[None]:
    """Run steps of so many operations with as many of torch's threads as they can keep busy.

    On a small net a second thread costs more than it gives, many times more on a machine that is
    busy. The number depends on the step alone, so that a resumed run rounds as before. Nothing
    changes when ``OMP_NUM_THREADS`` is set, or nobody knows how many operations there are.
    """
    default = torch.get_num_threads()
    if flops is None or _is_chosen():
        yield
        return
    torch.set_num_threads(max(1, min(default, int(flops // FLOPS_PER_THREAD))))
    try:
        yield
    finally:
        torch.set_num_threads(default)
