"""Rows that are measured, and what of them depends on no weights: counted once for all epochs."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.transform import Transform
from vaezoo.observations.roles import Observation
from vaezoo.pairs.lengths import aligned, frame_mask
from vaezoo.pairs.sites import Args

__all__ = ["Rows"]


class Rows:
    """A batch of rows.

    Parameters
    ----------
    args
        The arguments of a pair, which are not changed any more.
    names
        Their names.
    transform
        What happened to their values.
    times
        Each row stands so many times in a row.

    Examples
    --------
    >>> x = torch.tensor([[1.0, torch.nan], [2.0, 3.0]])
    >>> rows = Rows((x,), ("x",), Transform())
    >>> len(rows), rows.units, rows.num_missing
    (2, 2, 1)
    """

    def __init__(
        self, args: Args, names: Sequence[str], transform: Transform, *, times: int = 1
    ) -> None:
        self.args, self.names, self.transform, self.times = args, names, transform, times
        self._entries: dict[str, tuple[float, float]] = {}

    def __len__(self) -> int:
        return len(self.args[0])

    @property
    def in_time(self) -> bool:
        """Whether they are sequences."""
        return "length" in self.names

    @cached_property
    def units(self) -> int:
        """How many data they are; of sequences, frames."""
        return int(self._arg("length").sum()) if self.in_time else len(self)

    @property
    def num_places(self) -> int:
        """How many data they would be if all sequences were as long as the longest."""
        return len(self) * (self.args[0].shape[1] if self.in_time else 1)

    @cached_property
    def num_missing(self) -> int:
        """How many entries are missing, which are no elements of what is explained."""
        return sum(int(arg.isnan().sum()) for arg in self.args)

    @cached_property
    def missing_volume(self) -> float:
        """Nats of the units of those entries of ``x`` that are missing."""
        if not self.num_missing or "x" not in self.names:
            return 0.0
        x = self._arg("x")
        volumes = torch.as_tensor(self.transform.log_volumes, device=x.device)
        return float(torch.where(x.isnan(), volumes, 0.0).sum())

    def entries(self, site: str, taken: Observation) -> tuple[float, float]:
        """Return the entries of an argument that a site takes, and the nats of their units."""
        if site not in self._entries:
            self._entries[site] = self._count(taken)
        return self._entries[site]

    def _arg(self, name: str) -> Tensor:
        return self.args[self.names.index(name)]

    def _count(self, taken: Observation) -> tuple[float, float]:
        arg, x = self._arg(taken.argument), self._arg("x")
        present = ~arg.isnan()
        frames = self.in_time and arg.shape[1:2] == x.shape[1:2]
        if frames:
            present = present & aligned(frame_mask(self._arg("length"), arg.shape[1]), present)
        event = arg.shape[1 + frames :]
        flat = present.reshape(-1, max(1, event.numel()))
        places = torch.arange(flat.shape[1]) if taken.elements is None else taken.elements
        chosen = flat.index_select(1, places.to(flat.device)).double()
        if taken.argument != "x" or self.transform.binarize != "none":
            return float(chosen.sum()), 0.0
        volumes = torch.from_numpy(np.broadcast_to(self.transform.log_volumes, event).copy())
        return float(chosen.sum()), float((chosen.sum(0).cpu() * volumes.flatten()[places]).sum())
