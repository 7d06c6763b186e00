"""Annotated matrices: files of anndata, and objects of its form."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from vaezoo import RequestError
from vaezoo.data import as_data, load_data
from vaezoo.settings import DataSettings

COUNTS = np.random.default_rng(0).poisson(1.0, (30, 4)).astype(np.float32)
KINDS = np.array(["T", "B", "NK"])[np.arange(30) % 3]
OBS = pd.DataFrame(
    {"kind": pd.Categorical(KINDS), "batch": np.arange(30) % 5, "age": np.arange(30) / 4}
)
GENES = ["CD4", "CD8", "MS4A1", "NKG7"]
TEXT = h5py.string_dtype()


def put_matrix(file: Any, name: str, x: Any) -> None:
    if isinstance(x, np.ndarray):
        file.create_dataset(name, data=x, chunks=(7, 4), compression="gzip")
        return
    group = file.create_group(name)
    group.attrs.update({"encoding-type": f"{x.format}_matrix", "shape": x.shape})
    for part in ("data", "indices", "indptr"):
        group[part] = getattr(x, part)


def put_frame(file: Any, name: str, frame: pd.DataFrame) -> None:
    group = file.create_group(name)
    group.attrs.update({"_index": "_index", "column-order": list(frame)})
    group.create_dataset("_index", data=list(map(str, frame.index)), dtype=TEXT)
    for column in frame:
        if isinstance(frame[column].dtype, pd.CategoricalDtype):
            group[f"{column}/codes"] = frame[column].cat.codes.to_numpy()
            texts = list(frame[column].cat.categories)
            group.create_dataset(f"{column}/categories", data=texts, dtype=TEXT)
        else:
            group[str(column)] = frame[column].to_numpy()


def write(path: Path, x: Any = COUNTS, obs: pd.DataFrame = OBS) -> Path:
    with h5py.File(path, "w") as file:
        put_matrix(file, "X", x)
        put_matrix(file, "layers/log", np.log1p(COUNTS))
        put_frame(file, "obs", obs)
        put_frame(file, "var", pd.DataFrame(index=GENES))
    return path


def read(path: Path, **settings: Any) -> Any:
    return load_data(path, settings=DataSettings(name=str(path), **settings))


FORMS: dict[str, Callable[[], Any]] = {
    "dense": lambda: COUNTS,
    "csr": lambda: sparse.csr_matrix(COUNTS),
    "csc": lambda: sparse.csc_matrix(COUNTS),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_matrix_is_x_and_its_variables_are_columns(tmp_path: Path, form: str) -> None:
    data = read(write(tmp_path / "x.h5ad", FORMS[form]()))
    assert np.array_equal(data.x, COUNTS)
    assert data.columns == tuple(GENES)
    assert "left out: columns of obs 'kind', 'batch', 'age' (`label`, `group` name one)" in (
        data.notes
    )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"label": "kind"},
        {"group": "batch"},
        {"columns": {"x": ("log",)}},
        {"columns": {"x": ("NKG7", "CD4"), "c": ("age", "kind")}, "label": "batch"},
    ],
)
@pytest.mark.parametrize("form", FORMS)
def test_an_object_is_the_same_data_as_its_file(
    tmp_path: Path, form: str, settings: dict[str, Any]
) -> None:
    path = write(tmp_path / "x.h5ad", FORMS[form]())
    value = SimpleNamespace(
        X=FORMS[form](), obs=OBS, var_names=GENES, layers={"log": np.log1p(COUNTS)}
    )
    file, data = read(path, **settings), as_data(value, settings=settings)
    assert file.arrays.keys() == data.arrays.keys()
    assert all(np.array_equal(array, data.arrays[name]) for name, array in file.arrays.items())
    assert all(np.array_equal(file.rows(split), data.rows(split)) for split in file.splits)
    assert (file.columns, file.categories, file.notes) == (
        data.columns,
        data.categories,
        data.notes,
    )


def test_labels_are_codes_of_texts(tmp_path: Path) -> None:
    data = read(write(tmp_path / "x.h5ad"), label="kind")
    assert data.categories == {"kind": ("B", "NK", "T")}
    assert data.arrays["label"][:3].tolist() == [2, 0, 1]


def test_some_variables_are_x(tmp_path: Path) -> None:
    data = read(write(tmp_path / "x.h5ad"), columns={"x": ("NKG7", "CD4")})
    assert np.array_equal(data.x, COUNTS[:, [3, 0]])
    assert data.columns == ("NKG7", "CD4")


def test_a_column_of_obs_names_the_splits(tmp_path: Path) -> None:
    obs = OBS.assign(split=pd.Categorical(["train", "val", "test"] * 10))
    data = read(write(tmp_path / "x.h5ad", obs=obs))
    assert data.rows("validation").tolist() == list(range(1, 30, 3))


def damage(path: Path, key: str, change: Callable[[Any], None]) -> None:
    with h5py.File(write(path, sparse.csr_matrix(COUNTS)), "a") as file:
        if key in file:
            del file[key]
        change(file)


DAMAGED: dict[str, tuple[str, Callable[[Any], None], str]] = {
    "no matrix": ("X", lambda file: None, "has no 'X'"),
    "no table": ("obs", lambda file: None, "has no 'obs'"),
    "places outside": (
        "X/indices",
        lambda f: f.__setitem__("X/indices", np.full(np.count_nonzero(COUNTS), 99)),
        "cannot read",
    ),
    "link": (
        "obs/age",
        lambda file: file.__setitem__("obs/age", h5py.ExternalLink("other.h5", "age")),
        "'age' is a link to elsewhere",
    ),
    "elsewhere": (
        "obs/age",
        lambda file: file.create_dataset("obs/age", (30,), "f8", external="elsewhere.bin"),
        "lies in another file",
    ),
    "rows": ("X", lambda file: put_matrix(file, "X", COUNTS[:9]), "9 rows in 'X' and 30 in 'obs'"),
}


@pytest.mark.parametrize("what", DAMAGED)
def test_what_is_damaged_or_leads_elsewhere_is_refused(tmp_path: Path, what: str) -> None:
    key, change, message = DAMAGED[what]
    damage(tmp_path / "x.h5ad", key, change)
    with pytest.raises(RequestError, match=message):
        read(tmp_path / "x.h5ad")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"label": "cell"}, "`label`: .* has no column 'cell'; it has kind, batch, age"),
        ({"columns": {"x": ("CD9",)}}, "no layer and no variable 'CD9'; did you mean 'CD8'"),
        ({"columns": {"c": "ages"}}, "`columns`: .* has no column 'ages'; did you mean 'age'"),
    ],
)
def test_names_that_are_not_there_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        read(write(tmp_path / "x.h5ad"), **settings)
