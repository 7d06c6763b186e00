"""Sequences of different lengths in one padded array: which entries are frames, and their order."""

import torch
from torch import Tensor, nn

__all__ = ["frame_mask", "read_backwards", "reversed_frames"]


def frame_mask(length: Tensor, num_frames: int) -> Tensor:
    """Return which of ``num_frames`` are no padding, ``(B, T)``, for lengths ``(B,)``."""
    return torch.arange(num_frames, device=length.device) < length.unsqueeze(-1)


def reversed_frames(x: Tensor, length: Tensor) -> Tensor:
    """Return sequences ``(B, T, ...)`` with the frames of each in reverse; padding stays behind.

    Examples
    --------
    >>> reversed_frames(torch.tensor([[1, 2, 3, 0]]), torch.tensor([3]))
    tensor([[3, 2, 1, 0]])
    """
    steps = torch.arange(x.shape[1], device=x.device)
    backwards = length.unsqueeze(-1) - 1 - steps
    order = torch.where(backwards >= 0, backwards, steps)
    order = order.reshape(*order.shape, *[1] * (x.dim() - 2)).expand_as(x)
    return x.gather(1, order)


def read_backwards(rnn: nn.RNNBase, x: Tensor, length: Tensor) -> Tensor:
    """Return what a recurrent network (``batch_first``) makes of the frames from the last one on.

    Parameters
    ----------
    rnn
        From ``(B, T, D)`` to ``(B, T, H)``.
    x
        Sequences ``(B, T, D)``.
    length
        Their lengths, ``(B,)``.

    Returns
    -------
    Tensor
        ``(B, T, H)``; entry t has seen the frames t ... length - 1.
    """
    states, _ = rnn(reversed_frames(x, length))
    return reversed_frames(states, length)
