"""``vaezoo train --seeds``."""

import json
from pathlib import Path

from click.testing import CliRunner

from vaezoo.cli import main


def test_a_folder_for_each_seed_and_what_they_have_come_to(tmp_path: Path) -> None:
    words = f"train vae-linear --steps 3 --seeds 2 --seed 5 --out {tmp_path / 'out'}"
    result = CliRunner().invoke(main, words.split())
    assert result.exit_code == 0, result.output
    assert "2 seeds: validation ELBO of the best epochs" in result.stdout
    assert (tmp_path / "out/seed-6/figures/curves.png").is_file()


def test_json_has_every_seed(tmp_path: Path) -> None:
    words = f"train vae-linear --steps 3 --seeds 2 --json --out {tmp_path / 'out'}"
    result = CliRunner().invoke(main, words.split())
    assert json.loads(result.stdout)["seeds"] == [0, 1]


def test_no_seeds_are_refused(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["train", "vae-linear", "--seeds", "0"])
    assert result.exit_code == 2
    assert "--seeds takes how many there are" in result.stderr
