"""Sequences of different lengths in one padded array: which entries are frames, and their order."""

from collections.abc import Mapping

import torch
from torch import Tensor

__all__ = [
    "FEW_FRAMES",
    "aligned",
    "fill_padding",
    "first_frames",
    "frame_mask",
    "frames_from",
    "reversed_frames",
    "with_frames",
]

FEW_FRAMES = 8  # of each sequence, where a pair is only tried


def frame_mask(length: Tensor, num_frames: int) -> Tensor:
    """Return which of ``num_frames`` are no padding, ``(B, T)``, for lengths ``(B,)``.

    Examples
    --------
    >>> frame_mask(torch.tensor([1, 3]), 3)
    tensor([[ True, False, False],
            [ True,  True,  True]])
    """
    return torch.arange(num_frames, device=length.device) < length.unsqueeze(-1)


def aligned(mask: Tensor, values: Tensor) -> Tensor:
    """Return a mask with dimensions of one element behind, so that it goes with values.

    Examples
    --------
    >>> aligned(torch.tensor([[True, False]]), torch.zeros(1, 2, 5)).shape
    torch.Size([1, 2, 1])
    """
    return mask.reshape(*mask.shape, *[1] * (values.dim() - mask.dim()))


def fill_padding(x: Tensor, length: Tensor, value: Tensor | float) -> Tensor:
    """Return sequences ``(B, T, ...)`` with a value behind the end of each.

    Examples
    --------
    >>> fill_padding(torch.tensor([[1, 2, 3]]), torch.tensor([2]), 0)
    tensor([[1, 2, 0]])
    """
    return torch.where(aligned(frame_mask(length, x.shape[1]), x), x, value)


def with_frames(x: Tensor, num_frames: int, fill: float = 0.0, *, dim: int = 1) -> Tensor:
    """Return sequences cut or filled up to so many frames, which are in dimension ``dim``.

    Examples
    --------
    >>> with_frames(torch.tensor([[1, 2, 3]]), 2), with_frames(torch.tensor([[1, 2, 3]]), 4)
    (tensor([[1, 2]]), tensor([[1, 2, 3, 0]]))
    """
    missing = num_frames - x.shape[dim]
    if missing <= 0:
        return x.narrow(dim, 0, num_frames)
    size = (*x.shape[:dim], missing, *x.shape[dim + 1 :])
    return torch.cat([x, x.new_full(size, fill)], dim)


def first_frames(args: Mapping[str, Tensor], most: int = FEW_FRAMES) -> dict[str, Tensor]:
    """Return arguments with the first frames of each sequence; others, without ``length``, whole.

    Enough to try a pair on, at a cost that does not grow with the length of sequences.

    Examples
    --------
    >>> args = first_frames({"x": torch.zeros(1, 100, 2), "length": torch.tensor([90])})
    >>> args["x"].shape, args["length"]
    (torch.Size([1, 8, 2]), tensor([8]))
    """
    if "length" not in args:
        return dict(args)
    frames = args["x"].shape[1:2]
    shorter = {n: a[:, :most] if a.shape[1:2] == frames else a for n, a in args.items()}
    # In a late window of several sequences some have no frame left, of which nothing is learned.
    return {**shorter, "length": args["length"].clamp(1, most)}


def frames_from(args: Mapping[str, Tensor], start: int, number: int) -> dict[str, Tensor]:
    """Return arguments with so many frames from one on, filled up behind the last with zeros.

    Examples
    --------
    >>> args = frames_from({"x": torch.ones(1, 9, 2), "length": torch.tensor([7])}, 5, 5)
    >>> args["x"].shape, args["length"]
    (torch.Size([1, 5, 2]), tensor([2]))
    """
    frames = args["x"].shape[1:2]
    cut = {
        name: with_frames(value[:, start : start + number], number)
        for name, value in args.items()
        if value.shape[1:2] == frames
    }
    return {**args, **cut, "length": (args["length"] - start).clamp(0, number)}


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
    return x.gather(1, aligned(order, x).expand_as(x))
