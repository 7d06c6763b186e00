"""Memory for what several seeds have side by side in an evaluation, used again by the next one."""

import math
from collections.abc import Sequence

from torch import Tensor

__all__ = ["Memory"]


class Memory:
    """Memory that an evaluation of several seeds takes, in one order.

    What is new to a process costs more than what is written to it: a page at a time.

    Examples
    --------
    >>> memory = Memory()
    >>> rows = [torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0]])]
    >>> stacked = memory.rows(rows)
    >>> stacked.shape, stacked[0].tolist(), memory.rows(rows) is stacked
    (torch.Size([2, 2, 1]), [[1.0], [3.0]], True)
    """

    def __init__(self) -> None:
        self._flat: list[Tensor] = []
        self._num_taken = 0
        # By the identity of the rows, which are kept so that none of another takes their place.
        self._stacked: dict[tuple[int, ...], tuple[Sequence[Tensor], Tensor]] = {}

    def begin(self) -> None:
        """Begin another evaluation; what the one before has taken is written over."""
        self._num_taken = 0
        self._stacked.clear()

    def take(self, shape: Sequence[int], like: Tensor) -> Tensor:
        """Return memory of a shape, with anything in it."""
        place, size = self._num_taken, math.prod(shape)
        self._num_taken += 1
        if place == len(self._flat):
            self._flat.append(like.new_empty(size))
        flat = self._flat[place]
        if flat.numel() < size or flat.dtype != like.dtype:
            flat = self._flat[place] = like.new_empty(size)
        return flat[:size].view(*shape)

    def rows(self, rows: Sequence[Tensor]) -> Tensor:
        """Return rows ``(T, ...)`` of all seeds as ``(T, S, ...)``, stacked only once.

        The first seed has as many as any; behind those of another is anything.
        """
        key = tuple(map(id, rows))
        if key not in self._stacked:
            longest = rows[0]
            stacked = self.take((len(longest), len(rows), *longest.shape[1:]), longest)
            for place, row in enumerate(rows):
                stacked[: len(row), place] = row
            self.note(rows, stacked)
        return self._stacked[key][1]

    def note(self, rows: Sequence[Tensor], stacked: Tensor) -> None:
        """Take note that some rows are the parts ``[:, place]`` of memory ``(T, S, ...)``."""
        self._stacked[tuple(map(id, rows))] = rows, stacked

    def apart(self, values: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return tensors that the next evaluation leaves as they are."""
        own = {flat.untyped_storage().data_ptr() for flat in self._flat}
        return tuple(v.clone() if v.untyped_storage().data_ptr() in own else v for v in values)
