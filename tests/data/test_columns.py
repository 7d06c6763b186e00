"""Columns of a table that stand for an argument of the model."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from vaezoo.data.coercion import as_data
from vaezoo.data.files.columns import Columns
from vaezoo.data.files.reader import load_file
from vaezoo.data.load import load_data
from vaezoo.errors import RequestError

TABLE = "a,b,age,income,city,label\n" + "".join(
    f"{n}.5,{n},{30 + n},{n / 8},{'RO'[n % 2]},{n % 3}\n" for n in range(12)
)
PATHS = "id,time,v,u,w,site\n0,0,1,5,9,p\n0,1,2,6,9,p\n1,0,3,7,8,q\n"


@pytest.fixture
def csv(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "x.csv"
        path.write_text(text)
        return path

    return write


def test_several_columns_become_one_argument(csv: Callable[[str], Path]) -> None:
    data = load_file(csv(TABLE), columns={"c": ["age", "income"], "city": "city"})
    assert data.arrays["c"][3].tolist() == [33.0, 3 / 8]
    assert "age" not in data.columns


def test_what_is_named_leaves_x(csv: Callable[[str], Path]) -> None:
    data = load_file(csv(TABLE), columns={"c": ["age", "income"], "city": "city"})
    assert data.columns == ("a", "b")
    assert data.arrays["label"].tolist() == [n % 3 for n in range(12)]


def test_one_column_is_one_number_a_row(csv: Callable[[str], Path]) -> None:
    arrays = load_file(csv(TABLE), columns={"c": "city", "age": ["age"]}).arrays
    assert arrays["c"][:2].tolist() == [1, 0]
    assert arrays["age"].shape == (12, 1)
    assert arrays["c"].dtype == arrays["age"].dtype == np.int64


def test_x_may_be_named_itself(csv: Callable[[str], Path]) -> None:
    data = load_file(csv(TABLE), columns={"x": ["b"], "label": "city"})
    assert data.columns == ("b",)
    assert data.arrays["label"][:2].tolist() == [1, 0]


def test_columns_of_frames_and_of_sequences(csv: Callable[[str], Path]) -> None:
    arrays = load_file(csv(PATHS), columns={"u": "u", "w": "w", "site": "site"}).arrays
    assert arrays["u"].tolist() == [[[5], [6]], [[7], [0]]]
    assert (arrays["w"].tolist(), arrays["site"].tolist()) == ([9, 8], [0, 1])


def test_frame_and_file_agree(csv: Callable[[str], Path]) -> None:
    path = csv(TABLE)
    columns: Columns = {"c": ["age", "income"], "city": "city"}
    frame, file = as_data(pd.read_csv(path), columns=columns), load_data(path, columns=columns)
    for name, array in file.arrays.items():
        assert np.array_equal(array, frame.arrays[name])


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"c": "agee"}, "no column 'agee'; did you mean 'age'"),
        ({"c": []}, "'c' names no column"),
        ({"c": ["age", "x"]}, "no column 'x'"),
    ],
)
def test_what_a_table_lacks_is_refused(
    csv: Callable[[str], Path], columns: dict[str, str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        load_file(csv(TABLE.replace("city", "town")), columns=columns)


def test_what_is_no_table_has_no_columns(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros((20, 3)))
    with pytest.raises(RequestError, match="takes a table"):
        load_file(tmp_path / "x.npy", columns={"c": "age"})


def test_arrays_have_names_of_their_own(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.zeros((20, 3)), c=np.arange(20))
    assert len(load_file(tmp_path / "x.npz", columns={"c": "age"}).arrays["c"]) == 20
