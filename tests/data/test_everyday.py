"""Files as people have them: what each is read as, and what is said of it."""

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy import sparse
from scipy.io import wavfile

from vaezoo.data import as_data, load_data
from vaezoo.errors import RequestError
from vaezoo.settings import DataSettings

RNG = np.random.default_rng(0)
REAL = RNG.normal(size=(40, 3))
GREY = RNG.integers(0, 256, (40, 12, 10), np.uint8)
LABEL = np.arange(40) % 4
UNLIKE = [GREY[0, : 9 + row] for row in range(3)] * 3
TABLE = pd.DataFrame(REAL, columns=["a", "b", "c"])


class File(NamedTuple):
    """A file, the shape of x, and words of what is said, or of the refusal where no shape is."""

    name: str
    content: Any
    shape: tuple[int, ...] | None
    words: str = ""
    settings: dict[str, Any] = {}  # noqa: RUF012


FILES = {
    "reals": File("x.npy", REAL, (40, 3)),
    "big-endian": File("x.npy", REAL.astype(">f8"), (40, 3)),
    "grey pictures": File("x.npy", GREY, (40, 12, 10)),
    "grey levels as int64": File("x.npy", GREY.astype(np.int64), (40, 12, 10)),
    "colours last": File("x.npy", np.stack([GREY] * 3, -1), (40, 3, 12, 10), "colours stood last"),
    "colours first": File("x.npy", np.stack([GREY] * 3, 1), (40, 3, 12, 10)),
    "volumes": File("x.npy", np.zeros((9, 6, 6, 6)), (9, 6, 6, 6)),
    "counts as bytes": File("x.npy", RNG.poisson(150, (40, 3)).astype(np.uint8), (40, 3)),
    "labels": File("x.npz", {"x": REAL, "y": np.arange(40)}, (40, 3), "label: array 'y'"),
    "no label": File("x.npz", {"x": REAL, "y": np.arange(40)}, (40, 3), "", {"label": "none"}),
    "names of elements": File("x.npz", {"x": REAL, "columns": ["a", "b", "c"]}, (40, 3)),
    "settings beside": File("x.npz", {"x": REAL, "fs": np.float64(8)}, (40, 3), "left out: 'fs'"),
    "split array": File("x.npz", {"x": REAL, "split": ["train", "test"] * 20}, (40, 3), "splits"),
    "two candidates": File("x.npz", {"a": REAL, "b": REAL}, None, "name the data 'x'"),
    "padded sequences": File("x.npz", {"x": REAL.reshape(8, 5, 3), "length": [5] * 8}, (8, 5, 3)),
    "sparse": File("x.npz", sparse.csr_matrix(REAL > 1), (40, 3), "sparse"),
    "one long series": File("x.npy", REAL, (6, 10, 3), "6 windows", {"window": 10}),
    "plain table": File("x.csv", TABLE, (40, 3), "3 real columns (a, b, c)"),
    "tabs": File("x.tsv", "a\tb\n1\t2\n3\t4\n", (2, 2), "2 integer columns"),
    "decimal commas": File("x.csv", "a;b\n1,5;2\n2,5;3\n", (2, 2), "1 real column (a)"),
    "no header": File("x.csv", "1.5,2\n2.5,3\n", (2, 2)),
    "row numbers": File("x.csv", TABLE.to_csv(), (40, 3), "row numbers"),
    "text": File("x.csv", "a,city\n1,Rome\n2,Oslo\n3,Bern\n", (3, 4), "category column (city)"),
    "truth": File("x.csv", "a,b\n1,True\n2,False\n3,\n", (3, 2), "1 boolean column (b)"),
    "dates": File("x.csv", "a,d\n1,2024-01-31\n2,2024-02-01\n", (2, 2), "1 date column (d)"),
    "gaps": File("x.csv", "a,b\n1,?\n2,NA\n,3\n", (3, 2)),
    "label column": File("x.csv", "a,y\n1,0\n2,1\n", (2, 1), "label: column 'y'"),
    "y is data": File("x.csv", "a,y\n1,0\n2,1\n", (2, 2), "", {"label": "none"}),
    "real label": File("x.csv", "a,label\n1,0.5\n2,1\n", (2, 2), "no label: it holds reals"),
    "names of people": File(
        "x.csv",
        "a,n\n" + "".join(f"{i},p{i}\n" for i in range(70)),
        None,
        "70 different texts",
    ),
    "left out": File("x.csv", "a,n\n1,p\n2,q\n", (2, 1), "left out: column 'n'", {"drop": ("n",)}),
    "slip of a number": File("x.csv", "a,b\n1,2\n2,3\n3,4o\n", None, "'b' holds numbers, but '4o'"),
    "more fields": File("x.csv", "a,b\n1,2,3\n4,5,6\n", None, "line 2 has 3 fields"),
    "unix times": File("x.csv", "t\n1700000001\n1700000002\n", (2, 1), "1 integer column (t)"),
    "id and time": File(
        "x.csv", "id,time,v\na,2,5\na,1,4\nb,1,6\n", (2, 2, 1), "integer column (v)"
    ),
    "arrays of HDF5": File(
        "x.h5", lambda path: write_hdf5(path, x=REAL, y=LABEL), (40, 3), "label"
    ),
    "annotated matrix": File("x.h5ad", lambda path: write_h5ad(path), (40, 3), "the matrix 'X'"),
    "chunks of zarr": File("x.zarr", lambda path: write_zarr(path, REAL), (40, 3)),
    "pictures in a table": File(
        "x.parquet", lambda path: write_rows(path), (40, 12, 10), "'image'"
    ),
    "saved data set": File(
        "folder", lambda path: write_saved(path), (40, 12, 10), "column 'image'"
    ),
    "folder of pictures": File("folder", lambda path: write_pictures(path, GREY), (40, 12, 10)),
    "pictures of unlike size": File(
        "folder", lambda path: write_pictures(path, UNLIKE), None, "`resize"
    ),
    "pictures resized": File(
        "folder", lambda path: write_pictures(path, UNLIKE), (9, 8, 8), "", {"resize": 8}
    ),
    "recordings": File(
        "folder", lambda path: write_sounds(path), (6, 5, 200), "6 recordings of 8000"
    ),
    "files of splits": File("folder", lambda path: write_splits(path), (40, 3), "test: 10 rows"),
    "groups": File("x.csv", TABLE.assign(g=list("abcde") * 8), (40, 3), "", {"group": "g"}),
    "no such group": File("x.csv", TABLE, None, "has no column 'zone'", {"group": "zone"}),
    "packed": File("x.csv.gz", "PK", None, "it is packed; unpack it first"),
    "workbook": File("x.xlsx", "PK", None, "expected .csv"),
    "constant text": File("x.csv", "a,u\n1,kg\n2,kg\n", (2, 1), "the same text in all rows: 'u'"),
}


def write_hdf5(path: Path, **arrays: Any) -> None:
    with h5py.File(path, "w") as file:
        for name, array in arrays.items():
            file[name] = array


def write_h5ad(path: Path) -> None:
    """Write a sparse matrix with one column of kinds, as anndata does."""
    matrix = sparse.csr_matrix(REAL * (REAL > 0))
    with h5py.File(path, "w") as file:
        group = file.create_group("X")
        group.attrs.update({"encoding-type": "csr_matrix", "shape": matrix.shape})
        for part in ("data", "indices", "indptr"):
            group[part] = getattr(matrix, part)
        for name, index in (("obs", range(40)), ("var", "abc")):
            frame = file.create_group(name)
            frame.attrs.update({"_index": "_index", "column-order": ["kind"] * (name == "obs")})
            frame["_index"] = list(map(str, index))
        file["obs/kind"] = ["T", "B"] * 20


def write_zarr(path: Path, x: np.ndarray) -> None:
    zarr = pytest.importorskip("zarr")
    zarr.create_array(str(path), shape=x.shape, chunks=(7, 3), dtype=x.dtype)[...] = x


def rows_of_pictures() -> Any:
    pyarrow = pytest.importorskip("pyarrow")
    contents = []
    for pixels in GREY:
        Image.fromarray(pixels).save(content := io.BytesIO(), "PNG")
        contents.append({"bytes": content.getvalue(), "path": None})
    return pyarrow.table({"image": contents, "label": LABEL})


def write_rows(path: Path) -> None:
    table = rows_of_pictures()
    pytest.importorskip("pyarrow.parquet").write_table(table, path)


def write_saved(path: Path) -> None:
    table, ipc = rows_of_pictures(), pytest.importorskip("pyarrow.ipc")
    path.mkdir()
    with (path / "data.arrow").open("wb") as file, ipc.new_stream(file, table.schema) as stream:
        stream.write_table(table)
    (path / "state.json").write_text('{"_data_files": [{"filename": "data.arrow"}]}')
    (path / "dataset_info.json").write_text("{}")


def write_pictures(path: Path, pictures: Iterable[np.ndarray]) -> None:
    path.mkdir()
    for row, pixels in enumerate(pictures):
        Image.fromarray(pixels).save(path / f"{row:02d}.png")


def write_sounds(path: Path) -> None:
    path.mkdir()
    for row in range(6):
        samples = RNG.normal(0, 3000, 500 + 100 * row).astype(np.int16)
        wavfile.write(path / f"{row}.wav", 8000, samples)


def write_splits(path: Path) -> None:
    path.mkdir()
    TABLE[:30].to_csv(path / "train.csv", index=False)
    TABLE[30:].to_csv(path / "test.csv", index=False)


def write(folder: Path, file: File) -> Path:
    path = folder / file.name
    if callable(file.content):
        file.content(path)
        return path
    if isinstance(file.content, str):
        path.write_text(file.content, encoding="utf-8")
    elif isinstance(file.content, pd.DataFrame):
        file.content.to_csv(path, index=False)
    elif sparse.issparse(file.content):
        sparse.save_npz(path, file.content)
    elif isinstance(file.content, dict):
        np.savez(path, **file.content)
    else:
        np.save(path, file.content)
    return path


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_file_is_read_as_it_is_meant(tmp_path: Path, file: File) -> None:
    path = write(tmp_path, file)
    settings = DataSettings(name=str(path), **file.settings)
    if file.shape is None:
        with pytest.raises(RequestError) as refusal:
            load_data(path, settings=settings)
        assert file.words in str(refusal.value)
        return
    data = load_data(path, settings=settings)
    assert data.x.shape == file.shape
    assert file.words in "; ".join(data.notes)


@pytest.mark.parametrize("key", ["y", "label"])
def test_what_is_said_to_be_no_label_is_none(tmp_path: Path, key: str) -> None:
    np.savez(tmp_path / "x.npz", **{"x": REAL, key: LABEL})
    data = load_data(tmp_path / "x.npz", settings=DataSettings(name="", label="none"))
    assert "label" not in data.arrays
    assert any(array is not data.x for array in data.arrays.values()) == (key == "y")


def test_a_label_that_is_named_comes_before_another(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=REAL, label=LABEL, z=LABEL + 5)
    data = load_data(tmp_path / "x.npz", settings=DataSettings(name="", label="z"))
    assert data.arrays["label"].tolist() == (LABEL + 5).tolist()
    assert "left out: 'label' (40,)" in data.notes


SAME: dict[str, Callable[[], Any]] = {
    "reals": lambda: REAL,
    "grey pictures": lambda: GREY,
    "colours last": lambda: np.stack([GREY] * 3, -1),
    "plain table": lambda: pd.read_csv("x.csv"),
    "text": lambda: pd.read_csv("x.csv"),
    "dates": lambda: pd.read_csv("x.csv", parse_dates=["d"]),
    "id and time": lambda: pd.read_csv("x.csv"),
    "label column": lambda: pd.read_csv("x.csv"),
}


@pytest.mark.parametrize("name", SAME)
def test_an_object_is_read_as_its_file(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file, other = load_data(write(tmp_path, FILES[name])), as_data(SAME[name]())
    assert file.arrays.keys() == other.arrays.keys()
    assert all(np.allclose(file.arrays[key], other.arrays[key]) for key in file.arrays)
    assert (file.columns, file.scale) == (other.columns, other.scale)


def test_a_folder_of_photographs(tmp_path: Path) -> None:
    for name, pixels in zip("abc", GREY, strict=False):
        Image.fromarray(pixels).save(tmp_path / f"{name}.jpg")
    assert load_data(tmp_path).x.shape == (3, 12, 10)
