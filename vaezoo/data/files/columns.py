"""Columns of a table: those that stand for an argument of the model, and the order of the rest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vaezoo.data.dataset import Array, Data, checksum_of
from vaezoo.errors import RequestError, nearest, shown

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Columns", "checked_columns", "column_values", "in_order", "refuse_unread"]

Columns: TypeAlias = Mapping[str, str | tuple[str, ...] | list[str]]


def checked_columns(
    columns: Columns, existing: Iterable[str], apart: Iterable[str], where: object
) -> dict[str, str | tuple[str, ...]]:
    """Return the columns of each argument; a refusal of what a table lacks.

    Parameters
    ----------
    columns
        One column or several, by argument.
    existing
        Columns of the table.
    apart
        Those with a meaning of their own: ``id`` and ``time`` of sequences.
    where
        What messages call the table.

    Raises
    ------
    RequestError
        When there is no such column, or none is named.

    Examples
    --------
    >>> checked_columns({"c": ["age", "sex"]}, ["age", "sex", "v"], [], "x.csv")
    {'c': ('age', 'sex')}
    """
    usable = [name for name in existing if name not in set(apart)]
    names = {key: one if isinstance(one, str) else tuple(one) for key, one in columns.items()}
    for argument, some in names.items():
        if not some:
            raise RequestError(f"`columns`: '{argument}' names no column of '{where}'")
        for name in (some,) if isinstance(some, str) else some:
            if name not in usable:
                hint = nearest(name, usable) if usable else "it has none"
                raise RequestError(f"`columns`: '{where}' has no column '{name}'; {hint}")
    return names


def column_values(table: "pd.DataFrame", names: str | tuple[str, ...]) -> Array:
    """Return one column ``(N,)``, or several ``(N, k)``; text as numbers in alphabetical order.

    Reals are float32, whole numbers int64, and truth values stay what they are.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"age": [1.5, 2.0], "city": ["Rome", "Oslo"]})
    >>> column_values(table, "city"), column_values(table, ("age",)).shape
    (array([1, 0]), (2, 1))
    """
    if isinstance(names, str):
        return _values(table[names])
    return np.stack([_values(table[name]) for name in names], -1)


def _values(column: "pd.Series[Any]") -> Array:
    from pandas.api.types import is_bool_dtype, is_numeric_dtype

    missing = column.isna().to_numpy()
    if not is_numeric_dtype(column):
        if missing.any():
            row = int(missing.argmax())
            raise RequestError(f"no {column.name} in row {row}; fill or drop it")
        return column.astype("category").cat.codes.to_numpy(dtype=np.int64)
    if is_bool_dtype(column) and not missing.any():
        return column.to_numpy(dtype=bool)
    if column.dtype.kind in "ui" and not missing.any():
        return column.to_numpy(dtype=np.int64)
    with np.errstate(over="ignore"):
        return column.to_numpy(dtype=np.float32, na_value=np.nan)


def refuse_unread(columns: Columns, arrays: Iterable[str], where: object) -> None:
    """Refuse columns of what is no table, unless it has arrays of these names itself.

    Examples
    --------
    >>> refuse_unread({"c": "age"}, ["x", "c"], "x.npz")
    """
    missing = [name for name in columns if name not in set(arrays)]
    if missing:
        raise RequestError(
            f"`columns` takes a table, and {where} is none; give it an array '{missing[0]}'"
        )


def in_order(data: Data, columns: Sequence[str]) -> Data:
    """Return data with the elements of ``x`` in the order of a table that was read before.

    Data without names stay as they are.

    Parameters
    ----------
    data
        Rows, perhaps of a table.
    columns
        Names of the elements in the other table; none where it had none.

    Raises
    ------
    RequestError
        When a column is missing, is too many, or stands twice under one name.

    Examples
    --------
    >>> from vaezoo.data import as_data
    >>> import pandas as pd
    >>> data = as_data(pd.DataFrame({"weight": [60.0, 70.0], "height": [1.6, 1.8]}))
    >>> in_order(data, ["height", "weight"]).x[0].tolist()
    [1.600000023841858, 60.0]
    """
    if not (columns and data.columns) or tuple(columns) == data.columns:
        return data
    missing = [name for name in columns if name not in data.columns]
    extra = [name for name in data.columns if name not in columns]
    if missing or extra or len(data.columns) != len(columns):
        lacks = f"has no column {_listed(missing)}" if missing else ""
        more = f"has a column {_listed(extra)} more" if extra else ""
        found = " and ".join(filter(None, (lacks, more))) or "names a column twice"
        raise RequestError(
            f"{data.name} {found} than what was trained on: {_listed(columns)}; "
            "give the same columns, in any order"
        )
    x = data.x[..., [data.columns.index(name) for name in columns]]
    arrays = {**data.arrays, "x": x}
    # A frame in memory is known again by its values, whatever their order was.
    return replace(data, arrays=arrays, columns=tuple(columns), checksum=checksum_of(arrays))


def _listed(names: Sequence[str], most: int = 6) -> str:
    """Return the first names of some, as ``'a', 'b', ...``."""
    return ", ".join([*map(shown, names[:most]), *(["..."] if len(names) > most else [])])
