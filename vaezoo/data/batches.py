"""Batches of a data set on a device, as the arguments that a pair's model and guide take."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.dataset import Array, Data, with_arguments
from vaezoo.data.transform import Transform
from vaezoo.errors import RequestError, require_positive
from vaezoo.pairs.lengths import FEW_FRAMES, first_frames, with_frames

__all__ = ["Batches", "alike", "bucket", "epoch_order", "to_tensor"]

_FIXED_DRAW_SEED = 20160101
_FIXED_CHUNK = 500
_LARGEST_IN_MEMORY = 2**30
_LARGEST_SHARE_OF_DEVICE = 0.25


class Batches:
    """The rows of a data set, gathered and transformed on a device.

    The arrays of a split move to the device once, as they are stored (uint8 stays uint8), when
    they fit; a memory-mapped array is read batch by batch instead when it is larger than 1 GiB, or
    not trained on.

    Parameters
    ----------
    data
        Where rows come from.
    transform
        Applied to ``x``.
    names
        Arguments of the model, in order; each is the name of an array.
    device
        Where batches are wanted.

    Raises
    ------
    RequestError
        When the model takes an argument that the data do not have.
    """

    def __init__(
        self, data: Data, transform: Transform, names: Sequence[str], device: torch.device
    ) -> None:
        data = with_arguments(data, names)
        absent = [name for name in names if name not in data.arrays]
        if absent:
            can_be_cut = absent[0] == "length" and data.x.ndim in (2, 3)
            hint = "; `window=100` makes sequences of series (T, D) or (N, T, D)"
            raise RequestError(
                f"the model takes '{absent[0]}', but {data.name} has only "
                f"{', '.join(data.arrays)} ({data.kind}){hint if can_be_cut else ''}"
            )
        if data.length is not None and "length" not in names:
            raise RequestError(
                f"{data.name} holds sequences, but the model takes no 'length'; "
                "choose a sequence model (`vaezoo.list_models()`), or images or vectors with `data`"
            )
        self.data = data
        self.transform = transform
        self.names = tuple(names)
        self.device = device
        self._resident: dict[str, dict[str, Tensor]] = {}
        self._buffers: dict[tuple[str, torch.Size], Tensor] = {}

    def share(self, other: "Batches") -> None:
        """Keep the same rows in memory as other batches of these data."""
        self._resident = other._resident

    def with_splits(self, splits: Mapping[str, Array]) -> "Batches":
        """Return batches of the same data in other splits, each the positions of its rows."""
        data = replace(self.data, splits=dict(splits))
        return Batches(data, self.transform, self.names, self.device)

    def size(self, split: str, limit: int | None = None) -> int:
        """Return the number of rows in a split, or of its first ``limit``."""
        require_positive("limit", limit, "row")
        return len(self.data.rows(split)[:limit])

    def num_units(self, split: str) -> int:
        """Return the number of data in a split, or of frames for sequences."""
        rows = self.data.rows(split)
        return len(rows) if self.data.length is None else int(self.data.length[rows].sum())

    def order(self, split: str, num_rows: int, size: int, *, seed: int, epoch: int) -> Tensor:
        """Return the positions of rows in an epoch, of which each ``size`` are a batch.

        Sequences of a batch are padded to the longest of them, so those of like lengths come
        together.
        """
        order = epoch_order(self.size(split), seed=seed, epoch=epoch)[:num_rows]
        if self.data.length is None:
            return order
        lengths, of_rows = np.unique(self.data.length[self.data.rows(split)], return_inverse=True)
        sizes = [bucket(int(length), self.data.x.shape[1]) for length in lengths]
        frames = torch.tensor(sizes)[torch.from_numpy(of_rows)]
        return alike(order, frames, size, seed=seed, epoch=epoch)

    def train(self, split: str, positions: Tensor) -> tuple[Tensor, ...]:
        """Return the rows at some positions of a split, as the arguments of model and guide."""
        return self.finish(self.gather(split, positions))

    def gather(self, split: str, positions: Tensor) -> tuple[Tensor, ...]:
        """Return the rows at some positions of a split as they are stored.

        The same tensors are filled again by the next call for as many rows. What does not change
        from visit to visit is done here: a fixed binarisation, and the cut of sequences to the
        smallest bucket that holds the longest (:func:`bucket`).
        """
        raw = self._gather(split, positions, reuse=True)
        if self.transform.binarize == "static":
            raw["x"] = self._binarize(split, positions, raw["x"])
        return self._cut(raw, self._bucket(split, positions))

    def first(self, split: str, num_rows: int) -> tuple[Tensor, ...]:
        """Return up to so many rows of a split, the first ones, as :meth:`gather` does."""
        return self.gather(split, torch.arange(min(num_rows, self.size(split))))

    def finish(self, raw: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return the arguments of model and guide for gathered rows; tensor operations only.

        Fresh draws use the global generator of torch, so a seed fixes them.
        """
        args = dict(zip(self.names, raw, strict=True))
        if self.transform.binarize != "static":
            args["x"] = self.transform.continuous(args["x"])
        if self.transform.binarize == "dynamic":
            grey = args["x"]
            args["x"] = self._with_gaps((torch.rand_like(grey) < grey).to(torch.float32), grey)
        return tuple(args.values())

    def few_frames(self, args: Sequence[Tensor], most: int = FEW_FRAMES) -> tuple[Tensor, ...]:
        """Return rows, gathered or finished, with the first frames of each sequence."""
        return tuple(first_frames(dict(zip(self.names, args, strict=True)), most).values())

    @property
    def times_few(self) -> float:
        """How many times the frames of :meth:`few_frames` rows have on average; 1 without any."""
        return max(1.0, self.num_units("train") / self.size("train") / FEW_FRAMES)

    @property
    def incomplete(self) -> tuple[str, ...]:
        """Arguments of the model that have missing entries."""
        return tuple(name for name in self.names if name in self.data.incomplete)

    def with_gaps(self, limit: int) -> tuple[Tensor, ...]:
        """Return up to so many rows that have missing entries, as :meth:`fixed` does."""
        gaps = np.unique(np.concatenate([self.data.incomplete[name] for name in self.incomplete]))
        for split, rows in self.data.splits.items():
            positions = np.flatnonzero(np.isin(rows, gaps))[:limit]
            if len(positions):
                return self.whole(split, positions=torch.from_numpy(positions))
        return ()

    def fixed(
        self, split: str, *, positions: Tensor | None = None, limit: int | None = None
    ) -> Iterator[tuple[Tensor, ...]]:
        """Yield a split in order, in batches of 500, the same values every time.

        Parameters
        ----------
        split
            Name of the split.
        positions
            Only these positions.
        limit
            Only the first so many rows.
        """
        if positions is None:
            positions = torch.arange(self.size(split, limit))
        for chunk in torch.split(positions[:limit], _FIXED_CHUNK):
            raw = self._gather(split, chunk)
            if self.transform.binarize == "none":
                raw["x"] = self.transform.continuous(raw["x"])
            else:
                raw["x"] = self._binarize(split, chunk, raw["x"])
            yield self._cut(raw, self._bucket(split, chunk))

    def whole(
        self, split: str, *, positions: Tensor | None = None, limit: int | None = None
    ) -> tuple[Tensor, ...]:
        """Return rows as one batch, as :meth:`fixed` does in pieces.

        Sequences have as many frames as the longest of them.
        """
        parts = list(self.fixed(split, positions=positions, limit=limit))
        named = dict(zip(self.names, zip(*parts, strict=True), strict=True))
        if "length" in named:
            frames = max(int(length.max()) for length in named["length"])
            arrays = self.data.arrays
            for name in self.names:
                if arrays[name].shape[1:2] == arrays["x"].shape[1:2]:
                    named[name] = tuple(with_frames(part, frames) for part in named[name])
        return tuple(torch.cat(tensors) for tensors in named.values())

    def _gather(self, split: str, positions: Tensor, *, reuse: bool = False) -> dict[str, Tensor]:
        if split not in self._resident and (reuse or not self._is_mapped):
            self._resident[split] = self._move(split)
        resident = self._resident.get(split, {})
        frames = self._frames(split, positions, is_kept=not reuse)
        batch = {}
        for name in self.names:
            in_time = frames and self.data.arrays[name].shape[1:2] == self.data.x.shape[1:2]
            if name in resident:
                values = resident[name][:, :frames] if in_time else resident[name]
                out = self._buffer(name, values, len(positions)) if reuse else None
                batch[name] = torch.index_select(values, 0, positions.to(self.device), out=out)
            else:
                array = self._tensor(name, self.data.rows(split)[positions.cpu().numpy()])
                batch[name] = (array[:, :frames] if in_time else array).to(self.device)
        return batch

    def _frames(self, split: str, positions: Tensor, *, is_kept: bool) -> int | None:
        """Return how many frames of some rows are read; None for all, of which a draw is kept."""
        binarize = self.transform.binarize
        if binarize == "static" or (is_kept and binarize != "none"):
            return None
        return self._bucket(split, positions)

    def _bucket(self, split: str, positions: Tensor) -> int | None:
        """Return what sequences are cut to; of the lengths in memory, as no device is waited for.

        None for what is no sequence, and for no rows.
        """
        if self.data.length is None or not len(positions):
            return None
        lengths = self.data.length[self.data.rows(split)[positions.cpu().numpy()]]
        return bucket(int(lengths.max()), self.data.x.shape[1])

    def _buffer(self, name: str, values: Tensor, num_rows: int) -> Tensor:
        shape = torch.Size((num_rows, *values.shape[1:]))
        if (name, shape) not in self._buffers:
            self._buffers[name, shape] = values.new_empty(shape)
        return self._buffers[name, shape]

    def _cut(self, raw: dict[str, Tensor], size: int | None) -> tuple[Tensor, ...]:
        """Cut the padding of sequences; it changes nothing that a pair computes."""
        if size is None:
            return tuple(raw[name] for name in self.names)
        num_frames = raw["x"].shape[1]
        return tuple(
            raw[name][:, :size] if raw[name].shape[1:2] == (num_frames,) else raw[name]
            for name in self.names
        )

    def _binarize(self, split: str, positions: Tensor, x: Tensor) -> Tensor:
        """Return the one fixed draw of some rows."""
        grey = self.transform.continuous(x)
        draw = (self._fixed_uniform(split, positions, grey) < grey).to(torch.float32)
        return self._with_gaps(draw, grey)

    def _with_gaps(self, draw: Tensor, grey: Tensor) -> Tensor:
        """Leave out of a draw what is missing."""
        return torch.where(grey.isnan(), grey, draw) if "x" in self.incomplete else draw

    def _move(self, split: str) -> dict[str, Tensor]:
        rows = self.data.rows(split)
        arrays = {name: self.data.arrays[name] for name in self.names}
        return {
            name: self._tensor(name, rows).to(self.device)
            for name, array in arrays.items()
            if self._fits(array, len(rows))
        }

    def _tensor(self, name: str, rows: Array) -> Tensor:
        array = self.data.arrays[name][rows]  # a copy
        if name == "x" and self.transform.is_offset:
            # Cast before their mean is taken off, the values would lose what they vary by.
            return torch.from_numpy(np.ascontiguousarray(array, np.float64))
        return torch.from_numpy(np.ascontiguousarray(_as_torch_has_it(array, name)))

    @property
    def _is_mapped(self) -> bool:
        """Whether x lies on the disk: then only training, which comes back, moves all of it."""
        return isinstance(self.data.x, np.memmap)

    def _fits(self, array: Array, num_rows: int) -> bool:
        size = array.nbytes * num_rows // max(1, len(array))
        if self.device.type == "cuda":
            free, _ = torch.cuda.mem_get_info(self.device)
            if size > _LARGEST_SHARE_OF_DEVICE * free:
                return False
        return not isinstance(array, np.memmap) or size <= _LARGEST_IN_MEMORY

    def _fixed_uniform(self, split: str, positions: Tensor, x: Tensor) -> Tensor:
        """Uniform numbers that depend on the row alone, whatever batch it comes in."""
        rows = self.data.rows(split)[positions.cpu().numpy()]
        draws = torch.empty(x.shape)
        for draw, row in zip(draws, rows.tolist(), strict=True):
            draw.uniform_(generator=torch.Generator().manual_seed(_FIXED_DRAW_SEED + row))
        return draws.to(x.device)


def to_tensor(array: Array, name: str) -> Tensor:
    """Return a tensor of the same values; 64-bit reals become 32-bit, integers 64-bit.

    Bytes of ``x``, and what is true or false, stay as they are.
    """
    return torch.from_numpy(np.array(_as_torch_has_it(array, name), order="C"))


def _as_torch_has_it(array: Array, name: str) -> Array:
    if array.dtype == np.float64 or array.dtype == np.float16:
        with np.errstate(over="ignore"):  # what is too large is refused in words, by its range
            array = array.astype(np.float32)
    elif array.dtype.kind in "ui" and (array.dtype != np.uint8 or name != "x"):
        array = array.astype(np.int64)
    return array


def bucket(length: int, longest: int) -> int:
    """Return the number of frames that sequences of up to ``length`` are padded to.

    Buckets are four to an octave, 8, 10, 12, 14, 16, 20, ..., so that at most a fifth is padding
    and there are few of them; none exceeds ``longest``.

    Examples
    --------
    >>> [bucket(n, 160) for n in (1, 8, 9, 61, 129, 160)]
    [8, 8, 10, 64, 160, 160]
    """
    step = max(2, 2 ** (length - 1).bit_length() // 8)
    return min(longest, max(8, -(-length // step) * step))


def epoch_order(num_rows: int, *, seed: int, epoch: int) -> Tensor:
    """Return the order of the rows in an epoch; a function of seed and epoch alone.

    Examples
    --------
    >>> sorted(epoch_order(4, seed=0, epoch=1).tolist())
    [0, 1, 2, 3]
    """
    return torch.randperm(num_rows, generator=_generator(seed, epoch))


def alike(order: Tensor, frames: Tensor, batch_size: int, *, seed: int, epoch: int) -> Tensor:
    """Return rows in an order by which batches, taken one after another, have like lengths.

    Rows of one number of frames, and batches, stand in a random order, which is a function of seed
    and epoch. The batch that is shorter, at the end, is of any length.

    Parameters
    ----------
    order
        Positions of rows, in a random order; which stays where all have the same frames.
    frames
        What each position is padded to.
    batch_size
        Rows of a batch.
    seed, epoch
        As in :func:`epoch_order`.

    Examples
    --------
    >>> frames = torch.tensor([8, 20, 8, 20, 8])
    >>> alike(torch.arange(5), frames, 2, seed=0, epoch=0).tolist()
    [1, 3, 0, 2, 4]
    """
    if len(frames[order].unique()) < 2:
        return order
    generator = _generator(-1 - seed, epoch)  # of no order
    num_full, num_left = divmod(len(order), batch_size)
    by_frames = order[frames[order].argsort(stable=True)]
    start = int(torch.randint(num_full + 1, (), generator=generator)) * batch_size
    last = by_frames[start : start + num_left]
    full = torch.cat([by_frames[:start], by_frames[start + num_left :]]).view(num_full, batch_size)
    return torch.cat([full[torch.randperm(num_full, generator=generator)].flatten(), last])


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed((seed * 1_000_003 + epoch) % 2**63)
