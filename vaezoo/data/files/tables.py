"""Tables: one row a datum, or one row a frame of a sequence."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from vaezoo.data.dataset import Array
from vaezoo.data.files.columns import (
    checked_columns,
    codes_of_texts,
    column_values,
    is_text,
    refuse_missing_text,
)
from vaezoo.data.files.contents import Contents, lacking
from vaezoo.data.files.dialect import dialect_of
from vaezoo.data.files.elements import (
    Element,
    describe_elements,
    read_elements,
    stacked,
    tells_nothing,
)
from vaezoo.data.padding import pad
from vaezoo.data.splits import are_splits
from vaezoo.errors import RequestError, shown
from vaezoo.runtime.memory import require_memory
from vaezoo.settings import DataSettings

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["read_csv", "read_frame"]

_LABELS = ("label", "y", "class", "target")
_ID, _TIME, _SPLIT = "id", "time", "split"
_SMALLER = "save x as .npy, which is read piece by piece, or fewer rows"
_MOST_NAMESAKES = 1000
_Named = dict[str, str | tuple[str, ...]]
_INDEX = "Unnamed: 0"  # what pandas calls a first column without a name: the row numbers it wrote
_SAMPLE = 200_000  # cells that tell whether the first has names
_MISSING = ["?"]  # beside what pandas takes for missing


def read_csv(path: Path, how: DataSettings) -> Contents:
    """Return what a table in text holds, as :func:`vaezoo.data.load_file` describes it."""
    import pandas as pd

    require_memory(path.stat().st_size, f"'{path}'", _SMALLER)
    separator, decimal = dialect_of(path)
    # Its stubs have a reader in pieces, too, which this is not.
    read: Callable[..., Any] = partial(
        pd.read_csv, path, sep=separator, skipinitialspace=True, na_values=_MISSING
    )
    first = read(header=None, nrows=1, dtype=str).iloc[0]
    sample = read(header=None, nrows=max(2, _SAMPLE // len(first)), dtype=str)
    points = first.str.replace(decimal, ".", regex=False)
    numbers = pd.to_numeric(points, errors="coerce").to_numpy()
    header = 0 if _are_names(numbers) and not _recurs(sample, numbers) else None
    notes = []
    if header == 0:
        _refuse_namesakes(first, path)
        notes = _notes_of_names(first, numbers)
    elif np.isnan(numbers).any():
        notes = ["the first line has data and no names of columns, which are 0, 1, 2, ..."]
    table = read(header=header, decimal=decimal, low_memory=False)
    contents = _from_table(path, table, how, has_names=header == 0 or bool(notes))
    return replace(contents, notes=(*notes, *contents.notes))


def _recurs(sample: "pd.DataFrame", numbers: Array) -> bool:
    """Whether each text of a first line stands in its column again: then it is no name of it."""
    texts = np.isnan(numbers) & sample.iloc[0].notna().to_numpy()
    again = (sample.iloc[1:] == sample.iloc[0]).any(axis=0).to_numpy()
    return bool(texts.any() and again[texts].all())


def _notes_of_names(names: "pd.Series[str]", numbers: Array) -> list[str]:
    """Say that names are taken from a first line that has numbers, which may be of a datum."""
    there = ~np.isnan(numbers)
    if not there.any() or there.all():
        return []
    some = ", ".join(map(shown, names[there][:3]))
    return [f"names of columns: the first line, although {some} could be values"]


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


def read_frame(table: "pd.DataFrame", how: DataSettings, path: str = "frame") -> Contents:
    """Return what a frame in memory holds. One whose columns are numbers has no names of them."""
    has_names = any(isinstance(name, str) for name in table.columns)
    return _from_table(path, table, how, has_names=has_names)


def _from_table(
    path: Path | str, table: "pd.DataFrame", how: DataSettings, *, has_names: bool = True
) -> Contents:
    table = table.rename(columns=str).reset_index(drop=True)
    if table.columns.has_duplicates:
        twice = table.columns[table.columns.duplicated()][0]
        raise RequestError(f"'{path}' has two columns called {shown(twice)}; rename one")
    lacks = lacking(how, map(str, table), f"'{path}'")
    notes = [f"left out: {line}" for line in _left_out(table, how)]
    table = table.drop(columns=[_INDEX, *how.drop], errors="ignore")
    if table.empty:
        raise RequestError(f"'{path}' has no rows")
    try:
        read = _Table(path, table, _arguments(path, table, how), how)
        contents = read.sequences() if read.has_time else read.rows()
    except RequestError as error:
        raise error if str(path) in str(error) else RequestError(f"'{path}': {error}") from error
    columns = contents.columns if has_names else ()
    notes = [*contents.notes, *notes]
    return replace(contents, columns=columns, notes=tuple(notes), lacks=lacks)


def _left_out(table: "pd.DataFrame", how: DataSettings) -> Iterator[str]:
    """Yield what is not read."""
    if _INDEX in table:
        yield "a first column without a name (row numbers)"
    for name in how.drop:
        if name in table:
            yield f"column {shown(name)}"


def _arguments(path: Path | str, table: "pd.DataFrame", how: DataSettings) -> _Named:
    """Return the columns of each argument, the label included if one is named."""
    columns = dict(how.columns)
    if how.label in table and how.label != "none" and "label" not in columns:
        columns["label"] = str(how.label)
    apart = (_ID, _TIME) if {_ID, _TIME} <= set(table) else ()
    return checked_columns(columns, map(str, table), apart, path)


@dataclass(frozen=True)
class _Table:
    """A table with names, and which of its columns are arguments."""

    path: Path | str
    table: "pd.DataFrame"
    named: _Named
    how: DataSettings

    @property
    def has_time(self) -> bool:
        return {_ID, _TIME} <= set(self.table)

    def rows(self) -> Contents:
        rest, split = self._without_split(self._rest())
        group = self._group()
        label = self._label(rest, lambda name: _is_label(rest[name]))
        elements = self._elements(rest, label)
        arrays = {"x": stacked(elements), **self._values()}
        if label:
            arrays["label"] = self._codes(self.table[label])
        return replace(self._contents(arrays, elements, label, split), group=group)

    def sequences(self) -> Contents:
        number, order = _frame_order(self.path, self.table)
        number = number[order]
        sorted_ = _Table(self.path, self.table.iloc[order], self.named, self.how)
        return sorted_._of_frames(number)

    def _of_frames(self, number: NDArray[np.intp]) -> Contents:
        """Return sequences of the rows of a table that stand in the order of their frames."""
        starts = np.flatnonzero(np.diff(number, prepend=-1))
        rest, split = self._without_split(self._rest().drop(columns=[_ID, _TIME]))
        label = self._label(rest, lambda name: _is_sequence_label(rest, name, number))
        elements = self._elements(rest, label)
        x, length = pad(np.split(stacked(elements), starts[1:]), f"'{self.path}'")
        arrays = {"x": x, "length": length}
        arrays["times"] = _since_the_first(_times(self.path, self.table[_TIME]), starts)
        for name, values in self._values().items():
            arrays[name] = _by_sequence(values, starts, f"'{self.path}'")
        if label:
            arrays["label"] = self._codes(self.table[label].iloc[starts], "sequence")
        split, group = (of if of is None else of[starts] for of in (split, self._group()))
        return replace(self._contents(arrays, elements, label, split), group=group)

    def _rest(self) -> "pd.DataFrame":
        """Return the columns that are not named as arguments."""
        taken = [name for some in self.named.values() for name in _as_names(some)]
        group = [self.how.group] if self.how.group in self.table else []
        return self.table.drop(columns={*taken, *group})

    def _group(self) -> Array | None:
        """Return the group of each row; other data may lack them."""
        name = self.how.group
        if name is None or name not in self.table:
            return None
        refuse_missing_text(self.table[name].reset_index(drop=True))
        return self.table[name].astype(str).to_numpy(dtype=str)

    def _without_split(self, rest: "pd.DataFrame") -> tuple["pd.DataFrame", Array | None]:
        """Take the column `split` aside, if it names splits."""
        if _SPLIT not in rest or not are_splits(rest[_SPLIT].unique()):
            return rest, None
        return rest.drop(columns=_SPLIT), rest[_SPLIT].to_numpy(dtype=str)

    def _label(self, rest: "pd.DataFrame", is_label: Callable[[str], bool]) -> str | None:
        """Return the column of labels, unless another one is named as ``label``."""
        if "label" in self.named or self.how.label is not None:
            return None
        return next((name for name in _LABELS if name in rest and is_label(name)), None)

    def _elements(self, rest: "pd.DataFrame", label: str | None) -> list[Element]:
        """Return the elements of x: the columns that are named so, or all others."""
        if "x" in self.named:
            columns = self.table[list(_as_names(self.named["x"]))]
        else:
            columns = rest.drop(columns=label) if label else rest
        columns = columns.drop(columns=self.empty(columns))
        if columns.empty:
            raise RequestError("no columns are left for x: there are no data")
        return read_elements(columns, self.how)

    def empty(self, columns: "pd.DataFrame") -> list[str]:
        """Return the columns of one text in all rows, unless they are named."""
        named = _as_names(self.named.get("x", ()))
        return [str(n) for n in columns if n not in named and tells_nothing(columns[n], self.how)]

    def _values(self) -> dict[str, Array]:
        return {
            name: column_values(self.table, some, self.how.categories)
            for name, some in self.named.items()
            if name != "x"
        }

    def _codes(self, column: "pd.Series[Any]", row: str = "row") -> Array:
        refuse_missing_text(column.reset_index(drop=True), row)
        if is_text(column):
            return codes_of_texts(column, self.how.categories.get(str(column.name)))[0]
        return column.to_numpy(dtype=np.int64)

    def _contents(
        self, arrays: dict[str, Array], elements: list[Element], label: str | None, split: Any
    ) -> Contents:
        names = tuple(name for element in elements for name in element.names)
        notes = [describe_elements(elements), *self._notes(elements, label, split)]
        return Contents(arrays, names, self._categories(elements, label), tuple(notes), split)

    def _notes(self, elements: list[Element], label: str | None, split: Any) -> Iterator[str]:
        if label:
            number = self.table[label].nunique()
            yield (
                f"label: column {shown(label)}, {number} different values (`label='none'` leaves "
                "it in x)"
            )
        for element in elements:
            if element.name in _LABELS and self.how.label is None:
                yield f"column {shown(element.name)} is an element of x, no label: it holds reals"
        if empty := self.empty(self._rest().drop(columns=label or [])):
            yield f"left out, the same text in all rows: {', '.join(map(shown, empty))}"
        if split is not None:
            yield f"splits: column {shown(_SPLIT)}"

    def _categories(
        self, elements: list[Element], label: str | None
    ) -> Mapping[str, tuple[str, ...]]:
        """Return the texts of all columns that became codes."""
        texts = {element.name: element.texts for element in elements if element.texts}
        others = [n for key, some in self.named.items() if key != "x" for n in _as_names(some)]
        for name in filter(None, [*others, label]):
            if is_text(self.table[name]):
                texts[name] = codes_of_texts(self.table[name], self.how.categories.get(name))[1]
        return texts


def _as_names(some: str | tuple[str, ...]) -> tuple[str, ...]:
    return (some,) if isinstance(some, str) else some


def _since_the_first(time: Array, starts: NDArray[np.intp]) -> Array:
    """Return times ``(N, T)`` since the first frame of each sequence, those of dates in days."""
    parts = [part - part[0] for part in np.split(time, starts[1:])]
    if time.dtype.kind == "M":
        parts = [part / np.timedelta64(1, "D") for part in parts]
    return pad([part[:, None] for part in parts], "time")[0][..., 0].astype(np.float32)


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
        refuse_missing_text(table[name])
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
