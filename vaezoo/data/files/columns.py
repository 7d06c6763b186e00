"""Columns of a table: those that stand for an argument of the model, and the order of the rest."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from vaezoo.data.dataset import Array, Data, checksum_of
from vaezoo.errors import RequestError, nearest, shown
from vaezoo.settings import DataSettings, checked

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Columns",
    "checked_columns",
    "codes_of_texts",
    "column_values",
    "in_order",
    "is_text",
    "refuse_missing_text",
    "refuse_unread",
    "settings_of",
]

Columns: TypeAlias = Mapping[str, str | tuple[str, ...] | list[str]]


def settings_of(name: str, seed: int, columns: Columns | None) -> DataSettings:
    """Return how data are read, of what is usually said of it.

    Examples
    --------
    >>> settings_of("x.csv", 0, {"c": ["age", "sex"]}).columns
    {'c': ('age', 'sex')}
    """
    values = {"name": name, "split_seed": seed, "columns": dict(columns or {})}
    return checked(DataSettings, values)


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


def column_values(
    table: "pd.DataFrame",
    names: str | tuple[str, ...],
    categories: Mapping[str, tuple[str, ...]] | None = None,
) -> Array:
    """Return one column ``(N,)``, or several ``(N, k)``; text as numbers in alphabetical order.

    Reals are float32, whole numbers int64, and truth values stay what they are. ``categories`` are
    texts by column, in the order of their codes.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"age": [1.5, 2.0], "city": ["Rome", "Oslo"]})
    >>> column_values(table, "city"), column_values(table, ("age",)).shape
    (array([1, 0]), (2, 1))
    """
    if isinstance(names, str):
        return _values(table[names], categories or {})
    return np.stack([_values(table[name], categories or {}) for name in names], -1)


def _values(column: "pd.Series[Any]", categories: Mapping[str, tuple[str, ...]]) -> Array:
    from pandas.api.types import is_bool_dtype

    missing = column.isna().to_numpy()
    if is_text(column):
        refuse_missing_text(column)
        return codes_of_texts(column, categories.get(str(column.name)))[0]
    if is_bool_dtype(column) and not missing.any():
        return column.to_numpy(dtype=bool)
    if column.dtype.kind in "ui" and not missing.any():
        return column.to_numpy(dtype=np.int64)
    with np.errstate(over="ignore"):
        return column.to_numpy(dtype=np.float32, na_value=np.nan)


def is_text(column: "pd.Series[Any]") -> bool:
    """Whether the values of a column are no numbers.

    Examples
    --------
    >>> import pandas as pd
    >>> is_text(pd.Series(["a"])), is_text(pd.Series([1.5]))
    (True, False)
    """
    from pandas.api.types import is_numeric_dtype

    return not is_numeric_dtype(column)


def refuse_missing_text(column: "pd.Series[Any]", row: str = "row") -> None:
    """Refuse a column in which an entry is missing, with the number of its row.

    Examples
    --------
    >>> import pandas as pd
    >>> refuse_missing_text(pd.Series(["a", None], name="city"))
    Traceback (most recent call last):
    vaezoo.errors.RequestError: no city in row 1; fill or drop it
    """
    missing = column.isna().to_numpy()
    if missing.any():
        raise RequestError(f"no {column.name} in {row} {int(missing.argmax())}; fill or drop it")


def codes_of_texts(
    column: "pd.Series[Any]", texts: tuple[str, ...] | None = None
) -> tuple[Array, tuple[str, ...]]:
    """Return the code of each text ``(N,)``, -1 where it is missing, and the texts by their code.

    Parameters
    ----------
    column
        Texts.
    texts
        Those of the training; by default all there are, in alphabetical order.

    Raises
    ------
    RequestError
        When a text is none of those of the training.

    Examples
    --------
    >>> import pandas as pd
    >>> codes_of_texts(pd.Series(["b", None, "c"]), ("a", "b", "c"))
    (array([ 1, -1,  2]), ('a', 'b', 'c'))
    """
    import pandas as pd

    there = column.notna().to_numpy()
    values = column.astype(str)
    order = texts or tuple(sorted(values[there].unique()))
    codes = pd.Index(order).get_indexer(pd.Index(values)).astype(np.int64)
    codes[~there] = -1
    unknown = there & (codes < 0)
    if unknown.any():
        row = int(unknown.argmax())
        raise RequestError(
            f"column {shown(column.name)} has {shown(column.iloc[row])} in row {row}, which is not "
            f"among the texts of the training: {_listed(order)}"
        )
    return codes, order


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
        differs = " and ".join(filter(None, (lacks, more)))
        wrong = f"{differs} than what was trained on" if differs else "names a column twice, of"
        raise RequestError(
            f"{data.name} {wrong}: {_listed(columns)}; give the same columns, in any order"
        )
    x = data.x[..., [data.columns.index(name) for name in columns]]
    arrays = {**data.arrays, "x": x}
    # A frame in memory is known again by its values, whatever their order was.
    return replace(data, arrays=arrays, columns=tuple(columns), checksum=checksum_of(arrays))


def _listed(names: Sequence[str], most: int = 6) -> str:
    """Return the first names of some, as ``'a', 'b', ...``."""
    return ", ".join([*map(shown, names[:most]), *(["..."] if len(names) > most else [])])
