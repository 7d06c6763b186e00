"""Tables of Arrow: columns that are pictures or arrays, and data sets of Hugging Face on disk.

Nothing is downloaded and no script of a data set is run: what is read are the files of its table.
"""

import hashlib
import io
import json
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.data.files.arrays import read_stored
from vaezoo.data.files.contents import Contents
from vaezoo.data.files.pictures import decoded
from vaezoo.data.files.tables import read_frame
from vaezoo.data.padding import pad
from vaezoo.data.splits import are_splits
from vaezoo.errors import RequestError, shown
from vaezoo.runtime.memory import require_memory
from vaezoo.runtime.reading import read_plain, require_plain
from vaezoo.settings import DataSettings

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["has_arrays", "is_saved", "read_arrow", "read_parquet", "read_saved"]

_LARGEST = 2**26  # bytes of a description
_X = ("x", "data", "image", "img", "pixel_values")
_TOLD_BY_TEXT = ("label", "y", "split")
_SMALLER = "save x as .npy, which is read piece by piece, or fewer rows"


def is_saved(path: Path) -> bool:
    """Whether a folder is a data set of Hugging Face, or several splits of one, saved to disk.

    Examples
    --------
    >>> is_saved(Path("/"))
    False
    """
    one = all((path / name).is_file() for name in ("state.json", "dataset_info.json"))
    return one or (path / "dataset_dict.json").is_file()


def read_saved(path: Path, how: DataSettings) -> tuple[Contents, str]:
    """Return what ``save_to_disk`` of ``datasets`` wrote, and its checksum.

    Raises
    ------
    RequestError
        When pyarrow is not installed, a file is missing, or the splits have other names.
    """
    try:
        import pyarrow as pa
    except ImportError as error:
        raise RequestError(
            f"reading '{path}' needs pyarrow: pip install 'vaezoo[parquet]'"
        ) from error
    digest, names = hashlib.sha256(), [""]
    if (path / "dataset_dict.json").is_file():
        splits = _described(path / "dataset_dict.json").get("splits", ())
        names = [_plain_name(path, name) for name in splits]
        if len(names) > 1 and not (are_splits(names) and "train" in map(str.lower, names)):
            raise RequestError(
                f"'{path}' has the splits {', '.join(names)}; call them train, validation and test"
            )
    tables = [_table(path / name, digest) for name in names]
    table = pa.concat_tables(tables)
    if len(names) > 1:
        of_rows = np.repeat(names, [one.num_rows for one in tables])
        table = table.append_column("split", pa.array(of_rows.tolist()))
    return read_arrow(table, how, str(path)), digest.hexdigest()


def read_parquet(path: Path, how: DataSettings) -> Contents:
    """Return what a file of Parquet holds, as :func:`read_arrow` does a table."""
    import pandas as pd

    try:
        from pyarrow.parquet import read_metadata, read_table
    except ImportError as error:
        raise RequestError(
            f"reading '{path}' needs pyarrow: pip install 'vaezoo[parquet]'"
        ) from error
    sizes = read_metadata(path)
    # A column of one value, a billion times, is some bytes in the file.
    require_memory(8 * sizes.num_rows * sizes.num_columns, f"'{path}'", _SMALLER)
    if has_arrays(sizes.schema.to_arrow_schema()):
        return read_arrow(read_table(path), how, str(path))
    return read_frame(pd.read_parquet(path, engine="pyarrow"), how, str(path))


def has_arrays(schema: "pa.Schema") -> bool:
    """Whether some columns hold pictures or arrays, which a plain table does not.

    Examples
    --------
    >>> import pyarrow as pa
    >>> has_arrays(pa.schema({"v": pa.list_(pa.float32())})), has_arrays(pa.schema({"a": "int8"}))
    (True, False)
    """
    return any(_is_picture(field.type) or _is_list(field.type) for field in schema)


def read_arrow(table: "pa.Table", how: DataSettings, path: str = "table") -> Contents:
    """Return what a table of Arrow holds: pictures or arrays as x, or a plain table.

    Lists of one length are arrays, those of several lengths are sequences.

    Parameters
    ----------
    table
        With one row a datum. A picture is ``{"bytes": ..., "path": ...}``.
    how
        Which column is x, the label, and so on.
    path
        What messages call it.

    Examples
    --------
    >>> import pyarrow as pa
    >>> table = pa.table({"v": [[1.0, 2.0], [3.0, 4.0]], "label": [1, 0]})
    >>> read_arrow(table, DataSettings(name="")).arrays["x"].tolist()
    [[1.0, 2.0], [3.0, 4.0]]
    """
    if not has_arrays(table.schema):
        return read_frame(table.to_pandas(), how, path)
    table.validate(full=True)
    key = _key_of_x(table, how, path)
    where, column = f"'{path}'", table.column(key)
    stored: dict[str, Any] = {"x": None}
    if _is_picture(column.type):
        stored["x"] = _pictures(column, key, where, how)
    else:
        stored["x"] = _array(column, key, where)
    if isinstance(stored["x"], list):
        stored["x"], stored["length"] = pad(stored["x"], where)
    others, unread = {}, []
    for name in table.column_names:
        values = None if name == key else _plain(table.column(name), name, how)
        if values is not None:
            others[name] = values
        elif name != key:
            unread.append(shown(name))
    rest = {name: some for name, some in how.columns.items() if name != "x"}
    done: dict[str, Any] = {"columns": rest}
    if _is_picture(column.type):
        done |= {"resize": None, "crop": None}
    contents = read_stored({**others, **stored}, how.model_copy(update=done), where)
    notes = [f"x: column {shown(key)}"] * (key != "x")
    notes += [f"left out: columns {', '.join(unread[:6])}"] * bool(unread)
    return replace(contents, notes=(*notes, *contents.notes))


def _table(folder: Path, digest: Any) -> "pa.Table":
    """Return the table of one data set, mapped from its files."""
    import pyarrow as pa

    state, tables = _described(folder / "state.json"), []
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise RequestError(f"'{folder}' is a selection; save it with flatten_indices()")
    for described in state.get("_data_files", ()):
        file = folder / _plain_name(folder, described.get("filename"))
        require_plain(file)
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
        with pa.memory_map(str(file)) as source:
            tables.append(pa.ipc.open_stream(source).read_all())
    if not tables:
        raise RequestError(f"'{folder}' names no files of data")
    return pa.concat_tables(tables)


def _described(path: Path) -> dict[str, Any]:
    described = json.loads(read_plain(path, _LARGEST))
    if not isinstance(described, dict):
        raise RequestError(f"'{path}' is damaged")
    return described


def _plain_name(folder: Path, name: Any) -> str:
    """Return the name of what lies in a folder itself; a refusal of what leads out of it."""
    if not isinstance(name, str) or Path(name).name != name or name in ("", "..") or "\\" in name:
        raise RequestError(f"'{folder}' names {shown(name)}, which is no file in it")
    return name


def _is_list(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    kinds = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(is_kind(kind) for is_kind in kinds)


def _is_picture(kind: "pa.DataType") -> bool:
    import pyarrow as pa

    if not pa.types.is_struct(kind):
        return False
    names = [field.name for field in kind]
    return "bytes" in names and pa.types.is_binary(kind.field("bytes").type)


def _key_of_x(table: "pa.Table", how: DataSettings, path: str) -> str:
    asked = how.columns.get("x", ())
    asked = (asked,) if isinstance(asked, str) else asked
    fields = [f for f in table.schema if _is_picture(f.type) or _is_list(f.type)]
    names = [field.name for field in fields if field.name not in how.drop]
    if asked:
        if len(asked) == 1 and asked[0] in names:
            return asked[0]
        raise RequestError(f"`columns`: x is one of {', '.join(names)} of '{path}'")
    pictures = [field.name for field in fields if _is_picture(field.type)]
    for some in ([name for name in _X if name in names], names, pictures):
        if len(some) == 1:
            return some[0]
    raise RequestError(f"'{path}' has several columns of arrays; say in `columns` which is x")


def _pictures(column: "pa.ChunkedArray", key: str, where: str, how: DataSettings) -> Array:
    def opened(name: str) -> Any:
        row = int(name.rpartition(" ")[2])
        raw = column[row]["bytes"].as_py() if column[row].is_valid else None
        if raw is None:
            raise RequestError(
                f"{where}: row {row} of {shown(key)} holds no picture; save the data set with the "
                "bytes of its pictures"
            )
        return nullcontext(io.BytesIO(raw))

    return decoded([f"{key} {row}" for row in range(len(column))], opened, where, how)


def _array(column: "pa.ChunkedArray", key: str, where: str) -> Array | list[Array]:
    """Return lists of one length as an array, others as sequences of frames."""
    import pyarrow as pa

    require_memory(column.nbytes, where, _SMALLER)
    values, sizes = pa.concat_arrays(column.chunks), []
    while _is_list(values.type):
        if values.null_count:
            raise RequestError(f"{where}: entries of {shown(key)} are missing; fill or drop them")
        sizes.append(_sizes(values))
        values = values.flatten()
    if not (pa.types.is_floating(values.type) or pa.types.is_integer(values.type)):
        raise RequestError(f"{where}: {shown(key)} holds lists of {values.type}, not numbers")
    flat = values.to_numpy(zero_copy_only=False)
    inner = tuple(_one_size(some, key, where) for some in sizes[1:])
    frames = flat.reshape(int(sizes[0].sum()), *inner)
    if len(set(sizes[0].tolist())) == 1:
        return frames.reshape(len(column), -1, *inner)
    if frames.ndim == 1:
        frames = frames[:, None]
    return np.split(frames, np.cumsum(sizes[0])[:-1])


def _sizes(values: Any) -> Array:
    import pyarrow as pa

    if pa.types.is_fixed_size_list(values.type):
        return np.full(len(values), values.type.list_size)
    return np.asarray(values.value_lengths().to_numpy(zero_copy_only=False))


def _one_size(sizes: Array, key: str, where: str) -> int:
    if len(set(sizes.tolist())) != 1:
        raise RequestError(f"{where}: the rows of {shown(key)} have different shapes")
    return int(sizes[0])


def _plain(column: "pa.ChunkedArray", name: str, how: DataSettings) -> Array | None:
    """Return a column of numbers, or of texts that tell labels or splits; else none."""
    import pyarrow as pa

    kind = column.type
    if pa.types.is_floating(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return np.asarray(column.to_numpy())
    is_asked = name in (*_TOLD_BY_TEXT, how.label, how.group)
    if is_asked and (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        if column.null_count:
            raise RequestError(f"entries of {shown(name)} are missing; fill or drop them")
        return np.array(column.to_pylist(), dtype=str)
    return None
