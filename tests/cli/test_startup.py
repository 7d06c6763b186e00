"""What is asked for often answers at once, and no command waits for what it does not use.

Help, lists and shell completion load no torch; Inductor and Dynamo come in where something is
captured or compiled, pandas where data are tables, and scikit-learn never.
"""

import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import vaezoo

# Process times, as multiples of that of an interpreter that imports what no command does without:
# a busy machine makes both slow. `train` reads its options from the settings, by pydantic.
MULTIPLES = {"help": 1.5, "list": 2.2}
MULTIPLE_OF_OTHERS = 4.0
BARE = "import click, difflib, importlib.metadata, json, pathlib, shlex"
HEAVY = ("torch", "pyro", "scipy", "sklearn", "pandas", "matplotlib", "arviz", "rich")

# Runs a command line and prints, as the last line, which modules it loaded and its process time.
REPORTED = f"""
import atexit, resource, sys

def report():
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print("@", usage.ru_utime + usage.ru_stime, *loaded)

atexit.register(report)
"""
COMMAND = "from vaezoo.cli import main; main(sys.argv[1:])"


def started(*words: str, code: str = COMMAND, **environment: str) -> tuple[str, float, list[str]]:
    """Return what a command prints, its process time, and the heavy modules it loads."""
    result = subprocess.run(
        [sys.executable, "-c", REPORTED + code, *words],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )
    assert result.stderr == ""
    output, _, report = result.stdout.rpartition("@ ")
    seconds, *loaded = report.split()
    return output, float(seconds), loaded


def completed(*words: str) -> dict[str, str]:
    """The environment in which bash asks what the last word may become."""
    return {
        "_VAEZOO_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("vaezoo", *words)),
        "COMP_CWORD": str(len(words)),
    }


QUICK: dict[str, tuple[list[str], dict[str, str], str]] = {
    "help": (["--help"], {}, "evaluate"),
    "version": (["--version"], {}, "vaezoo"),
    "list": (["list"], {}, "vae-bernoulli"),
    "list as JSON": (["list", "--json"], {}, "vae-bernoulli"),
    "help of train": (["train", "--help"], {}, "--epochs"),
    "help of evaluate": (["evaluate", "--help"], {}, "--iwae"),
    "help of encode": (["encode", "--help"], {}, "--num-samples"),
    "completion of a command": ([], completed("ev"), "evaluate"),
    "completion of all commands": ([], completed(""), "train"),
    "completion of a flag": ([], completed("train", "--epo"), "--epochs"),
    "completion of a model": ([], completed("train", "vae-g"), "vae-gaussian"),
    "completion of a model to show": ([], completed("show", "vae-g"), "vae-gaussian"),
    "completion of data": ([], completed("train", "vae-linear", "--data", "dig"), "digits-rows"),
}


@pytest.mark.parametrize("name", QUICK)
def test_quick_answers(name: str) -> None:
    words, environment, says = QUICK[name]
    limit, bare, needed = MULTIPLES.get(name, MULTIPLE_OF_OTHERS), [], []
    for _ in range(6):
        bare.append(started(code=BARE)[1])
        output, seconds, loaded = started(*words, **environment)
        assert says in output
        assert loaded == []
        needed.append(seconds)
        if min(needed) < limit * min(bare):
            return
    pytest.fail(f"{min(needed):.2f} s, and {min(bare):.2f} s of a bare interpreter")


SLOW_TO_IMPORT = ("torch._inductor", "torch._dynamo", "sklearn", "pandas", "xarray")
OF_ARVIZ = ["pandas", "xarray"]
ON_A_RUN: dict[str, list[str]] = {
    "analyse": ["analyse", "RUN", "-n", "3", "--level", "quick", "--out", "analysis"],
    "show": ["show", "vrnn"],
    "sample": ["sample", "RUN", "--out", "samples.npz"],
    "encode": ["encode", "RUN", "--out", "codes.npz"],
    "evaluate": ["evaluate", "RUN", "--iwae", "2", "--limit", "20"],
    "train": ["train", "vae-bernoulli", "--out", "again", "--epochs", "1"],
}


@pytest.fixture(scope="module")
def short_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("startup") / "run"
    vaezoo.fit("vae-bernoulli", training={"steps": 1}, out=path)
    return path


@pytest.mark.parametrize("name", ON_A_RUN)
def test_commands_import_only_what_they_use(name: str, short_run: Path, tmp_path: Path) -> None:
    words = [str(short_run) if word == "RUN" else word for word in ON_A_RUN[name]]
    code = (
        "import sys; from vaezoo.cli import main; main(sys.argv[1:], standalone_mode=False); "
        f"print('@', *[name for name in {SLOW_TO_IMPORT!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, *words],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
    )
    needed = OF_ARVIZ if name == "analyse" else []
    assert result.stdout.splitlines()[-1].split() == ["@", *needed]


# Rooms and files that a training of a plain VAE on arrays in memory has no use for.
OF_OTHER_TRAININGS = (
    "pooch",
    *("torch._dynamo", "torch._inductor"),
    *("vaezoo.data.files.reader", "vaezoo.data.files.tables", "vaezoo.data.files.pictures"),
    *("vaezoo.data.stores.arrow", "vaezoo.data.stores.chunks"),
    *("vaezoo.distributed.launcher", "vaezoo.sweeps", "vaezoo.pretrained.places"),
    *("vaezoo.engine.recurrence.step_plan", "vaezoo.engine.recurrence.sweep"),
    *("vaezoo.objectives.aggregate", "vaezoo.objectives.bounds", "vaezoo.objectives.penalties"),
    *("vaezoo.parts.likelihoods.columns", "vaezoo.parts.likelihoods.counts"),
    "vaezoo.parts.likelihoods.mixtures",
    *("vaezoo.inference", "vaezoo.predict", "vaezoo.diagnostics", "vaezoo.plots", "vaezoo.testing"),
    *("vaezoo.training.many.fitting", "vaezoo.engine.many.batched"),
)


def test_plain_training_imports_only_what_it_uses() -> None:
    code = (
        "import sys, numpy as np, vaezoo; x = np.eye(40, 6, dtype=np.float32); "
        "vaezoo.fit('vae-bernoulli', x, training={'steps': 2}); "
        f"print([name for name in {OF_OTHER_TRAININGS!r} if name in sys.modules])"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"
    assert all(find_spec(name) for name in OF_OTHER_TRAININGS)


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = f"import sys, vaezoo, vaezoo.registry; print([m for m in {HEAVY!r} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]\n"


@pytest.fixture
def program() -> str:
    program = shutil.which("vaezoo", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("vaezoo is not installed as a program")
    return program


def test_program_is_installed(program: str) -> None:
    result = subprocess.run([program, "list"], capture_output=True, text=True, check=True)
    assert "vae-bernoulli" in result.stdout


def test_package_runs_as_a_module() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "vaezoo", "list", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert result.stdout.startswith("Usage: vaezoo list")


def test_closed_pipe_is_silent(program: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    result = subprocess.run(
        [program, "list"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert result.stderr == ""
