"""What a run folder from a stranger is aimed at stays as it is: every name may be a link."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from vaezoo import RequestError, RunError, fit, load_run, resume
from vaezoo.plots.figures import plot_run
from vaezoo.testing import scaffold

Vaezoo = Callable[..., Result]

# Files that training writes into a run folder.
FILES = [
    *("config.toml", "run.json", "weights.safetensors", "metrics.jsonl", "model.py"),
    *("last/state.safetensors", "figures/samples.png", "figures/curves.png"),
]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    scaffold.write(folder / "mine.py")
    plot_run(fit(str(folder / "mine.py"), "digits", training={"steps": 2}, out=folder / "run"))
    return folder / "run"


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(trained, tmp_path / "run"))


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    path = tmp_path / "victim"
    path.write_bytes(b"precious")
    return path


def test_a_run_has_these_files(trained: Path) -> None:
    assert [name for name in FILES if not (trained / name).is_file()] == []


@pytest.mark.parametrize("name", FILES)
def test_names_that_could_be_guessed_are_written_to_by_nobody(
    name: str, run: Path, victim: Path
) -> None:
    path = run / name
    for guess in (f".{path.name}.part", f"{path.name}.part", f"{path.name}.tmp", f".{path.name}"):
        (path.parent / guess).symlink_to(victim)
    plot_run(resume(run, epochs=1))
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("name", FILES)
def test_a_link_in_the_place_of_a_file_is_not_written_through(
    name: str, run: Path, tmp_path: Path
) -> None:
    victim = tmp_path / "victim"
    (run / name).rename(victim)
    before = victim.read_bytes()
    (run / name).symlink_to(victim)
    plot_run(resume(run, epochs=1))
    assert victim.read_bytes() == before
    assert not (run / name).is_symlink()


@pytest.mark.parametrize("name", ["last", "figures"])
def test_a_folder_that_is_a_link_is_refused(name: str, run: Path, tmp_path: Path) -> None:
    (run / name).rename(tmp_path / "elsewhere")
    (run / name).symlink_to(tmp_path / "elsewhere")
    before = {path: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()}
    with pytest.raises(RunError, match=f"{name} is a link"):
        plot_run(resume(run, epochs=1))
    assert before == {path: path.read_bytes() for path in (tmp_path / "elsewhere").iterdir()}


@pytest.mark.parametrize("name", ["x.png", "x.npz"])
def test_what_a_user_names_is_not_written_through_a_link(
    vaezoo: Vaezoo, name: str, run: Path, victim: Path
) -> None:
    shared = victim.parent / "shared"
    shared.mkdir()
    for guess in (name, f".{name}.part"):
        (shared / guess).symlink_to(victim)
    model = str(run / "model.py")
    assert vaezoo("sample", run, "--model", model, "-n", "2", "-o", shared / name).exit_code == 0
    assert victim.read_bytes() == b"precious"
    assert (shared / name).read_bytes() != b"precious"


@pytest.mark.parametrize("ending", [".nc", ".npz", ".csv"])
def test_codes_are_not_written_through_a_link(
    vaezoo: Vaezoo, ending: str, run: Path, victim: Path
) -> None:
    path = victim.parent / f"z{ending}"
    path.symlink_to(victim)
    model = str(run / "model.py")
    result = vaezoo("encode", run, "--model", model, "--limit", "4", "-o", path)
    assert result.exit_code == 0, result.output
    assert victim.read_bytes() == b"precious"


def test_new_writes_through_no_link(vaezoo: Vaezoo, victim: Path) -> None:
    (victim.parent / "my_vae.py").symlink_to(victim)
    assert vaezoo("new", victim.parent / "my_vae.py").exit_code == 2
    assert vaezoo("new", victim.parent / "my_vae.py", "--force").exit_code == 0
    assert victim.read_bytes() == b"precious"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="FIFOs are of POSIX")
@pytest.mark.parametrize("name", FILES[:6])
def test_a_fifo_in_the_place_of_a_file_hangs_nobody(name: str, run: Path) -> None:
    (run / name).unlink()
    os.mkfifo(run / name)
    with pytest.raises((RequestError, RunError), match=re.escape(Path(name).name)):
        resume(run, epochs=1)


def test_a_picture_says_nothing_of_a_link(run: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.zeros(3))
    (run / "figures" / "other.png").symlink_to(tmp_path / "x.npy")
    resume(run, epochs=1)
    assert (tmp_path / "x.npy").is_file()
    assert load_run(run).info["status"] == "finished"
