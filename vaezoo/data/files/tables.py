"""Tables: one row a datum, or one row a frame of a sequence."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaezoo.data.dataset import Array
from vaezoo.data.files.columns import Columns, checked_columns, column_values
from vaezoo.data.files.dialect import dialect_of
from vaezoo.data.padding import pad
from vaezoo.errors import RequestError, shown
from vaezoo.runtime.memory import require_memory

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_csv", "read_frame", "read_parquet"]

_LABELS = ("label", "y", "class", "target")
_ID, _TIME = "id", "time"
_SMALLER = "save x as .npy, which is read piece by piece, or fewer rows"
_MOST_NAMESAKES = 1000
_Named = dict[str, str | tuple[str, ...]]
_INDEX = "Unnamed: 0"  # what pandas calls a first column without a name: the row numbers it wrote


def read_csv(path: Path, columns: Columns) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the arrays of a table, and the names of the elements of ``x`` if it has any.

    ``columns`` name those that are arguments of the model, and no elements of ``x``.
    """
    import pandas as pd

    require_memory(path.stat().st_size, f"'{path}'", _SMALLER)
    separator, decimal = dialect_of(path)
    # Its stubs have a reader in pieces, too, which this is not.
    read: Callable[..., Any] = partial(pd.read_csv, path, sep=separator, skipinitialspace=True)
    first = read(header=None, nrows=1, dtype=str).iloc[0]
    points = first.str.replace(decimal, ".", regex=False)
    has_names = _are_names(pd.to_numeric(points, errors="coerce").to_numpy())
    if has_names:
        _refuse_namesakes(first, path)
    table = read(header=0 if has_names else None, decimal=decimal, low_memory=False)
    arrays, elements = _from_table(path, table.rename(columns=str), columns)
    return arrays, elements if has_names else ()


def _refuse_namesakes(names: "pd.Series[str]", path: Path) -> None:
    """Refuse thousands of columns with one name: pandas numbers them in the square of the time."""
    counts = names.value_counts()
    if len(counts) and counts.iloc[0] > _MOST_NAMESAKES:
        raise RequestError(
            f"'{path}' has {counts.iloc[0]} columns called {shown(counts.index[0])}; "
            "give them names of their own"
        )


def _are_names(first: Array) -> bool:
    """Whether a first line holds names: text, or 0, 1, 2, ... as pandas names columns."""
    counts = len(first) > 1 and np.array_equal(first, np.arange(len(first)))
    return counts or bool(np.isnan(first).any())


def read_parquet(path: Path, columns: Columns) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the arrays of a table, as :func:`read_csv` does."""
    import pandas as pd

    try:
        from pyarrow.parquet import read_metadata
    except ImportError as error:
        raise RequestError(
            f"reading '{path}' needs pyarrow: pip install 'vaezoo[parquet]'"
        ) from error
    sizes = read_metadata(path)
    # A column of one value, a billion times, is some bytes in the file.
    require_memory(8 * sizes.num_rows * sizes.num_columns, f"'{path}'", _SMALLER)
    table = pd.read_parquet(path, engine="pyarrow")
    return _from_table(path, table.rename(columns=str), columns)


def read_frame(table: "pd.DataFrame", columns: Columns) -> tuple[dict[str, Array], tuple[str, ...]]:
    """Return the arrays of a frame in memory, and the names of the elements of ``x``.

    A frame whose columns are numbers has none.
    """
    arrays, elements = _from_table("frame", table.rename(columns=str), columns)
    return arrays, elements if any(isinstance(name, str) for name in table.columns) else ()


def _from_table(
    path: Path | str, table: "pd.DataFrame", columns: Columns
) -> tuple[dict[str, Array], tuple[str, ...]]:
    table = table.drop(columns=_INDEX, errors="ignore")
    if table.empty:
        raise RequestError(f"'{path}' has no rows")
    sequences = {_ID, _TIME} <= set(table)
    named = checked_columns(columns, map(str, table), (_ID, _TIME) if sequences else (), path)
    return (_sequences if sequences else _rows)(path, table, named)


def _rows(
    path: Path | str, table: "pd.DataFrame", named: _Named
) -> tuple[dict[str, Array], tuple[str, ...]]:
    rest = _without(table, named)
    label = _label(rest, named, lambda name: _is_label(rest[name]))
    x, names = _x(path, table, rest, named, label)
    arrays = {"x": x, **_arguments(path, table, named)}
    if label:
        arrays["label"] = _label_codes(path, table[label])
    return arrays, names


def _sequences(
    path: Path | str, table: "pd.DataFrame", named: _Named
) -> tuple[dict[str, Array], tuple[str, ...]]:
    number, order = _frame_order(path, table)
    table, number = table.iloc[order], number[order]
    starts = np.flatnonzero(np.diff(number, prepend=-1))
    rest = _without(table, named).drop(columns=[_ID, _TIME])
    label = _label(rest, named, lambda name: _is_sequence_label(rest, name, number))
    frames, names = _x(path, table, rest, named, label)
    x, length = pad(np.split(frames, starts[1:]), f"'{path}'")
    arrays = {"x": x, "length": length}
    for name, values in _arguments(path, table, named).items():
        arrays[name] = _by_sequence(values, starts, f"'{path}'")
    if label:
        arrays["label"] = _label_codes(path, table[label].iloc[starts], "sequence")
    return arrays, names


def _without(table: "pd.DataFrame", named: _Named) -> "pd.DataFrame":
    """Return the columns that are not named as arguments."""
    taken = [name for some in named.values() for name in _as_names(some)]
    return table.drop(columns=taken)


def _as_names(some: str | tuple[str, ...]) -> tuple[str, ...]:
    return (some,) if isinstance(some, str) else some


def _label(rest: "pd.DataFrame", named: _Named, is_label: Callable[[str], bool]) -> str | None:
    """Return the column of labels, unless another one is named as ``label``."""
    if "label" in named:
        return None
    return next((name for name in _LABELS if name in rest and is_label(name)), None)


def _x(
    path: Path | str, table: "pd.DataFrame", rest: "pd.DataFrame", named: _Named, label: str | None
) -> tuple[Array, tuple[str, ...]]:
    """Return x and the names of its elements: the columns that are named so, or all others."""
    if "x" in named:
        return _numbers(path, table[list(_as_names(named["x"]))])
    return _numbers(path, rest.drop(columns=label) if label else rest)


def _arguments(path: Path | str, table: "pd.DataFrame", named: _Named) -> dict[str, Array]:
    try:
        return {n: column_values(table, some) for n, some in named.items() if n != "x"}
    except RequestError as error:
        raise RequestError(f"'{path}': {error}") from error


def _by_sequence(values: Array, starts: NDArray[np.intp], name: str) -> Array:
    """Return values of frames ``(N, T, k)``; where none changes in its sequence, ``(N, ...)``.

    Padding is zero.
    """
    parts = np.split(values, starts[1:])
    if all((part == part[:1]).all() for part in parts):
        return values[starts]
    frames = values if values.ndim > 1 else values[:, None]
    return pad(np.split(frames, starts[1:]), name)[0].astype(values.dtype)


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
