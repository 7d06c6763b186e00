"""Rows in pieces, and pieces joined: what keeps in bounds the memory that a large batch needs."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn

from vaezoo.pairs.lengths import with_frames
from vaezoo.pairs.sites import Args, takes_lengths

__all__ = [
    "MOST_FRAMES",
    "MOST_ROWS",
    "chains_at_once",
    "data_at_once",
    "in_pieces",
    "join",
    "join_sequences",
    "numbered_rows",
    "rows_at_once",
    "slices",
    "split_rows",
    "trial_rows",
]

# Where one piece fills the cores of a CPU or a GPU, and more would take memory only.
MOST_ROWS, MOST_FRAMES = 8192, 2**17
# Of a tensor as large as x, on a CPU: log weights of 28 x 28 pixels take 0.75 of the time by 2,048
# rows at a time that they take by 8,192, which no cache holds, and 1.6 times it by 256.
MOST_NUMBERS, FEWEST_ROWS = 2**21, 512
# A gradient by 6,400 latents through 500 units takes 0.8 of the time by 1,600 of them.
ROWS_OF_GRADIENT = 2048
ROWS_OF_TRIAL = 8

T = TypeVar("T")


def rows_at_once(num_draws: int = 1, *, num_frames: int = 1, most: int = MOST_ROWS) -> int:
    """Return how many data go through a pair at a time, one or more.

    Parameters
    ----------
    num_draws
        Rows for each datum.
    num_frames
        Frames of the longest sequence; all of them are there at once.
    most
        Most rows.

    Examples
    --------
    >>> rows_at_once(100), rows_at_once(num_frames=1000), rows_at_once(10_000)
    (81, 131, 1)
    """
    most = most if num_frames == 1 else min(most, MOST_FRAMES // num_frames)
    return max(1, most // num_draws)


def data_at_once(pair: nn.Module, args: Args, num_draws: int = 1) -> int:
    """Return how many data of a batch go through a pair at a time, with all of their frames.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> data_at_once(LinearPair(), (torch.zeros(3, 4),), num_draws=100)
    81
    >>> data_at_once(LinearPair(), (torch.zeros(3, 28, 28),))
    2674
    """
    if takes_lengths(pair):
        return rows_at_once(num_draws, num_frames=args[0].shape[1])
    most = (
        MOST_NUMBERS // max(1, args[0][:1].numel()) if args[0].device.type == "cpu" else MOST_ROWS
    )
    return rows_at_once(num_draws, most=min(MOST_ROWS, max(FEWEST_ROWS, most)))


def chains_at_once(position: Tensor) -> int:
    """Return of how many chains ``(C, B, L)`` a gradient is taken at a time.

    Examples
    --------
    >>> chains_at_once(torch.zeros(64, 100, 20))
    20
    """
    return rows_at_once(
        position.shape[1], most=ROWS_OF_GRADIENT if position.device.type == "cpu" else MOST_ROWS
    )


def slices(number: int, size: int) -> list[slice]:
    """Return which of so many rows are in each piece.

    Examples
    --------
    >>> slices(5, 2)
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    """
    return [slice(start, min(start + size, number)) for start in range(0, number, size)]


def split_rows(args: Args, size: int) -> Iterator[Args]:
    """Yield the rows of a batch, tensors of ``(B, ...)``, up to ``size`` at a time.

    Examples
    --------
    >>> [len(x) for (x,) in split_rows((torch.zeros(5, 2),), 2)]
    [2, 2, 1]
    """
    return zip(*[arg.split(size) for arg in args], strict=True)


def numbered_rows(args: Args, size: int) -> Iterator[tuple[int, Args]]:
    """Yield the rows of a batch, up to ``size`` at a time, after the place of the first of them.

    Examples
    --------
    >>> [(first, len(x)) for first, (x,) in numbered_rows((torch.zeros(5, 2),), 2)]
    [(0, 2), (2, 2), (4, 1)]
    """
    return zip(range(0, len(args[0]), size), split_rows(args, size), strict=True)


def trial_rows(args: Args) -> Args:
    """Return the first rows of a batch: enough to try how a pair behaves.

    Examples
    --------
    >>> trial_rows((torch.zeros(100, 2),))[0].shape
    torch.Size([8, 2])
    """
    return tuple(arg[:ROWS_OF_TRIAL] for arg in args)


def in_pieces(fn: Callable[[Tensor], T], values: Tensor, size: int) -> T:
    """Call a function on up to ``size`` rows of ``values`` at a time, and join what it returns.

    Examples
    --------
    >>> in_pieces(torch.square, torch.arange(5), 2)
    tensor([ 0,  1,  4,  9, 16])
    """
    return join([fn(part) for part in values.split(size)])


def join(parts: Sequence[T], dim: int = 0, dims: Mapping[str, int] | None = None) -> T:
    """Join pieces: tensors along a dimension, and the same inside of what holds them.

    Parameters
    ----------
    parts
        Tensors, or tuples, mappings or dataclasses of them, all alike. None stays None, and other
        numbers, as seconds, add up.
    dim
        The dimension of the rows.
    dims
        That of fields of a dataclass for which it is another one.

    Examples
    --------
    >>> join([{"z": torch.zeros(2, 3)}, {"z": torch.zeros(1, 3)}])["z"].shape
    torch.Size([3, 3])
    """
    return cast(T, _join(parts, dim, dims or {}))


def _join(parts: Sequence[Any], dim: int, dims: Mapping[str, int]) -> Any:
    first = parts[0]
    if first is None:
        return None
    if isinstance(first, Tensor):
        return torch.cat(tuple(parts), dim)
    if isinstance(first, Mapping):
        return {name: join([part[name] for part in parts], dim) for name in first}
    if isinstance(first, tuple):
        return tuple(join(column, dim) for column in zip(*parts, strict=True))
    if is_dataclass(first) and not isinstance(first, type):
        names = [field.name for field in fields(first)]
        columns = {name: [getattr(part, name) for part in parts] for name in names}
        return replace(first, **{n: join(c, dims.get(n, dim)) for n, c in columns.items()})
    return sum(parts)


def join_sequences(
    parts: Sequence[Tensor], fill: float, *, dim: int = 0, num_frames: int | None = None
) -> Tensor:
    """Join rows of sequences that were cut to different lengths.

    Parameters
    ----------
    parts
        Sequences, their rows in dimension ``dim`` and their frames in the next one.
    fill
        What stands behind the shorter ones.
    dim
        The dimension of the rows.
    num_frames
        Frames of the result; by default as many as the longest has.

    Examples
    --------
    >>> join_sequences([torch.ones(1, 2), torch.ones(1, 3)], 0.0)
    tensor([[1., 1., 0.],
            [1., 1., 1.]])
    """
    longest = num_frames or max(part.shape[dim + 1] for part in parts)
    return torch.cat([with_frames(part, longest, fill, dim=dim + 1) for part in parts], dim)
