"""The rows that draws are made for, and what a pair's sites look like on them."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.batches import Batches
from vaezoo.data.dataset import Array
from vaezoo.distributions.families import is_discrete
from vaezoo.pairs.pieces import rows_at_once
from vaezoo.pairs.sites import Args, PairTrace, sample_sites, step_of, takes_lengths, trace_pair
from vaezoo.runs import Run
from vaezoo.runtime.device import seeded
from vaezoo.trees.coordinates import Coordinates

__all__ = ["Rows"]


@dataclass(frozen=True)
class Rows:
    """Some rows of a data set, before the pair of a run.

    Attributes
    ----------
    run
        The run.
    batches
        The data.
    split, limit
        Which rows.
    seed
        Seed of all draws.
    given
        Names of conditions that were given, for draws from the prior, too.
    """

    run: Run
    batches: Batches
    split: str
    limit: int | None
    seed: int
    given: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.batches.size(self.split, self.limit)

    def args(self, start: int, stop: int) -> Args:
        """Return some rows, of sequences as many frames as the longest of them has."""
        return self.batches.whole(self.split, positions=torch.arange(start, stop))

    def places(self, start: int, stop: int) -> Array:
        """Return where some rows are in the data set."""
        return self.batches.data.rows(self.split)[start:stop]

    def lengths(self, start: int, stop: int) -> Array:
        """Return the frames of some sequences."""
        return self.batches.data.arrays["length"][self.places(start, stop)]

    def placeholder(self, count: int) -> dict[str, Tensor]:
        """Return arguments to draw from the model; all sequences are as long as the longest."""
        args = self.run.placeholder(count, self.frames if self.is_sequence else None)
        named = dict(zip(self.batches.names, args, strict=True))
        if self.given:
            positions = torch.arange(count) % len(self)
            rows = self.batches.whole(self.split, positions=positions)
            mine = dict(zip(self.batches.names, rows, strict=True))
            named |= {name: mine[name] for name in self.given}
        return named

    def observed(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return data in their units: pixels become grey levels again, whole numbers stay whole."""
        inverted = self._in_data_units(values)
        whole = self.counted | {name for name in inverted if self._is_whole(name, "")}
        return {n: _whole(value) if n in whole else value for n, value in inverted.items()}

    def predicted(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return draws of observed sites in the units of the data, counts as whole numbers."""
        inverted = self._in_data_units(values)
        return {n: _whole(value) if n in self.counted else value for n, value in inverted.items()}

    def _in_data_units(self, values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        invert = self.run.transform.invert
        return {name: invert(value) if name == "x" else value for name, value in values.items()}

    @cached_property
    def counted(self) -> frozenset[str]:
        """Names of what is observed by a discrete likelihood and has whole numbers only."""
        sites = self.example.observed.items()
        return frozenset(
            n for n, site in sites if is_discrete(site["fn"]) and self._is_whole(n, "f")
        )

    def _is_whole(self, name: str, kinds: str) -> bool:
        """Whether an array has whole numbers, by its type, or by its values if of these kinds.

        Sequences have nan behind their ends, which whole numbers have not.
        """
        transform, array = self.run.transform, self.batches.data.arrays.get(name)
        if self.is_sequence or array is None:
            return False
        if name == "x" and not (transform.scale.is_integer() or transform.mean is not None):
            return False
        if array.dtype.kind not in kinds:
            return array.dtype.kind in "bui"
        some = array[self.places(0, len(self))]
        is_binary = name == "x" and transform.binarize != "none" and not np.isnan(some).any()
        return is_binary or bool((some == np.floor(some)).all())

    def log_volume(self, args: Args) -> Tensor | None:
        """Return by how much log-densities of x are smaller in the units of the data, ``(B,)``.

        Entries that are missing, and frames behind the end of a sequence, do not count. None where
        nothing is scaled, and where x is binarised.
        """
        transform = self.run.transform
        names = {self.base_of(name) for name in self.example.observed}
        is_of_x = any(name == "x" or name.startswith("x_") for name in names)
        if transform.binarize != "none" or not (is_of_x and np.any(transform.log_volumes)):
            return None
        named = dict(zip(self.batches.names, args, strict=True))
        x = named["x"]
        volumes = torch.as_tensor(transform.log_volumes, device=x.device).expand(x.shape)
        counts = ~x.isnan()
        if self.is_sequence:
            frames = torch.arange(x.shape[1], device=x.device) < named["length"][:, None]
            counts &= frames.reshape(*frames.shape, *[1] * (x.dim() - 2))
        return torch.where(counts, volumes, 0.0).flatten(1).sum(1)

    @cached_property
    def is_sequence(self) -> bool:
        """Whether the data are sequences."""
        return takes_lengths(self.run.pair)

    @cached_property
    def frames(self) -> int:
        """Frames of the longest of all rows; 1 of data that are no sequences."""
        return int(self.lengths(0, len(self)).max()) if self.is_sequence else 1

    @cached_property
    def at_once(self) -> int:
        """How many rows go through the pair at a time."""
        return rows_at_once(num_frames=self.frames)

    @cached_property
    def example(self) -> PairTrace:
        """One datum through the pair, of sequences with a site per step."""
        with torch.no_grad(), seeded(self.seed, self.run.device):
            return trace_pair(self.run.pair, self.args(0, 1))

    @cached_property
    def latents(self) -> dict[str, tuple[int, ...]]:
        """Names of the latents and their shapes, of sequences without time."""
        return {
            self.base_of(name): tuple(q["value"].shape[0 if name in self.shared else 1 :])
            for name, (_, q) in self.example.latents.items()
        }

    @cached_property
    def shared(self) -> frozenset[str]:
        """Names of the latents that all data share."""
        return frozenset(self.example.global_latents)

    @cached_property
    def coordinates(self) -> Coordinates:
        """Names of the dimensions of the groups."""
        columns = tuple(self.run.info.get("columns") or ())
        frames = self.frames if self.is_sequence else 0
        return Coordinates(self.latents, self._with_time, columns, frames, self.shared)

    def base_of(self, name: str) -> str:
        """Return the name of a site, of sequences without its step."""
        step = step_of(name) if self.is_sequence else None
        return step[0] if step else name

    @cached_property
    def _with_time(self) -> frozenset[str]:
        """Names of what has a value per frame: sites with steps, and arrays."""
        if not self.is_sequence:
            return frozenset()
        sites = sample_sites(self.example.model)
        steps = {self.base_of(name) for name in sites if step_of(name)}
        arrays = self.batches.data.arrays
        frames = arrays["x"].shape[1:2]
        named = {name for name in self.batches.names if arrays[name].shape[1:2] == frames}
        return frozenset({"mask"} | steps | named)


def _whole(value: Tensor) -> Tensor:
    """Return whole numbers of floats, which an inverse transform may have rounded."""
    return value.round().to(torch.int32) if value.is_floating_point() else value
