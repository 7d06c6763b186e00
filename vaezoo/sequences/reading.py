"""Recurrent networks that read whole sequences: what a guide may know of the frames around it."""

from collections.abc import Sequence
from typing import Protocol, cast

import torch
from torch import Tensor, nn

from vaezoo.pairs.lengths import reversed_frames
from vaezoo.sequences.unrolled import running_reading

__all__ = ["Cell", "read", "read_backwards"]


class Cell(Protocol):
    """A module as ``nn.GRUCell``."""

    hidden_size: int

    def __call__(self, x: Tensor, h: Tensor, /) -> Tensor: ...


class _CellStep:
    """A step of a cell as a step of a recurrence: ``(h, x_t)`` to ``(h', h')``."""

    def __init__(self, cell: Cell) -> None:
        self.pair = cast(nn.Module, cell)
        self.kind = f"cell {id(cell)}"

    def __call__(self, h: Tensor, *inputs: Tensor) -> tuple[Tensor, ...]:
        after: Tensor = self.pair(*inputs, h)
        return after, after


def read(cell: Cell, x: Tensor, *, before: bool = False) -> Tensor:
    """Return the states of a cell, h_0 = 0, h_{t+1} = cell(x_t, h_t).

    They are computed as the pair's own loop is: in training, by a plan; and in a window of a longer
    sequence, from the state that the window before it has left.

    Parameters
    ----------
    cell
        As ``nn.GRUCell``, from ``(B, D)`` and ``(B, H)`` to ``(B, H)``; H is its ``hidden_size``.
    x
        Sequences ``(B, T, D)``.
    before
        Whether the states before each frame are wanted, h_0 the first of them.

    Returns
    -------
    Tensor
        ``(B, T, H)``; entry t has seen the frames 0 ... t, or 0 ... t - 1.

    Examples
    --------
    >>> gru, x = nn.GRU(3, 4, batch_first=True), torch.randn(2, 5, 3)
    >>> cell = nn.GRUCell(3, 4)
    >>> _ = cell.load_state_dict({k.removesuffix("_l0"): v for k, v in gru.state_dict().items()})
    >>> torch.allclose(read(cell, x), gru(x)[0], atol=1e-6)
    True
    """
    start, states = _states(cell, x, forwards=True)
    return torch.cat([start.unsqueeze(1), states[:, :-1]], 1) if before else states


def read_backwards(cell: Cell, x: Tensor, length: Tensor) -> Tensor:
    """Return the states of a cell that reads each sequence from its last frame on.

    Parameters
    ----------
    cell
        As ``nn.GRUCell``.
    x
        Sequences ``(B, T, D)``.
    length
        Their lengths, ``(B,)``.

    Returns
    -------
    Tensor
        ``(B, T, H)``; entry t has seen the frames t ... length - 1.

    Examples
    --------
    The padding of a sequence of two frames is not seen by them:

    >>> cell, x, length = nn.GRUCell(3, 4), torch.randn(1, 5, 3), torch.tensor([2])
    >>> states = read_backwards(cell, x, length)
    >>> torch.allclose(states[:, :2], read_backwards(cell, x[:, :2], length))
    True
    """
    _, states = _states(cell, reversed_frames(x, length), forwards=False)
    return reversed_frames(states, length)


def _states(cell: Cell, x: Tensor, *, forwards: bool) -> tuple[Tensor, Tensor]:
    """Return the first state, ``(B, H)``, and those behind each frame, ``(B, T, H)``."""
    inputs: Sequence[Tensor] = [x.transpose(0, 1)]
    h = x.new_zeros(len(x), cell.hidden_size)
    start, (states,) = running_reading().run(_CellStep(cell), inputs, h, forwards=forwards)
    return start, states.transpose(0, 1)
