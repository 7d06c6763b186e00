"""A study is trained once, goes on where it stopped, and is shared by processes."""

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from vaezoo import RequestError
from vaezoo.data import Data, as_data
from vaezoo.study import Claim, Result, Scale, Study, Trained, Variant, read_result, run_study
from vaezoo.study.measures.density import bounds

CALLS: list[str] = []


def toy() -> Data:
    return as_data(np.random.default_rng(0).normal(size=(60, 3)).astype(np.float32))


def counted(trained: Trained) -> dict[str, float]:
    CALLS.append(trained.variant.name)
    if CALLS.count("stops here") and trained.variant.name == "second":
        raise KeyboardInterrupt
    return {"z_dim": float(trained.run.config["z_dim"])}


STUDY = Study(
    name="toy",
    rows=("0-1",),
    variants=[
        Variant("first", "vae-linear", {"z_dim": 1}),
        Variant("second", "vae-linear", {"z_dim": 2}),
    ],
    data={"toy": toy},
    measures=[counted, bounds(2)],
    claims=[Claim("Two are more than one", "z_dim", "second", "first", by=0.5)],
    scales={"smoke": Scale(2, 0.1, {"steps": 4}, limit=10)},
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("studies") / "toy"
    run_study(STUDY, scale="smoke", out=folder)
    return folder


def without_date(result: Result) -> dict[str, object]:
    return {name: value for name, value in result.to_dict().items() if name != "made"}


def test_result_is_read_as_it_was_written(folder: Path) -> None:
    result = read_result(folder)
    assert without_date(result) == without_date(run_study(STUDY, scale="smoke", out=folder))
    assert [o.state for o in result.outcomes] == ["holds"]


def test_what_is_measured_is_not_measured_again(folder: Path) -> None:
    CALLS.clear()
    run_study(STUDY, scale="smoke", out=folder)
    assert CALLS == []


def test_more_seeds_are_added(folder: Path) -> None:
    CALLS.clear()
    result = run_study(STUDY, scale="smoke", seeds=3, out=folder)
    assert CALLS == ["first", "second"]
    assert {row.seeds for row in result.rows} == {3}


def test_interrupted_study_goes_on_to_the_same_table(folder: Path, tmp_path: Path) -> None:
    CALLS.append("stops here")
    with pytest.raises(KeyboardInterrupt):
        run_study(STUDY, scale="smoke", seeds=3, out=tmp_path / "toy")
    CALLS.clear()
    result = run_study(STUDY, scale="smoke", seeds=3, out=tmp_path / "toy")
    assert CALLS == ["second"] * 3
    whole = run_study(STUDY, scale="smoke", seeds=3, out=folder)
    assert without_date(result) == without_date(whole)


def test_folder_of_another_study_is_refused(folder: Path) -> None:
    with pytest.raises(RequestError, match="holds toy at scale smoke"):
        run_study("linear", scale="smoke", out=folder)


def test_folder_with_other_things_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(RequestError, match="is not empty, and holds no study"):
        run_study(STUDY, scale="smoke", out=tmp_path)


@pytest.mark.parametrize("name", ["study.json", "cell.json", "failed.json", "measured-0.npz"])
def test_a_damaged_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    copy = Path(shutil.copytree(folder, tmp_path / "toy"))
    place = copy if name == "study.json" else copy / "runs" / "toy" / "first"
    (place / "measured-1.npz").unlink(missing_ok=True)  # so that the cell is gone on with
    (place / name).write_text("{")
    with pytest.raises(RequestError, match=f"{name} cannot be read"):
        run_study(STUDY, scale="smoke", out=copy)


def test_unknown_scale_is_named() -> None:
    with pytest.raises(RequestError, match="has no scale 'quik'; "):
        run_study(STUDY, scale="quik")


def test_claims_about_unknown_variants_are_refused() -> None:
    with pytest.raises(RequestError, match="has no 'secnd'; did you mean 'second'"):
        Study(
            **{**vars(STUDY), "claims": [Claim("", "z_dim", "secnd", "first")]}  # type: ignore[arg-type]
        )


def test_page_needs_no_other_file(folder: Path) -> None:
    page = (folder / "page.html").read_text(encoding="utf-8")
    assert "Two are more than one" in page
    assert 'src="data:image/png;base64,' in page
    assert "http" not in page.replace("http-equiv", "")


def test_table_is_written_as_values(folder: Path) -> None:
    lines = (folder / "result.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "data,variant,measure,unit,seeds,value,error,difference,low,high"
    assert lines[1].startswith("toy,first,z_dim,,")


RUN = "import sys, vaezoo; vaezoo.run_study('linear', scale='smoke', out=sys.argv[1])"


def start(folder: Path) -> "subprocess.Popen[bytes]":
    return subprocess.Popen([sys.executable, "-c", RUN, str(folder)])


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs a signal that cannot be caught")
def test_killed_study_goes_on_to_the_same_table(tmp_path: Path) -> None:
    process = start(tmp_path / "killed")
    while process.poll() is None and not [*tmp_path.glob("killed/runs/*/*/seed-*")]:
        time.sleep(0.05)
    process.kill()
    process.wait()
    killed = run_study("linear", scale="smoke", out=tmp_path / "killed")
    whole = run_study("linear", scale="smoke", out=tmp_path / "whole")
    assert without_date(killed) == without_date(whole)


@pytest.mark.slow
def test_two_processes_share_the_work(tmp_path: Path) -> None:
    processes = [start(tmp_path / "both") for _ in range(2)]
    assert [process.wait(timeout=250) for process in processes] == [0, 0]
    whole = run_study("linear", scale="smoke", out=tmp_path / "whole")
    assert without_date(read_result(tmp_path / "both")) == without_date(whole)
    assert json.loads((tmp_path / "both" / "study.json").read_text()) == {
        "study": "linear",
        "scale": "smoke",
    }
