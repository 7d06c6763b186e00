"""What a file holds, before it is split: arrays by the names of arguments, and what was decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vaezoo.data.dataset import Array
from vaezoo.data.splits import grouped_splits, named_splits, random_splits, with_validation

__all__ = ["Contents"]


@dataclass(frozen=True)
class Contents:
    """Arrays of a file, and what they are.

    Attributes
    ----------
    arrays
        ``x`` and others of N rows.
    columns, categories, notes
        As those of :class:`vaezoo.Data`.
    split
        The name of the split of each row ``(N,)``, where the file says it.
    group
        The group of each row ``(N,)``, where groups are to stay together.
    """

    arrays: Mapping[str, Array]
    columns: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    split: Array | None = None
    group: Array | None = None

    def splits(self, seed: int) -> dict[str, NDArray[np.int64]]:
        """Return the rows of each split: as the file says, by groups, or at random.

        Where a file says no rows for validation, they are a tenth of those for training.
        """
        if self.split is not None:
            splits = named_splits(self.split)
            return splits if len(splits["validation"]) else with_validation(splits, seed)
        if self.group is not None:
            return grouped_splits(self.group, seed)
        return random_splits(len(self.arrays["x"]), seed)
