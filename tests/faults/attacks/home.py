"""What is attacked: small runs, a file of data, a pair in a file; made once, then copied."""

import json
import os
import shutil
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import load_file

__all__ = ["RESUME", "TRAIN", "copied", "differences", "hostile_pair", "made"]

SETTINGS = ("--set", "z_dim=2", "--device", "cpu")
TRAIN = ("train", "vae-linear", "--data", "x.npy", "--epochs", "3", *SETTINGS, "--out", "run")
RESUME = ("train", "--resume", "run")


def made(home: Path) -> Path:
    """Make all that attacks need below a folder, and load what commands use into this process."""
    from vaezoo import fit
    from vaezoo.cli import COMMANDS
    from vaezoo.data import from_arrays
    from vaezoo.plots.figures import plot_run
    from vaezoo.testing import scaffold

    for name in COMMANDS:  # once, not in every process
        import_module(f"vaezoo.cli.{name.replace('-', '_')}")
    home.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(60, 4)).astype(np.float32)
    np.save(home / "x.npy", x)
    np.save(home / "other.npy", x + 1)
    before = Path.cwd()
    os.chdir(home)
    try:
        run = fit("vae-linear", "x.npy", config={"z_dim": 2}, training=_training(), out="run")
        plot_run(run)
        other = {**_training(), "seed": 1}
        fit("vae-linear", "x.npy", config={"z_dim": 2}, training=other, out="other")
        scaffold.write(home / "mine.py")
        fit("mine.py", config={"z_dim": 2}, training={"epochs": 1}, out="mine")
        rows = np.arange(60)
        splits = {"train": rows[:40], "validation": rows[40:50], "test": rows[50:]}
        own = from_arrays(x, splits=splits, name=str(home / "x.npy"))
        fit("vae-linear", own, config={"z_dim": 2}, training={"epochs": 1}, out="own")
    finally:
        os.chdir(before)
    return home


def _training() -> dict[str, Any]:
    return {"epochs": 3, "device": "cpu"}


def copied(home: Path, place: Path, *names: str) -> Path:
    """Copy runs and files into a folder, in which a command is then called."""
    place.mkdir(parents=True, exist_ok=True)
    for name in names:
        if (home / name).is_dir():
            shutil.copytree(home / name, place / name, symlinks=True)
        else:
            shutil.copy2(home / name, place / name)
    return place


def differences(run: Path, whole: Path) -> str:
    """Return in what a run differs from the one that was never disturbed, or ""."""
    tensors = ("weights.safetensors", "last/state.safetensors")
    for name in (*tensors, "metrics.jsonl", "run.json"):
        if not (run / name).is_file():
            return f"no {name}"
    for name in tensors:
        one, other = load_file(run / name), load_file(whole / name)
        if one.keys() != other.keys():
            return f"{name} has other names"
        if changed := [key for key in one if not one[key].equal(other[key])]:
            return f"{name} differs in {changed[0]}"
    if _records(run) != _records(whole):
        return "metrics.jsonl differs"
    status = json.loads((run / "run.json").read_text())["status"]
    return "" if status == "finished" else f"status {status}"


def _records(run: Path) -> list[Mapping[str, Any]]:
    return [_record(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def _record(line: str) -> Mapping[str, Any]:
    try:
        return {**json.loads(line), "seconds": 0}
    except ValueError:  # cut short
        return {"line": line}


def hostile_pair(canary: Path) -> str:
    """Return the source of a pair that leaves a canary when it is executed."""
    return f"open({str(canary)!r}, 'w').close()\nfrom vaezoo.models.vae_linear import VAELinear\n"
