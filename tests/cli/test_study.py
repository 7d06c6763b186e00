"""``vaezoo study``."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from vaezoo.cli import main
from vaezoo.study import list_studies


def run(*words: str) -> str:
    result = CliRunner().invoke(main, ["study", *words])
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(*words: str) -> str:
    result = CliRunner().invoke(main, ["study", *words])
    assert result.exit_code == 2
    return result.stderr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "modes"
    run("run", "modes", "--scale", "smoke", "--out", str(folder))
    return folder


def test_list_names_all_with_their_questions() -> None:
    assert [row["name"] for row in json.loads(run("list", "--json"))] == list_studies()


def test_list_fits_eighty_columns() -> None:
    assert max(map(len, run("list").splitlines())) <= 80


def test_show_says_rules_and_cost() -> None:
    text = run("show", "linear")
    assert "below the optimum of vae: within 0.5 of 0" in text
    assert "runs, about" in text


def test_table_and_claims_fit_eighty_columns(folder: Path) -> None:
    text = run("run", "modes", "--scale", "smoke", "--out", str(folder), "--resume")
    table = text.partition("\nClaims")[0]
    assert max(map(len, table.splitlines())) <= 80


def test_json_holds_the_result(folder: Path) -> None:
    text = run("run", "modes", "--scale", "smoke", "--out", str(folder), "--json")
    assert json.loads(text[text.index("{") :])["study"] == "modes"


def test_resume_needs_a_study(tmp_path: Path) -> None:
    text = fails("run", "modes", "--out", str(tmp_path / "none"), "--resume")
    assert "there is no study in" in text


def test_unknown_study_has_a_neighbour() -> None:
    assert "did you mean 'modes'" in fails("show", "mode")
