"""The script for a GPU goes through all of its parts, small, where there is none."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "gpu.py"
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not SCRIPT.is_file(), reason="benchmarks/ is not here"),
]
PARTS = ("tiers", "devices", "resumed", "vrnn", "steps", "seeds", "posteriors", "epochs", "zoo")


def run_script(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SCRIPT), "--device", "cpu", "--smoke", *options]
    environment = {**os.environ, "PYTHONPATH": str(SCRIPT.parents[1])}
    return subprocess.run(command, capture_output=True, text=True, env=environment)


@pytest.mark.parametrize("part", PARTS)
def test_a_part_is_gone_through(part: str) -> None:
    result = run_script("--only", part, "--budget", "3600")
    assert result.returncode == 0, result.stdout + result.stderr
    assert f"**{part}**" in result.stdout


def test_what_there_is_no_time_for_is_a_failure() -> None:
    result = run_script("--only", "tiers", "--budget", "0")
    assert result.returncode == 1
    assert "FAILED:\ntiers: AssertionError: no time is left" in result.stderr
