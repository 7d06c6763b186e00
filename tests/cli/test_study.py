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


@pytest.mark.parametrize("name", list_studies())
def test_show_fits_eighty_columns(name: str) -> None:
    assert max(map(len, run("show", name).splitlines())) <= 80


def test_show_says_rules_and_cost() -> None:
    text = run("show", "linear")
    assert "below the optimum of vae: within 0.5 of 0" in text
    assert "runs, about" in text


def test_table_claims_and_answer_fit_eighty_columns(folder: Path) -> None:
    text = run("run", "modes", "--scale", "smoke", "--out", str(folder), "--resume")
    report = text.partition("\nthe page is")[0]
    assert max(map(len, report.splitlines())) <= 80


def test_json_holds_the_result(folder: Path) -> None:
    text = run("run", "modes", "--scale", "smoke", "--out", str(folder), "--json")
    assert json.loads(text[text.index("{") :])["study"] == "modes"


def test_resume_needs_a_study(tmp_path: Path) -> None:
    text = fails("run", "modes", "--out", str(tmp_path / "none"), "--resume")
    assert "there is no study in" in text


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = fails("run", "modes", "--scale", "smoke", "--out", str(tmp_path / "file"))
    assert "choose another --out" in text


def test_stopped_study_goes_on_with_its_seeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("vaezoo.study.running.run_study", stop)
    words = ["study", "run", "modes", "--seeds", "3", "--jobs", "2", "--out", str(tmp_path / "own")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 130
    assert "--seeds 3 --jobs 2" in result.stderr


def test_unknown_study_has_a_neighbour() -> None:
    assert "did you mean 'modes'" in fails("show", "mode")
