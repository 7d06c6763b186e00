"""``vaezoo encode`` to draws: which groups, how large, as netCDF or zarr, and what it refuses."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result

from vaezoo.runs import load_run
from vaezoo.training.fit import fit
from vaezoo.trees.files import open_tree
from vaezoo.trees.groups import DEFAULT_GROUPS, GROUPS
from vaezoo.trees.posterior import draw_posterior

Vaezoo = Callable[..., Result]


def done(result: Result) -> str:
    assert result.exit_code == 0, result.stderr
    assert result.stderr == ""
    return result.stdout


@pytest.fixture(params=[".nc", ".zarr"])
def out(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    if request.param == ".zarr":
        pytest.importorskip("zarr")
    return tmp_path / f"z{request.param}"


def test_file_holds_what_python_draws(vaezoo: Vaezoo, run_folder: Path, out: Path) -> None:
    text = done(vaezoo("encode", "run", "-n", "6", "--num-samples", "40", "--seed", "3", "-o", out))
    assert text == f"40 draws for each of 6 rows -> {out}\n"
    tree = draw_posterior(load_run(run_folder), limit=6, num_samples=40, seed=3)
    with open_tree(out) as stored:
        assert stored.load().identical(tree)


@pytest.mark.parametrize(
    ("words", "groups"),
    [
        ([], DEFAULT_GROUPS),
        (["--groups", "all"], GROUPS),
        (["--groups", "prior, posterior"], ("posterior", "prior")),
    ],
)
def test_groups(
    vaezoo: Vaezoo, run_folder: Path, out: Path, words: list[str], groups: tuple[str, ...]
) -> None:
    done(vaezoo("encode", "run", "-n", "2", "--num-samples", "8", *words, "-o", out))
    with open_tree(out) as stored:
        assert set(stored.children) == set(groups)


def test_first_hundred_rows_are_the_default(vaezoo: Vaezoo, run_folder: Path) -> None:
    assert "each of 100 rows" in done(vaezoo("encode", "run", "--num-samples", "4", "-o", "z.nc"))


def test_sequences(vaezoo: Vaezoo, tmp_path: Path, out: Path) -> None:
    fit("vrnn", config={"z_dim": 2, "hidden": 4}, training={"steps": 1}, out=tmp_path / "rows")
    done(vaezoo("encode", "rows", "-n", "3", "--num-samples", "8", "--groups", "all", "-o", out))
    with open_tree(out) as stored:
        assert stored["posterior"]["z"].shape == (4, 2, 3, 8, 2)
        assert bool(stored["constant_data"]["mask"].all())


def test_refused_draws_leave_the_old_file(vaezoo: Vaezoo, run_folder: Path, tmp_path: Path) -> None:
    done(vaezoo("encode", "run", "-n", "2", "--num-samples", "4", "-o", "z.nc"))
    before = (tmp_path / "z.nc").read_bytes()
    assert vaezoo("encode", "run", "--max-gib", "1e-6", "-o", "z.nc").exit_code == 2
    assert (tmp_path / "z.nc").read_bytes() == before


def test_cap_can_be_raised(vaezoo: Vaezoo, run_folder: Path) -> None:
    """400,000 draws of two latents are 3.2 MB, or 0.003 GiB."""
    words = ("-n", "1", "--num-samples", "400000", "--groups", "posterior", "-o", "z.nc")
    assert vaezoo("encode", "run", *words, "--max-gib", "0.002").exit_code == 2
    done(vaezoo("encode", "run", *words, "--max-gib", "0.01"))


def test_zarr_folder_is_replaced(vaezoo: Vaezoo, run_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    for rows in ("5", "3"):
        done(vaezoo("encode", "run", "-n", rows, "--num-samples", "8", "-o", "z.zarr"))
    with open_tree(tmp_path / "z.zarr") as stored:
        np.testing.assert_array_equal(stored["posterior"]["datum"], np.arange(3))


REFUSED = [
    ("--groups posteriors -o z.nc", "no group 'posteriors'; did you mean 'posterior'"),
    ("--groups prior -o z.npz", "'z.npz' has no groups; drop --groups, or write a .nc or .zarr"),
    ("--max-gib 1e-6 -o z.nc", r"100 rows are .* GiB, more than 1e-06; .* raise --max-gib"),
    ("--max-gib 0 -o z.nc", "'--max-gib': 0.* is not in the range"),
    ("--num-samples 6 -o z.nc", "multiple of 4"),
    ("-o run.zarr", "run.zarr: it is there, and no zarr folder|zarr 3, which is not installed"),
    ("-o folder.nc", "cannot write folder.nc: it is a folder"),
]


@pytest.mark.parametrize(("words", "says"), REFUSED)
def test_refusals_are_one_line(
    vaezoo: Vaezoo, run_folder: Path, tmp_path: Path, words: str, says: str
) -> None:
    shutil.copytree(run_folder, tmp_path / "run.zarr")
    (tmp_path / "folder.nc").mkdir()
    before = sorted(tmp_path.rglob("*"))
    result = vaezoo("encode", "run", *words.split())
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert re.search(says, result.stderr), result.stderr
    assert sorted(tmp_path.rglob("*")) == before
