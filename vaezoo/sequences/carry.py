"""States that one window of a sequence hands on to the next, without their gradients.

An evaluation reads the states before its window from buffers, and writes those behind it to others.
So it may be called any number of times, on trial or to be recorded, and gives the same each time;
going on is a call of its own. All are updated in place, as a captured step needs it.
"""

from collections.abc import Mapping
from typing import Protocol

import torch
from torch import Tensor, nn

__all__ = ["Carry", "HandedOn", "Recorder"]


class HandedOn(Protocol):
    """Gives loops over time their first states, and takes their last ones."""

    def enter(self, name: str, start: Tensor) -> Tensor:
        """Return the state ``(B, H)`` before a window; ``start`` before the first."""

    def leave(self, name: str, last: Tensor) -> None:
        """Take note of the state behind a window."""


class Recorder:
    """Notes which loops over time a pair has, from one evaluation.

    Attributes
    ----------
    states
        The first states by the name of the loop.
    """

    def __init__(self) -> None:
        self.states: dict[str, Tensor] = {}

    def enter(self, name: str, start: Tensor) -> Tensor:
        """Return the first state of a sequence."""
        self.states[name] = start
        return start

    def leave(self, name: str, last: Tensor) -> None:
        """Forget the last state."""


class Carry(nn.Module):
    """The states of the rows of a batch, between windows.

    Parameters
    ----------
    states
        One ``(B, H)`` for each loop over time, by its name; their values do not matter.
    repeats
        Rows are as many times as many.

    Examples
    --------
    >>> carry = Carry({"h": torch.zeros(3, 2)})
    >>> carry.leave("h", torch.ones(3, 2))
    >>> carry.go_on(is_first=False)
    >>> carry.enter("h", torch.zeros(3, 2))[0]
    tensor([1., 1.])
    """

    is_first: Tensor

    def __init__(self, states: Mapping[str, Tensor], repeats: int = 1) -> None:
        super().__init__()
        device = next(iter(states.values())).device
        self.names = tuple(states)
        self.register_buffer("is_first", torch.ones((), dtype=torch.bool, device=device), False)
        for name, state in states.items():
            size = (len(state) * repeats, *state.shape[1:])
            self.register_buffer(f"before_{name}", state.new_zeros(size), persistent=False)
            self.register_buffer(f"behind_{name}", state.new_zeros(size))

    def enter(self, name: str, start: Tensor) -> Tensor:
        """Return the state before a window, which has no gradient; ``start`` before the first."""
        return torch.where(self.is_first, start, self._rows("before", name, start))

    @torch.no_grad()
    def leave(self, name: str, last: Tensor) -> None:
        """Take note of the state behind a window."""
        self._rows("behind", name, last).copy_(last)

    @torch.no_grad()
    def go_on(self, *, is_first: bool) -> None:
        """Go to the next window, or to the first one of other sequences."""
        self.is_first.fill_(is_first)
        if not is_first:
            for name in self.names:
                self.get_buffer(f"before_{name}").copy_(self.get_buffer(f"behind_{name}"))

    def _rows(self, when: str, name: str, of: Tensor) -> Tensor:
        """Return as many rows as a batch has: the last one of an epoch may be shorter."""
        states = self.get_buffer(f"{when}_{name}")
        return states if len(states) == len(of) else states[: len(of)]
