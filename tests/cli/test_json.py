"""``--json`` prints one JSON value on standard output, and nothing else."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result

Vaezoo = Callable[..., Result]


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} is no JSON")


def parsed(result: Result) -> Any:
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout, parse_constant=refuse)


COMMANDS = [
    "list",
    "list vae-*",
    "show vae-gaussian",
    "show vae-linear",
    "data list",
    "data show digits",
    "data explain-likelihood digits",
    "data show digits-rows",
    "data fetch digits",
    "check vae-linear",
    "probe run -n 100",
    "evaluate run --iwae 1,3",
    "evaluate run --iwae 2 -n 1",
    "train vae-linear --steps 2",
    "train vae-linear --epochs 1 --beta 0",
    "train --resume run --epochs 3",
]


@pytest.mark.parametrize("command", COMMANDS)
def test_output_is_json(vaezoo: Vaezoo, run_folder: Path, command: str) -> None:
    result = vaezoo(*command.split(), "--json")
    assert parsed(result)
    assert result.stderr == ""


def test_training(vaezoo: Vaezoo, tmp_path: Path) -> None:
    training = parsed(vaezoo("train", "vae-linear", "--epochs", "1", "--out", "run", "--json"))
    assert (training["run"], training["best"]["epoch"], training["steps"]) == ("run", 1, 12)
    assert {"elbo", "recon", "kl", "kl_per_latent"} <= set(training["best"]["validation"])
    assert (tmp_path / training["run"] / "weights.safetensors").is_file()


def test_evaluation(vaezoo: Vaezoo, run_folder: Path) -> None:
    evaluation = parsed(vaezoo("evaluate", "run", "--iwae", "1,10", "--json"))
    metrics = evaluation["metrics"]
    assert (evaluation["split"], evaluation["num_rows"]) == ("test", 180)
    assert metrics["elbo"] == pytest.approx(metrics["recon"] - metrics["kl"])
    assert metrics["kl"] == pytest.approx(sum(metrics["kl_per_latent"]["z"]))
    first, last = evaluation["iwae"]
    assert (first["num_samples"], last["num_samples"]) == (1, 10)
    assert last["value"] > first["value"] - 3 * first["standard_error"]


def test_models(vaezoo: Vaezoo) -> None:
    entries = {entry["name"]: entry for entry in parsed(vaezoo("list", "--json"))}
    assert entries["vae-bernoulli"]["data"] == "images"
    assert entries["vae-bernoulli"]["summary"]


def test_models_by_tag(vaezoo: Vaezoo) -> None:
    baselines = parsed(vaezoo("list", "--tag", "baseline", "--json"))
    assert {(entry["name"], entry["family"]) for entry in baselines} >= {("rnn", "baselines")}
    assert all("baseline" in entry["tags"] for entry in baselines)


@pytest.mark.parametrize(("model", "answer"), [("vrnn", "yes"), ("vae-linear", "no")])
def test_a_model_says_which_commands_it_answers(vaezoo: Vaezoo, model: str, answer: str) -> None:
    commands = parsed(vaezoo("show", model, "--json"))["commands"]
    assert {line.partition(":")[0] for line in commands.values()} == {answer}


def test_settings_are_those_that_train_takes(vaezoo: Vaezoo) -> None:
    settings = parsed(vaezoo("show", "vae-gaussian", "--json"))["settings"]
    assert settings["z_dim"]["default"] == 10
    assert settings["likelihood.sigma"]["default"] == "per-pixel"
    words = [f"--set={name}={json.dumps(value['default'])}" for name, value in settings.items()]
    assert parsed(vaezoo("train", "vae-gaussian", *words, "--steps", "1", "--json"))


@pytest.mark.filterwarnings("error")
def test_text_and_json_agree(vaezoo: Vaezoo, run_folder: Path) -> None:
    evaluation = parsed(vaezoo("evaluate", "run", "--iwae", "2", "--json"))
    text = vaezoo("evaluate", "run", "--iwae", "2").stdout
    assert f"{evaluation['metrics']['elbo']:.3f}" in text
    assert f"{evaluation['iwae'][0]['value']:.3f}" in text


def test_progress_is_not_on_standard_output(vaezoo: Vaezoo, tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(50, 3)))
    result = vaezoo("train", "vae-linear", "--data", "x.npy", "--epochs", "2")
    assert result.exit_code == 0
    assert "epoch" in result.stderr
    assert "ELBO train" not in result.stdout
