"""Any pair in double precision, for what single precision cannot tell apart."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from vaezoo.pairs.sites import Args

__all__ = ["in_double"]


@contextmanager
def in_double(pair: nn.Module, args: Args) -> Iterator[tuple[nn.Module, Args]]:
    """Yield a copy of a pair in float64, and its batch; what it makes meanwhile is float64, too.

    A draw of Beta(0.1, 0.1) is often closer to 1 than float32 can say, and its density there is
    infinite. Pairs that cast to float32 themselves fail.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> with in_double(LinearPair(), (torch.zeros(3, 4),)) as (pair, (x,)):
    ...     x.dtype, torch.zeros(1).dtype
    (torch.float64, torch.float64)
    """
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        numbers = (arg.double() if arg.is_floating_point() else arg for arg in args)
        yield copy.deepcopy(pair).double(), tuple(numbers)
    finally:
        torch.set_default_dtype(before)
