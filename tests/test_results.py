"""What was measured stands in files of one schema, and in pages that have the same numbers."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "docs" / "results"
SCHEMA = (
    *("model", "data", "settings", "seed", "name", "value", "error", "machine", "version"),
    *("date", "script"),
)
FILES = sorted(RESULTS.glob("*.csv"))

pytestmark = pytest.mark.skipif(not FILES, reason="docs/results is not here")


@pytest.fixture(autouse=True)
def _beside_the_scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    monkeypatch.syspath_prepend(ROOT / "docs")
    yield
    for name in ("_rows", "results_table"):
        sys.modules.pop(name, None)


PAGE = """# vae-gaussian on MNIST

Something about it.

**(a) small**; medians

| --sigma | -ELBO | at floor | published |
| --- | --- | --- | --- |
| `fixed:1` | 1,739.4 ± 0.1 | 68% | < 740.5 |
| `shared` | -797.4 (target ≤ -790) |  | < 896 |

Made by `benchmarks/sigma.py -n 3`: vaezoo 0.1.0, torch 2, Linux, 2 cores (x86_64); 2026-11-20.
"""


def test_a_table_becomes_a_row_for_each_number() -> None:
    from _rows import rows_of_page

    scores = [(s.settings, s.name, s.value, s.error) for s in rows_of_page(PAGE)]
    assert scores == [
        ("(a) small; fixed:1", "-ELBO", 1739.4, 0.1),
        ("(a) small; fixed:1", "at floor", 0.68, None),
        ("(a) small; shared", "-ELBO", -797.4, None),
    ]


def test_a_row_says_where_it_comes_from() -> None:
    from _rows import rows_of_page

    score = next(rows_of_page(PAGE))
    assert (score.model, score.data, score.seed) == ("vae-gaussian", "mnist", None)
    assert (score.machine, score.version) == ("Linux, 2 cores (x86_64)", "0.1.0")
    assert (score.date, score.script) == ("2026-11-20", "benchmarks/sigma.py")


def test_rows_are_written_and_read_again(tmp_path: Path) -> None:
    from _rows import read_scores, rows_of_page, write_scores

    write_scores(tmp_path / "x.csv", rows_of_page(PAGE))
    assert read_scores(tmp_path / "x.csv") == list(rows_of_page(PAGE))


def test_rows_of_a_model_take_the_place_of_those_before_and_of_no_others(tmp_path: Path) -> None:
    from _rows import Score, read_scores, replace_scores

    file = tmp_path / "x.csv"
    for model, value in (("b", 1.0), ("a", 2.0), ("b", 3.0)):
        replace_scores(file, model, [Score(model, "digits", "defaults", 0, "ELBO", value)])
    assert [(score.model, score.value) for score in read_scores(file)] == [("a", 2.0), ("b", 3.0)]
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]  # no lock is left


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_file_has_the_schema(file: Path) -> None:
    from _rows import read_scores

    with file.open(encoding="utf-8", newline="") as rows:
        columns = csv.DictReader(rows).fieldnames or ()
    left_out = {"zoo": {"script"}}.get(file.stem, set())  # until it is measured again
    assert set(SCHEMA) - set(columns) <= left_out
    assert read_scores(file)


def test_files_have_the_numbers_of_their_pages() -> None:
    from _rows import read_scores, rows_of_page

    pages = [file.with_suffix(".md") for file in FILES if file.stem not in ("papers", "zoo")]
    pages = [page for page in pages if page.is_file()]
    stale = [
        page.stem
        for page in pages
        if [s.value for s in rows_of_page(page.read_text(encoding="utf-8"))]
        != [pytest.approx(s.value, rel=1e-5) for s in read_scores(page.with_suffix(".csv"))]
    ]
    assert stale == [], "run python benchmarks/rows.py"


def test_one_table_has_them_all() -> None:
    from results_table import table_of_all

    table = table_of_all(RESULTS)
    rows = 0
    for file in FILES:
        with file.open(encoding="utf-8", newline="") as lines:
            rows += sum(1 for _ in csv.DictReader(lines))
    assert table.count("<tr title=") == rows
    assert f"{rows:,} numbers" in table
