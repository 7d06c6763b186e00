"""A data set: named arrays, which rows belong to which split, and the scale of its values."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from vaezoo.data.padding import clear_padding, is_frame, pad
from vaezoo.data.splits import as_splits, random_splits
from vaezoo.errors import RequestError, nearest, refusing
from vaezoo.markup import table
from vaezoo.options import DataKind

__all__ = [
    "Array",
    "Data",
    "checked_arrays",
    "checksum_of",
    "from_arrays",
    "from_sequences",
    "grey_scale",
    "made_array",
    "slices",
    "with_arguments",
    "with_mask",
]

Array = NDArray[Any]
_ROWS_AT_A_TIME = 4096
_BYTES_AT_A_TIME = 2**23
_GREY_LEVELS = (100.0, 255.0)  # between which the largest of bytes lies


@dataclass(frozen=True)
class Data:
    """Arrays by name, and their rows by split.

    Attributes
    ----------
    name
        The name or the path that it was loaded by.
    arrays
        ``x`` of shape ``(N, *x_shape)``, as stored (grey levels stay uint8), nan where an entry is
        missing; perhaps ``label`` of shape ``(N,)``, for sequences ``length`` of shape ``(N,)``,
        and any others of N rows. A pair gets the arrays that the arguments of its model name.
    splits
        Row numbers of ``train``, ``validation`` and ``test``.
    scale
        ``x / scale`` lies in [0, 1] for grey levels; 1 for values that are used as they are.
    checksum
        sha256 of the arrays' source; a run remembers it.
    columns
        Names of the elements of a datum, for tables.
    categories
        Values of text, in the order of their codes, of each column of a table that holds some.
    notes
        What was decided when they were read, a line each.
    """

    name: str
    arrays: Mapping[str, Array]
    splits: Mapping[str, NDArray[np.int64]]
    scale: float = 1.0
    checksum: str = ""
    columns: tuple[str, ...] = field(default=())
    categories: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        """Return a table for a notebook: shapes, splits, columns, and what was decided."""
        shapes = {name: f"{array.dtype} {array.shape}" for name, array in self.arrays.items()}
        splits = ", ".join(f"{name} {len(rows):,}" for name, rows in self.splits.items())
        columns = ", ".join(self.columns)
        rows = {self.name: self.kind, **shapes, "splits": splits, "columns": columns}
        notes = [("", note) for note in self.notes]
        return table([*((name, text) for name, text in rows.items() if text), *notes])

    @property
    def x(self) -> Array:
        """The data, ``(N, *x_shape)``; ``(N, T, D)`` for sequences."""
        return self.arrays["x"]

    @property
    def length(self) -> Array | None:
        """Lengths of the sequences, ``(N,)``; None where data have no time."""
        return self.arrays.get("length")

    @property
    def x_shape(self) -> tuple[int, ...]:
        """Shape of one datum; of one frame, ``(D,)``, for sequences."""
        return self.x.shape[1:] if self.length is None else self.x.shape[2:]

    @property
    def kind(self) -> DataKind:
        """Sequences have lengths, images two dimensions or more, all else are vectors."""
        images_or_vectors: DataKind = "images" if len(self.x_shape) > 1 else "vectors"
        return images_or_vectors if self.length is None else "sequences"

    @property
    def is_whole(self) -> bool:
        """Whether every split is all rows, as of data that a run is asked about."""
        return all(len(rows) == len(self.x) for rows in self.splits.values())

    @cached_property
    def incomplete(self) -> Mapping[str, NDArray[np.int64]]:
        """Rows with missing entries (nan), of each array that has any."""
        rows = {name: _incomplete_rows(array) for name, array in self.arrays.items()}
        return {name: numbers for name, numbers in rows.items() if len(numbers)}

    def rows(self, split: str) -> NDArray[np.int64]:
        """Return the row numbers of a split, or of ``all``; a refusal of one that is not there."""
        if split == "all" and split not in self.splits:
            return np.arange(len(self.x), dtype=np.int64)
        if split not in self.splits:
            raise RequestError(f"no split '{split}'; {nearest(split, self.splits)}")
        if len(self.splits[split]) == 0:
            raise RequestError(f"the split '{split}' of {self.name} is empty")
        return self.splits[split]

    def pieces(self) -> Iterator[tuple[int, Array, NDArray[np.bool_]]]:
        """Yield all rows in pieces, so that a memory-mapped array is never read as a whole.

        Each is the number of its first row, its ``x (n, *x_shape)``, and a mask that is true where
        these are data and no padding: ``(n,)``, or ``(n, T)`` for the frames of sequences.
        """
        for some in slices(self.x):
            x = np.asarray(self.x[some])
            length = None if self.length is None else self.length[some]
            valid = np.ones(len(x), bool) if length is None else is_frame(length, x.shape[1])
            yield some.start, x, valid


def slices(array: Array) -> Iterator[slice]:
    """Yield the rows of an array, some at a time: few where each is large, as huge pictures are.

    Examples
    --------
    >>> [len(range(5000)[some]) for some in slices(np.zeros((5000, 2)))]
    [4096, 904]
    """
    size = max(1, array[:1].nbytes)
    number = min(max(1, _BYTES_AT_A_TIME // size), _ROWS_AT_A_TIME)
    return (slice(start, start + number) for start in range(0, len(array), number))


def _incomplete_rows(array: Array) -> NDArray[np.int64]:
    """Return the numbers of the rows that have a nan, reading some at a time."""
    if array.dtype.kind != "f":
        return np.zeros(0, np.int64)
    parts = [
        some.start + np.flatnonzero(np.isnan(x).reshape(len(x), -1).any(1))
        for some in slices(array)
        for x in (np.asarray(array[some]),)
    ]
    return np.concatenate(parts)


def with_mask(data: Data) -> Data:
    """Return data with ``mask``: true where x has an entry, unless they have one already.

    It is false in the padding of sequences.

    Examples
    --------
    >>> data = from_arrays(np.array([[1.0, np.nan], [np.nan, 3.0]]))
    >>> with_mask(data).arrays["mask"].tolist()
    [[True, False], [False, True]]
    """
    if "mask" in data.arrays:
        return data
    parts = []
    for _, x, valid in data.pieces():
        present = ~np.isnan(x) if x.dtype.kind == "f" else np.ones(x.shape, bool)
        parts.append(present & valid.reshape(*valid.shape, *[1] * (x.ndim - valid.ndim)))
    return replace(data, arrays={**data.arrays, "mask": np.concatenate(parts)})


def with_arguments(data: Data, names: Sequence[str]) -> Data:
    """Return data with those arguments of a model that they imply, unless they have them already.

    ``mask`` as of :func:`with_mask`, and ``times (N, T)`` of sequences, which are 0, 1, 2, ...

    Examples
    --------
    >>> data = from_sequences([np.zeros((2, 1)), np.zeros((3, 1))])
    >>> with_arguments(data, ["x", "length", "times"]).arrays["times"].tolist()
    [[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]
    """
    data = with_mask(data) if "mask" in names else data
    if "times" not in names or "times" in data.arrays or data.length is None:
        return data
    times = np.tile(np.arange(data.x.shape[1], dtype=np.float32), (len(data.x), 1))
    return replace(data, arrays={**data.arrays, "times": times})


def from_arrays(
    x: Array,
    *,
    name: str = "array",
    seed: int = 0,
    scale: float | None = None,
    splits: Mapping[str, ArrayLike] | None = None,
    **arrays: Array,
) -> Data:
    """Make a data set from arrays in memory, split at random by ``seed``.

    Parameters
    ----------
    x
        Shape ``(N, *x_shape)``; ``(N, T, D)`` with ``length`` for sequences. What stands in the
        padding is replaced by zeros.
    name
        What messages call it.
    seed
        Seed of the split, 80 % / 10 % / 10 %.
    scale
        Largest grey level; by default 255 for pictures of whole numbers up to it, else 1.
    splits
        Splits of your own instead: row numbers, or a mask of N rows, of ``train``, ``validation``
        and ``test``.
    **arrays
        Further arrays of N rows, by the name of the model's argument: ``length``, ``label``.

    Raises
    ------
    RequestError
        For arrays that are not numbers, have no rows, or have different numbers of rows; for splits
        that name no rows of them.

    Examples
    --------
    >>> data = from_arrays(np.zeros((20, 3)), label=np.arange(20))
    >>> data.kind, sorted(data.arrays), len(data.rows("train"))
    ('vectors', ['label', 'x'], 16)
    """
    named = {key: made_array(value, name) for key, value in {"x": x, **arrays}.items()}
    named = checked_arrays(named, name)
    num_rows = len(named["x"])
    return Data(
        name,
        named,
        random_splits(num_rows, seed) if splits is None else as_splits(splits, num_rows, name),
        scale=grey_scale(named) if scale is None else scale,
        checksum=checksum_of(named),
    )


def checksum_of(arrays: Mapping[str, Array]) -> str:
    """Return the sha256 of the bytes of arrays, in the order of their names."""
    checksum = hashlib.sha256()
    for key in sorted(arrays):
        for some in slices(arrays[key]):  # an order of its own in memory is changed in pieces
            checksum.update(np.ascontiguousarray(arrays[key][some]).data)
    return checksum.hexdigest()


def made_array(value: Any, name: str) -> Array:
    """Make an array of what a caller hands in, which may be anything.

    Raises
    ------
    RequestError
        When its parts have different shapes.

    Examples
    --------
    >>> made_array([[0, 1], [1, 0]], "array").shape
    (2, 2)
    """
    with refusing(f"{name}: no array can be made of its values"):
        try:
            return np.asanyarray(value)
        except ValueError as error:
            raise RequestError(
                f"{name}: its parts have different shapes; for sequences use from_sequences"
            ) from error


def from_sequences(
    sequences: Sequence[Array],
    *,
    name: str = "sequences",
    seed: int = 0,
    scale: float | None = None,
    splits: Mapping[str, ArrayLike] | None = None,
    **arrays: Array,
) -> Data:
    """Make a data set from sequences of different lengths, split at random by ``seed``.

    Parameters
    ----------
    sequences
        N arrays of shape ``(T_n, D)``. They become ``x`` of shape ``(N, T, D)``, with T the length
        of the longest and zeros beyond the ends, and ``length`` of shape ``(N,)``.
    name, seed, scale, splits, **arrays
        As for :func:`from_arrays`.

    Raises
    ------
    RequestError
        When a sequence has no frames, or frames of another width; it is named.

    Examples
    --------
    >>> data = from_sequences([np.zeros((2, 3)), np.ones((5, 3)), np.ones((1, 3))])
    >>> data.x.shape, data.arrays["length"].tolist()
    ((3, 5, 3), [2, 5, 1])
    """
    x, length = pad(sequences, name)
    return from_arrays(x, name=name, seed=seed, scale=scale, splits=splits, length=length, **arrays)


def grey_scale(arrays: Mapping[str, Array]) -> float:
    """Return the largest grey level: 255 for pictures of whole numbers up to it, else 1.

    How the numbers are stored does not matter. Pictures of whole numbers that stay below 100 are
    of another scale, which nobody can guess.

    Examples
    --------
    >>> picture = np.array([[[0, 200], [9, 9]]], np.int64)
    >>> grey_scale({"x": picture}), grey_scale({"x": picture.reshape(1, 4)})
    (255.0, 1.0)
    """
    x = arrays["x"]
    if x.ndim < 3 or "length" in arrays or x.dtype == bool:
        return 1.0
    most = 0.0
    for some in slices(x):
        values = np.asarray(x[some])
        if x.dtype.kind == "f" and not (values == np.floor(values)).all():  # as nan is, too
            return 1.0
        if values.min() < 0 or values.max() > _GREY_LEVELS[1]:
            return 1.0
        most = max(most, float(values.max()))
    return _GREY_LEVELS[1] if most >= _GREY_LEVELS[0] else 1.0


def checked_arrays(arrays: Mapping[str, Array], name: str) -> dict[str, Array]:
    """Return arrays that a pair can use, those of sequences with zeros in the padding.

    Raises
    ------
    RequestError
        When they are not numbers, have no rows, or have different numbers of rows.
    """
    _check_arrays(arrays, name)
    if "length" not in arrays:
        return dict(arrays)
    length, frames = arrays["length"], arrays["x"].shape[1:2]
    return {
        name: clear_padding(array, length) if array.shape[1:2] == frames else array
        for name, array in arrays.items()
    }


def _check_arrays(arrays: Mapping[str, Array], name: str) -> None:
    x = arrays["x"]
    for key, value in arrays.items():
        if value.dtype.kind not in "buif":
            raise RequestError(f"{name}: '{key}' holds {value.dtype}, not numbers")
        if value.ndim == 0 or x.ndim == 0:
            raise RequestError(f"{name}: '{key}' is a single value; expected an array of N rows")
        if len(value) != len(x):
            raise RequestError(f"{name}: '{key}' has {value.shape} and x {x.shape}: rows differ")
    if x.ndim < 2:
        raise RequestError(f"{name}: x has shape {x.shape}; expected (N, D) or more dimensions")
    if x.size == 0:
        raise RequestError(f"{name}: x has shape {x.shape}: there are no data")
    if "length" in arrays:
        _check_lengths(x, arrays["length"], name)


def _check_lengths(x: Array, length: Array, name: str) -> None:
    if x.ndim != 3:
        hint = "; write x[:, :, None] for one value a frame" if x.ndim == 2 else ""
        raise RequestError(f"{name}: sequences need x of shape (N, T, D), got {x.shape}{hint}")
    if length.dtype.kind not in "ui" or length.ndim != 1:
        raise RequestError(f"{name}: 'length' must hold one whole number per sequence")
    wrong = np.flatnonzero((length < 1) | (length > x.shape[1]))
    if len(wrong):
        row = int(wrong[0])
        raise RequestError(
            f"{name}: sequence {row} has length {length[row]}, outside 1 ... {x.shape[1]}"
        )
