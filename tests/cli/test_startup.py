"""What is asked for often answers at once: help, lists and shell completion load no torch."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = {"help": 0.1, "list": 0.15}  # of process time
SECONDS_OF_OTHERS = 0.25  # train reads its options from the settings: pydantic takes 0.1 s
HEAVY = ("torch", "pyro", "scipy", "sklearn", "pandas", "matplotlib", "arviz", "rich")

# Runs a command line and prints, as the last line, which modules it loaded and its process time.
REPORT = f"""
import atexit, resource, sys

def report():
    loaded = [name for name in {HEAVY!r} if name in sys.modules]
    usage = resource.getrusage(resource.RUSAGE_SELF)
    print("@", usage.ru_utime + usage.ru_stime, *loaded)

atexit.register(report)
from vaezoo.cli import main
main(sys.argv[1:])
"""


def started(*words: str, **environment: str) -> tuple[str, float, list[str]]:
    """Return what a command prints, its process time, and the heavy modules it loads."""
    result = subprocess.run(
        [sys.executable, "-c", REPORT, *words],
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
    limit, needed = SECONDS.get(name, SECONDS_OF_OTHERS), []
    while len(needed) < 3 and min(needed, default=limit) >= limit:  # a busy machine may be slow
        output, seconds, loaded = started(*words, **environment)
        assert says in output
        assert loaded == []
        needed.append(seconds)
    assert min(needed) < limit


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
