"""Columns of a table as elements of x: of which type each is, and the numbers that it becomes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from vaezoo.data.dataset import Array, slices
from vaezoo.data.files.columns import codes_of_texts, is_text, refuse_missing_text
from vaezoo.errors import RequestError, shown
from vaezoo.options import ColumnType
from vaezoo.settings import DataSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Element", "describe_elements", "read_elements", "stacked", "tells_nothing"]

_MOST_TEXTS = 64  # of a column that nobody said is one of categories
_LOST = 1e-3  # of a deviation: what 32 bits may round off
# As 1.234,5 or 1 000 or 12 %: what somebody wrote as a number, and nothing here reads as one.
_LIKE_A_NUMBER = r"[\s$€£]*[+-]?\d[\d.,'_\s]*[%$€£]?\s*"
_ISO_DATE = r"\s*\d{4}-\d\d"
_MOST_NAMES = 6


@dataclass(frozen=True)
class Element:
    """A column: its type, the names of the numbers it becomes, and these, ``(N, k)`` in float64."""

    name: str
    type: ColumnType
    names: tuple[str, ...]
    values: Array
    texts: tuple[str, ...] = ()


def read_elements(table: "pd.DataFrame", how: DataSettings) -> list[Element]:
    """Return the columns of a table as numbers.

    Reals, whole numbers and truth values stay what they are; a date is its days since 1970. Of two
    texts the second in alphabetical order is 1 and the other 0; of more, each is 0 or 1 in an
    element of its own.

    Raises
    ------
    RequestError
        When a column is of no type, or not of the one that `how` names.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"age": [30, 40, 50], "city": ["Rome", "Oslo", "Bern"]})
    >>> [element.names for element in read_elements(table, DataSettings(name=""))]
    [('age',), ('city=Bern', 'city=Oslo', 'city=Rome')]
    """
    plain = [str(name) for name in table if _is_plain(table[name], how)]
    block = table[plain].to_numpy(dtype=np.float64, na_value=np.nan)  # thousands of them at once
    has_fractions = (np.nan_to_num(block, posinf=0, neginf=0) % 1 != 0).any(axis=0)
    numbers = {
        name: Element(name, "real" if real else "integer", (name,), values[:, None])
        for name, values, real in zip(plain, block.T, has_fractions, strict=True)
    }
    return [numbers.get(str(name)) or _element(table[name], how) for name in table]


def tells_nothing(column: "pd.Series[Any]", how: DataSettings) -> bool:
    """Whether a column is one text in all rows, or empty, and nobody knows what else it may be.

    Examples
    --------
    >>> import pandas as pd
    >>> tells_nothing(pd.Series(["a", "a"], name="unit"), DataSettings(name=""))
    True
    """
    name = str(column.name)
    if name in how.types or name in how.categories or not is_text(column):
        return False
    return column.nunique() < 2 and not isinstance(column.dropna().head(1).squeeze(), bool)


def _is_plain(column: "pd.Series[Any]", how: DataSettings) -> bool:
    """Whether a column holds numbers, and nobody says that they are something else."""
    name, kind = str(column.name), getattr(column.dtype, "kind", "O")
    return kind in "uif" and name not in how.types and name not in how.categories


def stacked(elements: Sequence[Element]) -> Array:
    """Return all elements as one array ``(N, D)``: float32, or float64 where that would lose some.

    Examples
    --------
    >>> time = 1.7e9 + np.arange(3.0)[:, None]
    >>> stacked([Element("time", "real", ("time",), time)]).dtype
    dtype('float64')
    """
    exact = np.concatenate([element.values for element in elements], axis=1)
    with np.errstate(over="ignore", invalid="ignore"):
        x, deviation = exact.astype(np.float32), _deviation(exact)
        lost = (np.abs(x[some] - exact[some]) > _LOST * deviation for some in slices(exact))
        return exact if any(map(np.any, lost)) else x


def _deviation(values: Array) -> Array:
    """Deviation of each element, infinite where nothing can be lost: constants, and no numbers."""
    finite = np.where(np.isfinite(values), values, np.nan)
    with np.errstate(over="ignore"):
        spread = np.fmax.reduce(finite, axis=0) - np.fmin.reduce(finite, axis=0)
    return np.where(spread > 0, spread / 4, np.inf)


def describe_elements(elements: Iterable[Element]) -> str:
    """Return how many columns are of each type, and which, in one line.

    Examples
    --------
    >>> import pandas as pd
    >>> table = pd.DataFrame({"age": [30, 40, 50], "city": ["Rome", "Oslo", "Bern"]})
    >>> describe_elements(read_elements(table, DataSettings(name="")))
    'x has 1 integer column (age) and 1 category column (city), 4 elements'
    """
    by_type: dict[str, list[Element]] = {}
    for element in elements:
        by_type.setdefault(element.type, []).append(element)
    parts = [
        f"{len(some)} {kind} column{'s' if len(some) > 1 else ''} ({_listed(some)})"
        for kind, some in by_type.items()
    ]
    size = sum(len(element.names) for some in by_type.values() for element in some)
    more = f", {size} elements" if "category" in by_type else ""
    return f"x has {' and '.join(parts)}{more}"


def _listed(elements: Sequence[Element]) -> str:
    names = [element.name for element in elements[:_MOST_NAMES]]
    return ", ".join(names + ["..."] * (len(elements) > _MOST_NAMES))


def _element(column: "pd.Series[Any]", how: DataSettings) -> Element:
    name = str(column.name)
    kind = how.types.get(name) or _type_of(column, how.categories)
    if kind == "category":
        return _categories(column, how)
    values = _days(column) if kind == "date" else _numbers(column, kind)
    return Element(name, kind, (name,), values[:, None])


def _type_of(column: "pd.Series[Any]", known: Mapping[str, Any]) -> ColumnType:
    from pandas.api import types

    values = column.dropna()
    if column.name in known or isinstance(column.dtype, _category_dtype()):
        return "category"
    if types.is_datetime64_any_dtype(column):
        return "date"
    if types.is_bool_dtype(values) or (len(values) and all(type(v) is bool for v in values)):
        return "boolean"
    if types.is_numeric_dtype(column):
        return "real" if (values % 1).any() else "integer"
    return _type_of_text(column, values)


def _category_dtype() -> Any:
    import pandas as pd

    return pd.CategoricalDtype


def _type_of_text(column: "pd.Series[Any]", values: "pd.Series[Any]") -> ColumnType:
    import pandas as pd

    text = values.astype(str)
    numbers = pd.to_numeric(text, errors="coerce")
    if numbers.notna().all():
        return "real"
    if (numbers.notna() | text.str.fullmatch(_LIKE_A_NUMBER)).mean() >= 0.5:
        place = int(np.argmax(numbers.isna().to_numpy()))
        row = int(np.flatnonzero(column.notna().to_numpy())[place])
        raise RequestError(
            f"column {shown(column.name)} holds numbers, but {shown(column.iloc[row])} in row "
            f"{row} is none; leave the cell empty if it is missing, or name the type in `types`"
        )
    if text.str.match(_ISO_DATE).all() and _as_dates(text) is not None:
        return "date"
    if (size := text.nunique()) > _MOST_TEXTS:
        raise RequestError(
            f"column {shown(column.name)} has {size} different texts: no numbers; leave it out "
            f"with `drop={str(column.name)!r}`, or name its type in `types`"
        )
    return "category"


def _as_dates(text: "pd.Series[Any]") -> "pd.Series[Any] | None":
    import pandas as pd

    try:
        return pd.to_datetime(text, format="ISO8601", utc=True)
    except (TypeError, ValueError):
        return None


def _days(column: "pd.Series[Any]") -> Array:
    """Return dates as days since 1970, with their fractions; nan where one is missing."""
    dates = _as_dates(column)
    if dates is None:
        raise RequestError(
            f"column {shown(column.name)} holds no dates such as 2024-01-31 12:00; name another "
            "type in `types`"
        )
    times = dates.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    days = (times - np.datetime64(0, "us")) / np.timedelta64(1, "D")
    return np.asarray(days, np.float64)


def _numbers(column: "pd.Series[Any]", kind: ColumnType) -> Array:
    import pandas as pd

    numbers = pd.to_numeric(column, errors="coerce")
    wrong = (numbers.isna() & column.notna()).to_numpy(copy=True)
    values: Array = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
    if kind == "integer":
        wrong |= np.isfinite(values) & (values % 1 != 0)
    if kind == "boolean":
        wrong |= ~np.isnan(values) & (values != 0) & (values != 1)
    if wrong.any():
        row = int(wrong.argmax())
        raise RequestError(
            f"column {shown(column.name)} is to be {kind}, but holds {shown(column.iloc[row])} in "
            f"row {row}"
        )
    return values


def _categories(column: "pd.Series[Any]", how: DataSettings) -> Element:
    name = str(column.name)
    codes, texts = codes_of_texts(column, how.categories.get(name))
    if not texts:
        refuse_missing_text(column)
    shown_texts = texts[1:] if len(texts) == 2 else texts
    places = [texts.index(text) for text in shown_texts]
    values = np.where(codes[:, None] < 0, np.nan, codes[:, None] == np.array(places)[None])
    return Element(name, "category", tuple(f"{name}={t}" for t in shown_texts), values, texts)
