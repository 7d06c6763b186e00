"""What a file holds, before it is split: arrays by the names of arguments, and what was decided."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from vaezoo.data.dataset import Array
from vaezoo.data.splits import grouped_splits, named_splits, random_splits, with_validation
from vaezoo.errors import nearest, shown
from vaezoo.settings import DataSettings

__all__ = ["Contents", "lacking"]


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
    lacks
        What settings name and there is none of, a line each: refused of what is trained on, while
        other data need have neither labels nor groups.
    """

    arrays: Mapping[str, Array]
    columns: tuple[str, ...] = ()
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    split: Array | None = None
    group: Array | None = None
    lacks: tuple[str, ...] = ()

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


def lacking(
    how: DataSettings,
    names: Iterable[str],
    where: str,
    kind: str = "column",
    *,
    pictures: bool = False,
) -> tuple[str, ...]:
    """Return a line for what settings name and there is none of: columns, arrays, or pictures.

    Parameters
    ----------
    how
        Whose label, group, columns with a type and those that are left out are looked for.
    names
        Of what there is.
    where
        What messages call it.
    kind
        Of what there is: ``column`` or ``array``.
    pictures
        Whether they are pictures in files, which can be resized or cut.

    Examples
    --------
    >>> lacking(DataSettings(name="", label="kind"), ["a", "b"], "'x.csv'")
    ("`label`: 'x.csv' has no column 'kind'; it has a, b",)
    """
    there = [str(name) for name in names]
    asked = [("drop", name) for name in how.drop] + [("types", name) for name in how.types]
    asked += [("group", how.group or "")] + [("label", how.label or "")] * (how.label != "none")
    lines = [
        f"`{argument}` is of pictures in files, and {where} has none"
        for argument in ("resize", "crop")
        if getattr(how, argument) and not pictures
    ]
    for argument, name in asked:
        if name and name not in there:
            hint = nearest(name, there) if there else ""
            near = hint.startswith("did you mean")
            listed = hint if near else f"it has {', '.join(there[:6]) or 'none'}"
            lines.append(f"`{argument}`: {where} has no {kind} {shown(name)}; {listed}")
    return tuple(lines)
