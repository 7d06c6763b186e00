"""Sequences of different lengths in one padded array: which entries are frames, and their order."""

import torch
from torch import Tensor

__all__ = ["frame_mask", "reversed_frames"]


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
