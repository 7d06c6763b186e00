"""What a file holds, before it is split: arrays by the names of arguments, and what was decided."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from vaezoo.data.dataset import Array

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
    """

    arrays: Mapping[str, Array]
    columns: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    split: Array | None = None
