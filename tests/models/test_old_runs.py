"""Runs from before a likelihood owned its decoder, and a posterior its encoder, still load."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import torch
from torch import Tensor

from vaezoo import RequestError, Run, fit, load_run, resume
from vaezoo.runtime.tensors import load_tensors, save_tensors

# What ``vae-bernoulli`` with one hidden layer wrote into ``weights.safetensors``, by today's names.
FORMER = {
    "prior.loc": "prior.loc",
    "prior.scale": "prior.scale",
    "decoder.net.body.0.weight": "decoder.body.0.weight",
    "decoder.net.body.0.bias": "decoder.body.0.bias",
    "decoder.logits.0.weight": "likelihood.logits.0.weight",
    "decoder.logits.0.bias": "likelihood.logits.0.bias",
    "encoder.net.body.0.weight": "encoder.body.0.weight",
    "encoder.net.body.0.bias": "encoder.body.0.bias",
    "encoder.head.loc.weight": "posterior.head.loc.weight",
    "encoder.head.loc.bias": "posterior.head.loc.bias",
    "encoder.head.log_var.weight": "posterior.head.log_var.weight",
    "encoder.head.log_var.bias": "posterior.head.log_var.bias",
}
SMALL = {
    "vae-bernoulli": {"z_dim": 2, "hidden": [4]},
    "vae-gaussian": {"z_dim": 2, "hidden": [4, 3], "likelihood": {"sigma": "shared"}},
    "beta-vae": {"z_dim": 2, "hidden": [4], "decoder_hidden": [3, 4]},
}
PREFIXES = {
    "decoder.net.": "decoder.",
    "decoder.": "likelihood.",
    "encoder.net.": "encoder.",
    "encoder.": "posterior.",
}


OF_PRIOR = {"prior.net.": "prior_net.", "prior.": "prior_head."}
OF_DECODER = {"decoder.net.": "decoder.", "decoder.": "decoder_head."}
OF_SEQUENCES = {
    "vrnn": {**OF_PRIOR, **OF_DECODER, "posterior.net.": "encoder.", "posterior.": "encoder_head."},
    "srnn": {
        **OF_PRIOR,
        **OF_DECODER,
        "encoder.net.": "encoder.",
        "encoder.head.": "encoder_head.",
    },
    "storn": {**OF_DECODER, "prior.": "standard.", "encoder.head.": "encoder_head.head."},
    "dmm": {**OF_DECODER, "encoder.head.": "encoder_head.head."},
    "rnn": {"likelihood.net.": "decoder.", "likelihood.": "decoder_head."},
}


def former(name: str, prefixes: Mapping[str, str] = PREFIXES) -> str:
    """Return the name that a parameter, of a file of weights or of a state, had before."""
    group, slash, name = name.rpartition("/")
    new = next((new for new in prefixes if name.startswith(new)), "")
    return group + slash + prefixes.get(new, "") + name.removeprefix(new)


def age(folder: Path, prefixes: Mapping[str, str] = PREFIXES) -> None:
    """Write the names of parameters into a run folder as they were before."""
    for file in ("weights.safetensors", "last/state.safetensors"):
        tensors, values = load_tensors(folder / file)
        old = {former(name, prefixes): tensor for name, tensor in tensors.items()}
        save_tensors(folder / file, old, values, run=load_id(folder))


def load_id(folder: Path) -> str:
    return str(json.loads((folder / "run.json").read_text())["id"])


def weights_of(run: Run) -> Mapping[str, Tensor]:
    return run.pair.state_dict()


@pytest.fixture(scope="module", params=SMALL)
def folders(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A run of today, and the same as it was written before."""
    today, old = (tmp_path_factory.mktemp("runs") / name for name in ("today", "old"))
    training = {"epochs": 1, "batch_size": 600, "seed": 1}
    fit(request.param, config=SMALL[request.param], training=training, out=today)
    shutil.copytree(today, old)
    age(old)
    return [today, old]


def test_names_of_before() -> None:
    assert {name: former(name) for name in FORMER} == FORMER


def test_old_weights_are_loaded(folders: list[Path]) -> None:
    today, old = (weights_of(load_run(folder)) for folder in folders)
    assert load_tensors(folders[1] / "weights.safetensors")[0].keys() != old.keys()
    assert today.keys() == old.keys()
    assert all(torch.equal(today[name], old[name]) for name in today)


@pytest.mark.parametrize("model", OF_SEQUENCES)
def test_old_weights_of_sequences_are_loaded(model: str, tmp_path: Path) -> None:
    sizes = {"hidden": 4} if model == "rnn" else {"hidden": 4, "z_dim": 2}
    run = fit(model, config=sizes, training={"steps": 1}, out=tmp_path / "run")
    age(tmp_path / "run", OF_SEQUENCES[model])
    assert (
        load_tensors(tmp_path / "run" / "weights.safetensors")[0].keys() != weights_of(run).keys()
    )
    old = weights_of(load_run(tmp_path / "run"))
    assert all(torch.equal(old[name], value) for name, value in weights_of(run).items())


def test_an_old_run_is_resumed_to_the_same_numbers(folders: list[Path]) -> None:
    today, old = (resume(folder, epochs=2) for folder in folders)
    assert all(
        torch.equal(weights_of(today)[name], value) for name, value in weights_of(old).items()
    )
    assert [record["train"] for record in today.metrics] == [
        record["train"] for record in old.metrics
    ]


def test_weights_of_another_model_are_refused_by_the_names_in_the_file(folders: list[Path]) -> None:
    path = folders[1] / "weights.safetensors"
    tensors, values = load_tensors(path)
    tensors["likelihood.other"] = torch.zeros(1)
    save_tensors(path, tensors, values, run=load_id(folders[1]))
    with pytest.raises(RequestError, match="does not fit the model"):
        load_run(folders[1])
