"""A pretrained run is named like a folder, read where it lies, and left as it is."""

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from vaezoo import RequestError, evaluate, fit, load_run, resume, sample
from vaezoo.pretrained import find_run, get_pretrained

NAME = "vae-bernoulli.digits"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_results_go_to_a_folder_of_its_name(vaezoo: Callable[..., Result]) -> None:
    result = vaezoo("sample", NAME, "-n", "4")
    assert result.exit_code == 0
    assert Path(NAME, "figures/samples.png").is_file()


def test_its_files_are_left_as_they_are() -> None:
    evaluate(NAME, iwae=(2,), limit=4)
    assert Path(NAME, "evaluation.json").is_file()
    get_pretrained(NAME).require_files()


def test_new_evaluations_join_those_that_it_came_with() -> None:
    before = load_run(NAME).evaluations
    evaluate(NAME, iwae=(2,), limit=4)
    assert load_run(NAME).evaluations[:-1] == before


def test_it_is_found_beside_its_results() -> None:
    evaluate(NAME, iwae=(2,), limit=4)
    assert find_run(NAME).folder == get_pretrained(NAME).folder


def test_what_writes_nothing_makes_no_folder() -> None:
    sample(NAME, 4)
    assert list(Path().iterdir()) == []


def test_a_run_folder_of_that_name_wins() -> None:
    own = fit("vae-linear", training={"steps": 3}, out=NAME)
    assert load_run(NAME).id == own.id


def test_seeds_in_a_folder_of_that_name_win() -> None:
    fit("vae-linear", training={"steps": 2}, seeds=[0, 1], out=NAME)
    assert find_run(NAME).results is None


def test_a_path_to_the_name_is_a_path() -> None:
    with pytest.raises(RequestError, match="is no run folder"):
        load_run(Path("runs", NAME))


def test_a_misspelt_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match=f"did you mean '{NAME}'"):
        load_run("vae-bernouli.digits")


def test_going_on_is_refused_with_what_trains_another() -> None:
    with pytest.raises(RequestError, match=r"vaezoo\.fit\('vae-bernoulli', data='digits'\)"):
        resume(NAME, epochs=300)


def test_a_file_in_the_way_of_results_is_named(vaezoo: Callable[..., Result]) -> None:
    Path(NAME).write_text("mine")
    result = vaezoo("sample", NAME, "-n", "4")
    assert result.exit_code == 1
    assert f"cannot write {NAME}" in result.stderr
    assert Path(NAME).read_text() == "mine"
