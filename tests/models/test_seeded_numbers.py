"""Three steps of every model from one seed give the numbers that they always gave.

What a change must leave alone to the last bit, on one machine, is what ``benchmarks/unchanged.py``
compares; this holds the part of it that all machines share up to rounding.
"""

import pytest

from vaezoo import fit
from vaezoo.registry import entries

SMALL_BETA_VAE = {"hidden": [64, 32], "decoder_hidden": [32, 48, 64]}
VALIDATION_ELBO = {  # nats per datum or frame, before the library was moved into rooms
    "beta-vae": -43.65677163,
    "dmm": -12.29185901,
    "lgssm": -10.08976444,
    "rnn": -5.61509898,
    "srnn": -5.86704854,
    "storn": -5.57790222,
    "vae-bernoulli": -42.59171559,
    "vae-gaussian": -64.24689801,
    "vae-linear": -74.22221917,
    "vrnn": -5.59731805,
}


def test_every_model_has_its_number() -> None:
    zoo = [entry.name for entry in entries() if entry.target.startswith("vaezoo.models.")]
    assert sorted(VALIDATION_ELBO) == zoo


@pytest.mark.parametrize("engine", ["eager", "graph"])
@pytest.mark.parametrize("model", VALIDATION_ELBO)
def test_three_steps(model: str, engine: str) -> None:
    config = SMALL_BETA_VAE if model == "beta-vae" else {}
    training = {"steps": 3, "batch_size": 48, "seed": 1, "engine": engine, "device": "cpu"}
    run = fit(model, config=config, training=training)
    elbo = run.metrics[-1]["validation"]["elbo"]
    assert elbo == pytest.approx(VALIDATION_ELBO[model], rel=1e-5)
