"""Tables in text as the spreadsheets of many countries write them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vaezoo import RequestError
from vaezoo.data import load_file
from vaezoo.data.files.dialect import dialect_of

ROWS = np.array([[1.5, -0.25], [2.5, 3.0], [0.125, 4.0]], dtype=np.float32)


@pytest.mark.parametrize("separator", [",", ";", "\t", "|", ", "])
def test_separators(csv: Callable[[str], Path], separator: str) -> None:
    lines = ["a,b", *(f"{a},{b}" for a, b in ROWS.tolist())]
    data = load_file(csv("\n".join(lines).replace(",", separator)))
    assert data.columns == ("a", "b")
    np.testing.assert_array_equal(data.x, ROWS)


@pytest.mark.parametrize("header", ["a;b\n", "Height, cm;Weight, kg\n", ""])
def test_decimal_commas(csv: Callable[[str], Path], header: str) -> None:
    data = load_file(csv(header + "1,5;-0,25\n2,5;3\n0,125;4\n"))
    np.testing.assert_array_equal(data.x, ROWS)


def test_a_semicolon_in_quoted_text_separates_nothing(csv: Callable[[str], Path]) -> None:
    data = load_file(csv('a,label\n1,"p;q"\n2,"r;s"\n3,"p;q"\n'))
    np.testing.assert_array_equal(data.arrays["label"], [0, 1, 0])


def test_a_comma_in_an_exponent(csv: Callable[[str], Path]) -> None:
    assert dialect_of(csv("a\tb\n1,5e-3\t2\n")) == ("\t", ",")


def test_one_column(csv: Callable[[str], Path]) -> None:
    assert load_file(csv("a\n1.5\n2.5\n3.5\n")).x.shape == (3, 1)


@pytest.mark.parametrize(
    ("text", "message"),
    {
        "names missing": ("a,b\n1,2,3\n4,5,6\n", "line 2 has 3 fields and the first has 2"),
        "decimal commas": ("a,b\n1,5,2,5\n3,5,4,5\n", "line 2 has 4 fields"),
        "one line": ("a;b\n1;2\n3;4;5\n", "line 3 has 3 fields"),
        "both marks": ("a;b\n1,5;2\n1.5;3\n", "decimals with a comma .*1,5.* and with a point"),
        "thousands": (
            "a;b\n1.234,5;2\n1,5;3\n",
            "holds numbers, but '1.234,5' in row 0",
        ),
    }.values(),
)
def test_what_cannot_be_read_rightly_is_refused(
    csv: Callable[[str], Path], text: str, message: str
) -> None:
    with pytest.raises(RequestError, match=message):
        load_file(csv(text))


@pytest.mark.parametrize("header", ["a b\n", "", "  a    b  \n"])
@pytest.mark.parametrize("decimal", [".", ","])
def test_blanks_between_numbers(csv: Callable[[str], Path], header: str, decimal: str) -> None:
    text = header + " 1.5  -0.25\n2.5\t3.0 \n0.125   4e0\n".replace(".", decimal)
    np.testing.assert_array_equal(load_file(csv(text)).x, ROWS)


def test_blanks_in_texts_separate_nothing(csv: Callable[[str], Path]) -> None:
    data = load_file(csv("a,city\n1,New York\n2,San Jose\n3,New York\n"))
    assert data.columns == ("a", "city=San Jose")


def test_a_first_line_of_texts_that_recur_has_no_names(csv: Callable[[str], Path]) -> None:
    data = load_file(csv("39,State,Male\n50,Self,Male\n38,State,Female\n"))
    assert data.x[:, 0].tolist() == [39, 50, 38]
    assert data.columns == ("0", "1=State", "2=Male")
    assert data.notes[0].startswith("the first line has data and no names of columns")


def test_names_that_could_be_values_are_said(csv: Callable[[str], Path]) -> None:
    data = load_file(csv("150,4,setosa\n5.1,3.5,0\n4.9,3.0,1\n"))
    assert "names of columns: the first line, although '150', '4' could be values" in data.notes


def test_names_of_texts_are_said_nothing_about(csv: Callable[[str], Path]) -> None:
    assert not any("names of columns" in note for note in load_file(csv("a,b\n1,2\n3,4\n")).notes)
