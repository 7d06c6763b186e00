"""Tables of Arrow with pictures and arrays, and data sets of Hugging Face on disk."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from vaezoo import RequestError
from vaezoo.data import as_data, load_data
from vaezoo.settings import DataSettings

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(20, 3)).astype(np.float32)
GREY = RNG.integers(0, 256, (20, 12, 10), np.uint8)
COLOUR = RNG.integers(0, 256, (20, 12, 10, 3), np.uint8)
LABEL = np.arange(20) % 3
WALKS = [RNG.normal(size=(n, 2)) for n in range(1, 21)]


def picture(pixels: np.ndarray) -> dict[str, Any]:
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")
    return {"bytes": content.getvalue(), "path": "a.png"}


def pictures(x: np.ndarray, **columns: Any) -> Any:
    return pa.table({"image": [picture(one) for one in x], "label": LABEL, **columns})


def save(folder: Path, *tables: Any) -> Path:
    """Write a data set as ``datasets.Dataset.save_to_disk`` does: streams, and what they are."""
    folder.mkdir(parents=True, exist_ok=True)
    names = [f"data-{n:05d}-of-{len(tables):05d}.arrow" for n in range(len(tables))]
    for name, table in zip(names, tables, strict=True):
        with (
            pa.OSFile(str(folder / name), "wb") as sink,
            pa.ipc.new_stream(sink, table.schema) as to,
        ):
            to.write_table(table)
    state = {"_data_files": [{"filename": name} for name in names], "_split": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text(json.dumps({"features": {}}))
    return folder


def save_splits(folder: Path, **tables: Any) -> Path:
    for name, table in tables.items():
        save(folder / name, table)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(tables)}))
    return folder


@pytest.mark.parametrize(
    ("pixels", "x"), [(GREY, GREY), (COLOUR, COLOUR.transpose(0, 3, 1, 2))], ids=["grey", "colour"]
)
def test_pictures_are_decoded(tmp_path: Path, pixels: np.ndarray, x: np.ndarray) -> None:
    data = load_data(save(tmp_path / "d", pictures(pixels)))
    assert np.array_equal(data.x, x)
    assert data.arrays["label"].tolist() == LABEL.tolist()
    assert "x: column 'image'" in data.notes


def test_pictures_are_resized(tmp_path: Path) -> None:
    path = save(tmp_path / "d", pictures(GREY))
    assert load_data(path, settings=DataSettings(name="", resize=5)).x.shape == (20, 5, 5)


def test_files_of_several_parts_are_one(tmp_path: Path) -> None:
    table = pictures(GREY)
    path = save(tmp_path / "d", table.slice(0, 12), table.slice(12))
    assert np.array_equal(load_data(path).x, GREY)


TABLES = {
    "pictures": lambda: pictures(GREY),
    "arrays": lambda: pa.table({"v": REAL.tolist(), "label": LABEL}),
    "pictures as lists": lambda: pa.table({"v": (REAL.reshape(20, 3, 1) * 9).tolist()}),
    "sequences": lambda: pa.table({"walk": [walk.tolist() for walk in WALKS]}),
    "numbers in time": lambda: pa.table({"sound": [list(range(n + 1)) for n in range(20)]}),
    "a plain table": lambda: pa.table({"a": REAL[:, 0], "city": ["Oslo", "Rome"] * 10}),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_table_is_the_same_saved_in_parquet_and_in_memory(tmp_path: Path, name: str) -> None:
    table = TABLES[name]()
    parquet.write_table(table, tmp_path / "x.parquet")
    saved, file = load_data(save(tmp_path / "d", table)), load_data(tmp_path / "x.parquet")
    for data in (file, as_data(table)):
        assert saved.arrays.keys() == data.arrays.keys()
        assert all(np.array_equal(array, data.arrays[key]) for key, array in saved.arrays.items())
        assert (saved.columns, saved.categories) == (data.columns, data.categories)


def test_lists_of_one_length_are_arrays() -> None:
    assert np.allclose(as_data(pa.table({"v": REAL.tolist()})).x, REAL)


def test_lists_of_several_lengths_are_sequences() -> None:
    data = as_data(TABLES["sequences"]())
    assert data.arrays["length"].tolist() == list(range(1, 21))
    assert np.array_equal(data.x[4, :5], WALKS[4])


def test_splits_are_those_of_the_folder(tmp_path: Path) -> None:
    table = pictures(GREY)
    data = load_data(save_splits(tmp_path / "d", train=table.slice(0, 15), test=table.slice(15)))
    assert data.rows("test").tolist() == list(range(15, 20))
    assert len(data.rows("train")) + len(data.rows("validation")) == 15


def test_a_single_split_is_split_at_random(tmp_path: Path) -> None:
    assert len(load_data(save_splits(tmp_path / "d", train=pictures(GREY))).rows("test")) == 2


def test_an_object_of_the_library_is_read_as_its_files(tmp_path: Path) -> None:
    class Saved:
        column_names = ("image", "label")

        def with_format(self, kind: str) -> dict[slice, Any]:
            assert kind == "arrow"
            return Rows()

    class Rows(dict[slice, Any]):
        def __getitem__(self, some: slice) -> Any:
            return pictures(GREY)

    assert np.array_equal(as_data(Saved()).x, GREY)


def test_frames_of_other_libraries_are_read() -> None:
    class Other:
        def to_pandas(self) -> pd.DataFrame:
            return pd.DataFrame({"a": [1.0, 2.0, 3.0]})

    assert as_data(Other()).columns == ("a",)


def test_texts_become_labels_where_they_are_named() -> None:
    table = pictures(GREY, kind=["b", "a"] * 10, caption=["c"] * 20)
    data = as_data(table, settings={"label": "kind"})
    assert data.arrays["label"].tolist() == [1, 0] * 10
    assert "left out: columns 'caption'" in data.notes


REFUSED: dict[str, tuple[Any, str]] = {
    "two columns": ({"u": REAL.tolist(), "v": REAL.tolist()}, "say in `columns` which is x"),
    "shapes": ({"v": [[[1.0], [2.0, 3.0]], [[1.0]]]}, "have different shapes"),
    "gaps": ({"v": [[1.0], None, [2.0]]}, "entries of 'v' are missing"),
    "texts": ({"v": [["a"], ["b"]]}, "holds lists of string, not numbers"),
    "no bytes": ({"image": [{"bytes": None, "path": "/etc/passwd"}]}, "row 0 of 'image' holds no"),
    "no picture": ({"image": [{"bytes": b"x", "path": ""}]}, "'image 0' is not an image"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_data_is_refused(what: str) -> None:
    columns, message = REFUSED[what]
    schema = None
    if what == "no bytes":
        kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        schema = pa.schema([("image", kind)])
    with pytest.raises(RequestError, match=message):
        as_data(pa.table(columns, schema=schema))


DAMAGED = {
    "leads out": ("state.json", {"_data_files": [{"filename": "../x.arrow"}]}, "no file in it"),
    "absolute": ("state.json", {"_data_files": [{"filename": "/etc/passwd"}]}, "no file in it"),
    "no files": ("state.json", {}, "names no files of data"),
    "a selection": ("state.json", {"_indices_files": [1]}, "is a selection"),
    "a list": ("state.json", [], "is damaged"),
    "gone": ("state.json", {"_data_files": [{"filename": "gone.arrow"}]}, "gone.arrow"),
    "splits": ("dataset_dict.json", {"splits": ["a", "b"]}, "has the splits a, b"),
    "split leads out": ("dataset_dict.json", {"splits": [".."]}, "no file in it"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_what_is_damaged_or_leads_elsewhere_is_refused(tmp_path: Path, what: str) -> None:
    name, content, message = DAMAGED[what]
    (save(tmp_path / "d", pictures(GREY)) / name).write_text(json.dumps(content))
    with pytest.raises(RequestError, match=message):
        load_data(tmp_path / "d")


def test_a_damaged_table_is_refused(tmp_path: Path) -> None:
    path = save(tmp_path / "d", pa.table({"v": REAL.tolist()}))
    file = next(path.glob("*.arrow"))
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(RequestError, match="cannot read"):
        load_data(path)
