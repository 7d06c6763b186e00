"""Each question of the project has an answer, and names a study, a command or a page of today."""

import re
from pathlib import Path

import pytest

from vaezoo import list_models
from vaezoo.cli import COMMANDS
from vaezoo.study import get_study, list_studies, read_result
from vaezoo.study.result import answer_of

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "questions.md"
RESULTS = DOCS / "results" / "studies"
THREADS = {0: 17, 1: 48, 2: 14, 3: 13, 4: 14}
pytestmark = pytest.mark.skipif(
    not PAGE.is_file(), reason="an installed vaezoo has no documentation beside it"
)


def rows() -> list[list[str]]:
    lines = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.is_file() else []
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if re.fullmatch(r"\d-\d+", row[0])]


def test_every_question_is_answered_once() -> None:
    wanted = [f"{thread}-{n}" for thread, number in THREADS.items() for n in range(1, number + 1)]
    assert [row[0] for row in rows()] == wanted


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0])
def test_what_answers_it_is_there(row: list[str]) -> None:
    _, asked, answer, where = row
    assert asked
    assert answer
    shown = re.findall(r"`([^`]+)`|\[\]\(([^)]+)\)", where)
    assert shown, "names no study, command or page"
    for code, page in shown:
        assert not page or _is_page(page)
        assert not code or _is_command(code)


def _is_page(page: str) -> bool:
    return (DOCS / page).is_file() or page == "studies/index.md"


def _is_command(code: str) -> bool:
    first, second, *more = [*code.split(), ""]
    if first == "study":
        return second in list_studies()
    names_model = second == "show" and more[0]
    return (
        first == "vaezoo" and second in COMMANDS and (not names_model or more[0] in list_models())
    )


def test_numbers_in_answers_are_of_claims_that_there_are() -> None:
    for name, number in re.findall(r"\{([a-z-]+)\.(\d+)\}", PAGE.read_text(encoding="utf-8")):
        assert 1 <= int(number) <= len(get_study(name).claims), f"{name}.{number}"


def test_means_in_answers_are_of_results_that_are_kept() -> None:
    for name, place in re.findall(r"\{([a-z-]+): ([^{}]+)\}", PAGE.read_text(encoding="utf-8")):
        measure, variant, data = place.split("; ")
        result = read_result(RESULTS / f"{name}.json")
        assert result.row(data, variant, measure), f"{name}: {place}"


@pytest.mark.parametrize("name", list_studies())
def test_results_that_are_kept_are_of_the_study_of_today(name: str) -> None:
    study, result = get_study(name), read_result(RESULTS / f"{name}.json")
    assert {outcome.rule for outcome in result.outcomes} <= {own.rule for own in study.claims}
    assert {row.variant for row in result.rows} <= {own.name for own in study.variants}
    assert all(row.unit == study.unit(row.measure) for row in result.rows)
    assert answer_of(study, result) == result.answer


def test_studies_say_which_questions_they_answer() -> None:
    of_page = {row[0] for row in rows()}
    for name in list_studies():
        assert set(get_study(name).rows) <= of_page, name
