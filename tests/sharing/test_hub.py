"""Runs to a hub and back: the same run, known files only, and nothing of it executed."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pooch
import pytest
from click.testing import Result

from vaezoo import RequestError, RunError, load_run, pull, push, resume, sample
from vaezoo.pretrained.hub import read_address

if TYPE_CHECKING:
    from conftest import Hub

NAME, REPOSITORY = "vae-bernoulli.digits", "me/my-run"
ADDRESS = f"hf://{REPOSITORY}"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    cache = tmp_path / "cache"
    monkeypatch.setattr(pooch, "os_cache", lambda name: cache / name)


@pytest.fixture
def pushed(hub: "Hub") -> "Hub":
    push(NAME, REPOSITORY, licence="apache-2.0")
    return hub


def test_the_run_comes_back_as_it_was(pushed: "Hub") -> None:
    assert load_run(ADDRESS).id == load_run(NAME).id


def test_what_is_pushed_has_a_card(pushed: "Hub") -> None:
    card = pushed.commits[REPOSITORY][-1]["README.md"].decode()
    assert 'license: "apache-2.0"' in card


def test_a_card_of_ones_own_is_pushed(hub: "Hub", trained: Path, tmp_path: Path) -> None:
    push(NAME, REPOSITORY)
    run = pull(ADDRESS, "own")
    (run / "README.md").write_text("# Mine")
    push(run, REPOSITORY)
    assert hub.commits[REPOSITORY][-1]["README.md"] == b"# Mine"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_what_a_link_leads_to_is_not_pushed(pushed: "Hub") -> None:
    run = pull(ADDRESS, "own")
    Path("secret").write_text("secret")
    (run / "README.md").unlink()
    (run / "README.md").symlink_to(Path("secret").resolve())
    push(run, REPOSITORY)
    assert b"secret" not in pushed.commits[REPOSITORY][-1]["README.md"]


def test_only_known_files_are_fetched(pushed: "Hub") -> None:
    files = {"evil.sh": b"rm", "../up.py": b"", "last/state.safetensors": b"", "x.pkl": b""}
    pushed.commits[REPOSITORY][-1] |= files
    run = pull(ADDRESS, "own")
    names = {path.name for path in run.rglob("*")}
    assert not names & {"evil.sh", "up.py", "state.safetensors", "x.pkl"}


def test_source_that_comes_with_a_run_is_not_executed(pushed: "Hub", tmp_path: Path) -> None:
    files = pushed.commits[REPOSITORY][-1]
    config = files["config.toml"].decode()
    files["config.toml"] = config.replace('"vae-bernoulli"', '"model.py:Evil"', 1).encode()
    files["model.py"] = f"open({str(tmp_path / 'executed')!r}, 'w')".encode()
    with pytest.raises(RequestError, match="was not trained here; read it, then name it"):
        load_run(ADDRESS)
    assert not (tmp_path / "executed").exists()


def test_a_commit_that_was_fetched_needs_no_hub(pushed: "Hub") -> None:
    commit = pushed.sha(REPOSITORY, len(pushed.commits[REPOSITORY]) - 1)
    load_run(f"{ADDRESS}@{commit}")
    pushed.requests.clear()
    load_run(f"{ADDRESS}@{commit}")
    assert pushed.requests == []


def test_a_new_commit_is_fetched(pushed: "Hub") -> None:
    load_run(ADDRESS)
    push("ae.digits", REPOSITORY)
    assert load_run(ADDRESS).id == load_run("ae.digits").id


def test_an_older_commit_can_be_named(pushed: "Hub") -> None:
    commit = pushed.sha(REPOSITORY, len(pushed.commits[REPOSITORY]) - 1)
    push("ae.digits", REPOSITORY)
    assert load_run(f"{ADDRESS}@{commit}").id == load_run(NAME).id


def test_commands_take_an_address(pushed: "Hub", vaezoo: Callable[..., Result]) -> None:
    assert vaezoo("sample", ADDRESS, "-n", "4").exit_code == 0
    assert Path("my-run/figures/samples.png").is_file()


def test_results_stay_out_of_a_run_of_that_name(pushed: "Hub") -> None:
    pull(ADDRESS)
    assert load_run(ADDRESS).folder() != load_run("my-run").folder()


def test_a_run_that_was_pulled_is_ones_own(pushed: "Hub", vaezoo: Callable[..., Result]) -> None:
    result = vaezoo("pull", ADDRESS, "-o", "own", "--json")
    assert json.loads(result.stdout) == {"address": ADDRESS, "run": "own"}
    assert sample("own", 2).shape == (2, 8, 8)


def test_a_folder_in_the_way_is_left(pushed: "Hub") -> None:
    Path("my-run").mkdir()
    with pytest.raises(RequestError, match="my-run exists already; choose another `out`"):
        pull(ADDRESS)


def test_going_on_with_an_address_is_refused(pushed: "Hub") -> None:
    with pytest.raises(RequestError, match="comes without the state to go on from"):
        resume(ADDRESS, epochs=300)


def test_what_is_no_run_is_refused(pushed: "Hub") -> None:
    del pushed.commits[REPOSITORY][-1]["run.json"]
    with pytest.raises(RequestError, match=r"hf://me/my-run is no run: it has no run\.json"):
        load_run(ADDRESS)


def test_more_bytes_than_a_run_has_are_not_fetched(pushed: "Hub") -> None:
    pushed.sizes["weights.safetensors"] = 2**40
    with pytest.raises(RunError, match="bytes, which no run needs"):
        load_run(ADDRESS)


@pytest.mark.parametrize("address", ["hf://me/other", f"{ADDRESS}@v9"])
def test_nothing_at_an_address_is_one_line(pushed: "Hub", address: str) -> None:
    with pytest.raises(RequestError, match="there is nothing at hf://me/"):
        load_run(address)


@pytest.mark.parametrize(
    "address", ["hf://me", "hf://me/..", "hf://../x", "hf://me/a/b", "hf://me/a@", "hf://me/a@b/c"]
)
def test_a_wrong_address_is_refused_before_anything_is_asked(hub: "Hub", address: str) -> None:
    with pytest.raises(RequestError, match="expected hf://owner/name@revision"):
        load_run(address)
    assert hub.requests == []


def test_pushing_to_no_name_is_refused(hub: "Hub", vaezoo: Callable[..., Result]) -> None:
    result = vaezoo("push", NAME, "my-run")
    assert result.exit_code == 2
    assert hub.requests == []


def test_an_address_survives_being_a_path() -> None:
    assert str(read_address(Path(f"{ADDRESS}@v1"))) == f"{ADDRESS}@v1"
