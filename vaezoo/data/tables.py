"""Tables: one row a datum, or one row a frame of a sequence."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaezoo.data.dataset import Array
from vaezoo.data.padding import pad
from vaezoo.errors import RequestError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_csv", "read_frame", "read_parquet"]

_LABELS = ("label", "y", "class", "target")
_ID, _TIME = "id", "time"
_INDEX = "Unnamed: 0"  # what pandas calls a first column without a name: the row numbers it wrote


def read_csv(path: Path) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the arrays of a table, and the names of the elements of ``x`` if it has any."""
    import pandas as pd

    first = pd.read_csv(path, header=None, nrows=1, dtype=str, skipinitialspace=True)
    has_names = _are_names(pd.to_numeric(first.iloc[0], errors="coerce").to_numpy())
    header = 0 if has_names else None
    table = pd.read_csv(path, header=header, skipinitialspace=True, low_memory=False)
    arrays, columns = _from_table(path, table.rename(columns=str))
    return arrays, columns if has_names else ()


def _are_names(first: Array) -> bool:
    """Whether a first line holds names: text, or 0, 1, 2, ... as pandas names columns."""
    counts = len(first) > 1 and np.array_equal(first, np.arange(len(first)))
    return counts or bool(np.isnan(first).any())


def read_parquet(path: Path) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the arrays of a table, and the names of the elements of ``x``."""
    import pandas as pd

    try:
        table = pd.read_parquet(path, engine="pyarrow")
    except ImportError as error:
        raise RequestError(
            f"reading '{path}' needs pyarrow: pip install 'vaezoo[parquet]'"
        ) from error
    return _from_table(path, table.rename(columns=str))


def read_frame(table: "pd.DataFrame") -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the arrays of a frame in memory, and the names of the elements of ``x``.

    A frame whose columns are numbers has none.
    """
    arrays, columns = _from_table("frame", table.rename(columns=str))
    return arrays, columns if any(isinstance(name, str) for name in table.columns) else ()


def _from_table(
    path: Path | str, table: "pd.DataFrame"
) -> tuple[dict[str, Array], tuple[str, ...]]:
    table = table.drop(columns=_INDEX, errors="ignore")
    if table.empty:
        raise RequestError(f"'{path}' has no rows")
    if {_ID, _TIME} <= set(table):
        return _sequences(path, table)
    label = next((name for name in _LABELS if name in table and _is_label(table[name])), None)
    x, names = _numbers(path, table.drop(columns=label) if label else table)
    arrays = {"x": x}
    if label:
        arrays["label"] = _label_codes(path, table[label])
    return arrays, names


def _sequences(path: Path | str, table: "pd.DataFrame") -> tuple[dict[str, Array], tuple[str, ...]]:
    number, order = _frame_order(path, table)
    table, number = table.iloc[order], number[order]
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    label = next((name for name in _LABELS if _is_sequence_label(table, name, number)), None)
    apart = [_ID, _TIME, *([label] if label else [])]
    frames, names = _numbers(path, table.drop(columns=apart))
    x, length = pad(np.split(frames, starts[1:]), f"'{path}'")
    arrays = {"x": x, "length": length}
    if label:
        arrays["label"] = _label_codes(path, table[label].iloc[starts], "sequence")
    return arrays, names


def _frame_order(
    path: Path | str, table: "pd.DataFrame"
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Number of the sequence of each row, and the order of the rows by sequence and time."""
    import pandas as pd

    for name in (_ID, _TIME):
        _refuse_missing(path, table[name])
    number, ids = pd.factorize(table[_ID])
    time = _times(path, table[_TIME])
    order = np.lexsort((time, number))
    same = (np.diff(number[order]) == 0) & (time[order][1:] == time[order][:-1])
    if same.any():
        row = order[int(same.argmax())]
        raise RequestError(
            f"'{path}': sequence {ids[number[row]]} has more than one frame at time "
            f"{table[_TIME].iloc[row]}; keep one"
        )
    return number, order


def _times(path: Path | str, column: "pd.Series[Any]") -> Array:
    import pandas as pd
    from pandas.api.types import is_numeric_dtype

    if is_numeric_dtype(column):
        return column.to_numpy()
    try:
        dates = pd.to_datetime(column, format="ISO8601", utc=True)
    except (TypeError, ValueError) as error:
        raise RequestError(
            f"'{path}': the column time holds neither numbers nor dates such as 2024-01-31 12:00"
        ) from error
    return dates.dt.tz_localize(None).to_numpy()


def _numbers(path: Path | str, features: "pd.DataFrame") -> tuple[Array, tuple[str, ...]]:
    from pandas.api.types import is_numeric_dtype

    names = tuple(str(name) for name in features)
    text = [name for name in names if not is_numeric_dtype(features[name])]
    if text:
        raise RequestError(
            f"'{path}': not numbers in {', '.join(text[:5])}{' ...' if len(text) > 5 else ''}; "
            f"drop or encode (labels: a column named {', '.join(_LABELS)})"
        )
    with np.errstate(over="ignore"):
        return features.to_numpy(dtype=np.float32, na_value=np.nan), names


def _is_label(column: "pd.Series[Any]") -> bool:
    """Text or whole numbers; whole numbers with gaps arrive as reals."""
    from pandas.api.types import is_float_dtype

    values = column.dropna()
    return not is_float_dtype(values) or (len(values) < len(column) and not (values % 1).any())


def _is_sequence_label(table: "pd.DataFrame", name: str, number: NDArray[np.intp]) -> bool:
    """Whether a column has one value a sequence; a coordinate y of whole numbers has more."""
    if name not in table or not _is_label(table[name]):
        return False
    return bool((table[name].groupby(number).nunique(dropna=False) == 1).all())


def _label_codes(path: Path | str, column: "pd.Series[Any]", row: str = "row") -> Array:
    from pandas.api.types import is_integer_dtype

    _refuse_missing(path, column, row)
    if is_integer_dtype(column):
        return column.to_numpy(dtype=np.int64)
    return column.astype("category").cat.codes.to_numpy(dtype=np.int64)


def _refuse_missing(path: Path | str, column: "pd.Series[Any]", row: str = "row") -> None:
    missing = column.isna().to_numpy()
    if missing.any():
        raise RequestError(
            f"'{path}': no {column.name} in {row} {int(missing.argmax())}; fill or drop it"
        )
