"""``vaezoo analyse``."""

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result


def test_command(vaezoo: Callable[..., Result], run_folder: Path) -> None:
    result = vaezoo("analyse", run_folder, "-n", 10)
    assert result.exit_code == 0
    assert "10 rows at level standard: about" in result.stderr
    assert (run_folder / "analysis" / "report.html").exists()


def test_command_prints_json(vaezoo: Callable[..., Result], run_folder: Path) -> None:
    result = vaezoo("analyse", run_folder, "-n", 10, "--level", "quick", "--json")
    assert json.loads(result.stdout)["plan"]["num_data"] == 10


def test_command_fails_on_request(vaezoo: Callable[..., Result], run_folder: Path) -> None:
    words = ("analyse", run_folder, "-n", 10)
    quality = json.loads(vaezoo(*words, "--json").stdout)["quality"]
    code = vaezoo(*words, "--fail-on", "fair").exit_code
    assert code == (0 if quality == "good" else 3)


def test_command_refuses_a_short_budget(vaezoo: Callable[..., Result], run_folder: Path) -> None:
    result = vaezoo("analyse", run_folder, "--budget", "0.0001")
    assert result.exit_code == 2
    assert "raise it, or use --level quick" in result.stderr
