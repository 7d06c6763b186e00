"""Columns of a table: of which type each is, and what becomes of it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from vaezoo.data import Data, as_data, load_data
from vaezoo.errors import RequestError
from vaezoo.settings import DataSettings

ADULT = """age,work,hours,married,since,y
39,state,40.5,True,2001-05-01,0
50,self,13,False,2001-05-03,1
38,?,40,True,2001-05-04,1
53,private,,False,2001-05-02T12:00,0
"""


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Data]:
    def read(text: str, **settings: Any) -> Data:
        path = tmp_path / "x.csv"
        path.write_text(text, encoding="utf-8")
        return load_data(path, settings=DataSettings(name="", **settings))

    return read


def test_each_column_is_typed(read: Callable[..., Data]) -> None:
    line, *_ = read(ADULT).notes
    assert line == (
        "x has 1 integer column (age) and 1 category column (work) and 1 real column (hours) and "
        "1 boolean column (married) and 1 date column (since), 7 elements"
    )


def test_texts_are_zeros_and_ones(read: Callable[..., Data]) -> None:
    data = read(ADULT)
    assert data.columns[1:4] == ("work=private", "work=self", "work=state")
    assert data.x[:2, 1:4].tolist() == [[0, 0, 1], [0, 1, 0]]
    assert data.categories == {"work": ("private", "self", "state")}


def test_a_missing_text_is_missing_everywhere(read: Callable[..., Data]) -> None:
    assert np.isnan(read(ADULT).x[2]).tolist() == [False, True, True, True, False, False, False]


def test_truth_is_0_and_1(read: Callable[..., Data]) -> None:
    data = read(ADULT)
    assert data.x[:, data.columns.index("married")].tolist() == [1, 0, 1, 0]


def test_dates_are_days(read: Callable[..., Data]) -> None:
    assert np.diff(read(ADULT).x[:, -1]).tolist() == [2, 1, -1.5]


def test_of_two_texts_one_element_is_enough(read: Callable[..., Data]) -> None:
    data = read("a,b\n1,no\n2,yes\n3,no\n")
    assert data.columns == ("a", "b=yes")
    assert data.x[:, 1].tolist() == [0, 1, 0]


def test_a_type_may_be_named(read: Callable[..., Data]) -> None:
    data = read("a,b\n1,5\n2,7\n3,6\n", types={"b": "category"})
    assert data.columns == ("a", "b=5", "b=6", "b=7")


@pytest.mark.parametrize(
    ("text", "types", "message"),
    [
        ("a\n1\n2\nunknown\n", {}, "'a' holds numbers, but 'unknown' in row 2 is none"),
        ("a,b\n1,12 %\n2,13 %\n", {}, "'b' holds numbers, but '12 %' in row 0"),
        ("a\n1.5\n2\n", {"a": "integer"}, r"'a' is to be integer, but holds .*1.5.* in row 0"),
        ("a,b\n1,x\n2,y\n", {"b": "real"}, "'b' is to be real, but holds 'x' in row 0"),
        ("a,b\n1,2\n2,3\n", {"a": "boolean"}, "is to be boolean, but holds .*2"),
        ("a,b\n1,x\n2,y\n", {"b": "date"}, "'b' holds no dates"),
        ("a,b\n" + "".join(f"{n},name {n}\n" for n in range(99)), {}, "99 different texts"),
    ],
)
def test_what_is_of_no_type_is_refused(
    read: Callable[..., Data], text: str, types: Mapping[str, str], message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        read(text, types=types)


def test_what_is_the_same_text_everywhere_is_left_out(read: Callable[..., Data]) -> None:
    data = read("a,unit\n1,kg\n2,kg\n")
    assert data.columns == ("a",)
    assert "left out, the same text in all rows: 'unit'" in data.notes


def test_texts_keep_the_codes_of_the_training(read: Callable[..., Data]) -> None:
    texts = {"b": ("p", "q", "r"), "c": ("m", "n")}
    data = read("a,b,c\n1,r,n\n2,q,n\n", categories=texts, columns={"u": "c"})
    assert data.columns == ("a", "b=p", "b=q", "b=r")
    assert data.arrays["u"].tolist() == [1, 1]


def test_a_text_that_training_did_not_have_is_refused(read: Callable[..., Data]) -> None:
    with pytest.raises(RequestError, match="'b' has 's' in row 1, which is not among"):
        read("a,b\n1,q\n2,s\n", categories={"b": ("p", "q", "r")})


def test_large_numbers_keep_their_digits(read: Callable[..., Data]) -> None:
    assert read("t\n1700000001.5\n1700000002.5\n1700000004.5\n").x[:, 0].tolist() == [
        1700000001.5,
        1700000002.5,
        1700000004.5,
    ]


@pytest.mark.parametrize("label", ["b", "none"])
def test_a_label_is_named_or_there_is_none(read: Callable[..., Data], label: str) -> None:
    data = read("a,b,y\n1.5,2,0\n2.5,1,1\n", label=label)
    assert ("label" in data.arrays) == (label == "b")
    assert data.columns == (("a", "y") if label == "b" else ("a", "b", "y"))


def test_what_is_a_label_is_said(read: Callable[..., Data]) -> None:
    assert any(
        line.startswith("label: column 'y', 2 different values") for line in read(ADULT).notes
    )


def test_a_real_label_is_said_to_be_none(read: Callable[..., Data]) -> None:
    data = read("a,label\n1,0.5\n2,1.5\n")
    assert "column 'label' is an element of x, no label: it holds reals" in data.notes


def test_columns_are_left_out(read: Callable[..., Data]) -> None:
    data = read(ADULT, drop=("since", "work"))
    assert data.columns == ("age", "hours", "married")
    assert "left out: column 'since'" in data.notes


def test_a_slip_in_what_is_left_out_is_refused(read: Callable[..., Data]) -> None:
    with pytest.raises(RequestError, match=r"`drop`: .* no column 'ages'; did you mean 'age'"):
        read(ADULT, drop=("ages",))


def test_a_column_says_the_splits(read: Callable[..., Data]) -> None:
    data = read("a,split\n1,train\n2,val\n3,Test\n4,train\n")
    assert {name: rows.tolist() for name, rows in data.splits.items()} == {
        "train": [0, 3],
        "validation": [1],
        "test": [2],
    }
    assert data.columns == ("a",)


def test_a_frame_is_read_as_its_file(read: Callable[..., Data]) -> None:
    file = read(ADULT)
    table = pd.DataFrame(
        {
            "age": [39, 50, 38, 53],
            "work": pd.Categorical(["state", "self", None, "private"]),
            "hours": [40.5, 13, 40, None],
            "married": [True, False, True, False],
            "since": pd.to_datetime(
                ["2001-05-01", "2001-05-03", "2001-05-04", "2001-05-02T12:00"], format="ISO8601"
            ),
            "y": [0, 1, 1, 0],
        }
    )
    frame = as_data(table)
    assert np.array_equal(frame.x, file.x, equal_nan=True)
    assert (frame.columns, frame.notes) == (file.columns, file.notes)


def test_tabs_separate_a_tsv(tmp_path: Path) -> None:
    (tmp_path / "x.tsv").write_text("a\tb\n1\t2\n3\t4\n5\t6\n")
    assert load_data(tmp_path / "x.tsv").x.tolist() == [[1, 2], [3, 4], [5, 6]]
