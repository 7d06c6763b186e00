"""The runs of a folder, read from their files alone."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import vaezoo
from vaezoo import RequestError
from vaezoo.cli import main
from vaezoo.predict.comparison.listing import Filter, ListedRun, list_runs, ordered


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("listed")
    for name, z_dim in (("a", 2), ("b", 3)):
        config, training = {"z_dim": z_dim}, {"steps": 24}
        vaezoo.fit("vae-linear", config=config, training=training, out=folder / "deep" / name)
    vaezoo.fit("ae", config={"hidden": [8]}, training={"steps": 24}, out=folder / "c")
    vaezoo.evaluate(folder / "deep" / "a", iwae=(1, 5))
    (folder / "damaged").mkdir()
    (folder / "damaged" / "config.toml").write_text("model = 1 =")
    (folder / "damaged" / "run.json").write_text("{}")
    return folder


@pytest.fixture(scope="module")
def runs(folder: Path) -> list[ListedRun]:
    return list_runs(folder, notify=lambda line: None)


def test_runs_are_found_below_a_folder(runs: list[ListedRun]) -> None:
    assert [run.run for run in runs] == ["c", str(Path("deep/a")), str(Path("deep/b"))]


def test_what_cannot_be_read_is_told_and_left_out(folder: Path) -> None:
    lines: list[str] = []
    list_runs(folder, notify=lines.append)
    assert len(lines) == 1
    assert "damaged" in lines[0]


def test_numbers_are_those_of_the_run(folder: Path, runs: list[ListedRun]) -> None:
    run = vaezoo.load_run(folder / "deep" / "a")
    assert runs[1].elbo == max(record["validation"]["elbo"] for record in run.metrics)
    assert runs[1].iwae == run.evaluations[-1]["result"]["iwae"][-1]["value"]
    assert (runs[1].num_samples, runs[1].step, runs[1].status) == (5, 24, "finished")


def test_an_autoencoder_has_its_reconstruction(folder: Path, runs: list[ListedRun]) -> None:
    record = vaezoo.load_run(folder / "c").metrics[-1]["validation"]
    assert runs[0].elbo == pytest.approx(record["reconstruction"], abs=50)


@pytest.mark.parametrize(
    ("condition", "kept"),
    [
        ("model=ae", ["c"]),
        ("z_dim>=3", ["b", "c"]),
        ("z_dim < 3", ["a"]),
        ("model!=ae", ["a", "b"]),
        ("likelihood.name=gaussian", ["c"]),
        ("iwae>-1e9", ["a"]),
    ],
)
def test_conditions_choose(runs: list[ListedRun], condition: str, kept: list[str]) -> None:
    chosen = [Path(run.run).name for run in runs if Filter.read(condition).holds(run)]
    assert sorted(chosen) == kept


@pytest.mark.parametrize("text", ["model", "=3", "", "a b = c"])
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="is no condition"):
        Filter.read(text)


def test_the_largest_number_is_first_and_none_is_last(runs: list[ListedRun]) -> None:
    assert [Path(run.run).name for run in ordered(runs, "z_dim")] == ["c", "b", "a"]
    assert Path(ordered(runs, "iwae")[0].run).name == "a"


def test_a_column_that_none_has_is_refused_with_the_nearest(runs: list[ListedRun]) -> None:
    with pytest.raises(RequestError, match="did you mean 'z_dim'"):
        ordered(runs, "z_dims")


def test_the_command_prints_tables_of_three_kinds(folder: Path) -> None:
    def ask(*words: str) -> str:
        return CliRunner().invoke(main, ["runs", str(folder), *words]).stdout

    assert "z_dim=3" in ask()
    assert [run["model"] for run in json.loads(ask("--json"))] == ["ae", "vae-linear", "vae-linear"]
    rows = list(csv.DictReader(ask("--csv", "--where", "z_dim=2").splitlines()))
    assert [row["z_dim"] for row in rows] == ["2"]


def test_listing_loads_no_torch(folder: Path) -> None:
    code = (
        "import sys; from vaezoo.predict.comparison.listing import list_runs; "
        f"list_runs({str(folder)!r}); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
