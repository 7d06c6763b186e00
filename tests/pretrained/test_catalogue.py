"""Runs that come with the package: they are what they were, and their scores come out again."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import vaezoo
from vaezoo import RequestError, RunError
from vaezoo.data.sets.download import locate
from vaezoo.data.sets.sources import get_source
from vaezoo.pretrained import Pretrained, catalogue, find_run, get_pretrained, list_pretrained
from vaezoo.runs import load_run

ALL = list_pretrained()
NAMES = [run.name for run in ALL]
# Those whose data are ready at once: the pictures of dSprites are 3 GB, which are unpacked first.
SCORED = [
    pytest.param(run, id=run.name, marks=[pytest.mark.slow] if run.data == "dsprites" else [])
    for run in ALL
]
QUICK = {"iwae": (10,), "limit": 10}
DATA = os.environ.get("VAEZOO_DATA")  # which no test sees
# Sums of another processor, or another version of torch, are added in another order: what differs
# is the last bits of single precision, not draws, which come from the seed.
TOLERANCE = 0.01


def score(pretrained: Pretrained, **asked: Any) -> float:
    """Evaluate a run again, if the files of its data are on this disk."""
    remotes = get_source(pretrained.data).remotes
    if not all(locate(remote, data_dir=DATA) for remote in remotes):
        pytest.skip(f"{pretrained.data} is not on this disk")
    run = load_run(pretrained.name, device="cpu")
    result = vaezoo.evaluate(run, **{**pretrained.asked, **asked}, data_dir=DATA)
    return result.iwae[0].value if pretrained.num_samples else result.metrics.recon


@pytest.mark.parametrize("pretrained", SCORED)
def test_a_score_of_a_few_rows_comes_out_again(
    pretrained: Pretrained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    value = score(pretrained, **QUICK)
    assert value == pytest.approx(pretrained.quick, abs=TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize("pretrained", ALL, ids=NAMES)
def test_the_score_of_all_rows_comes_out_again(
    pretrained: Pretrained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    value = score(pretrained)
    assert value == pytest.approx(pretrained.value, abs=TOLERANCE)


@pytest.mark.parametrize("pretrained", ALL, ids=NAMES)
def test_files_are_those_of_the_manifest(pretrained: Pretrained) -> None:
    folder = pretrained.require_files()
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.relative_to(folder).as_posix() for path in files} == set(pretrained.files)
    assert sum(path.stat().st_size for path in files) == pretrained.size


@pytest.mark.parametrize("pretrained", ALL, ids=NAMES)
def test_the_licence_stands_beside_the_weights(pretrained: Pretrained) -> None:
    text = (pretrained.folder / "LICENSE").read_text(encoding="utf-8")
    assert pretrained.licence == get_source(pretrained.data).licence
    assert pretrained.licence in text
    assert pretrained.command in text


def test_every_folder_is_in_the_manifest() -> None:
    assert sorted(path.name for path in catalogue.RUNS.iterdir()) == NAMES


def test_all_of_them_fit_into_the_wheel() -> None:
    assert sum(run.size for run in ALL) <= 10e6


def test_a_changed_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(catalogue.RUNS / NAMES[0], tmp_path / NAMES[0])
    with (tmp_path / NAMES[0] / "config.toml").open("a") as file:
        file.write("\n")
    monkeypatch.setattr(catalogue, "RUNS", tmp_path)
    with pytest.raises(RunError, match=r"config\.toml has changed; install vaezoo again"):
        find_run(NAMES[0])


def test_names_are_listed_without_torch() -> None:
    code = "import sys; from vaezoo.cli import main; main(['list', '--pretrained', '--json'])"
    code = f"import atexit, sys; atexit.register(lambda: print('torch' in sys.modules)); {code}"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    text, _, torch_is_there = result.stdout.rstrip().rpartition("\n")
    assert [run["name"] for run in json.loads(text)] == NAMES
    assert torch_is_there == "False"


def test_a_pattern_chooses() -> None:
    assert {run.data for run in list_pretrained("*.digits")} == {"digits"}


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(RequestError, match=r"did you mean 'vae-bernoulli\.digits'"):
        get_pretrained("vae-bernouli.digits")
