"""Three steps of every structure from one seed give the numbers that they always gave.

What a change must leave alone to the last bit, on one machine, is what ``benchmarks/unchanged.py``
compares; this holds the part of it that all machines share up to rounding.
"""

import pytest
import torch

from vaezoo import fit
from vaezoo.pairs.accounting import elbo_terms, num_units
from vaezoo.registry import entries, get_model

SMALL_BETA_VAE = {"hidden": [64, 32], "decoder_hidden": [32, 48, 64]}
ELBO = {  # nats per datum or frame, of the weights after three steps
    "aevb": -113.772308,
    "bayesian-decoder": -40.716240,
    "beta-vae": -43.583454,
    "cvae": -40.137032,
    "dmm": -12.341556,
    "dsae": -4.694214,
    "factor-analysis": -73.065117,
    "fsq": -91.088188,
    "gmvae": -40.410549,
    "hvae": -44.497574,
    "independent": -42.491547,
    "gp-vae": -7.825529,
    "iwae-2l": -46.876507,
    "kvae": -4.688942,
    "ladder-vae": -45.383358,
    "latent-ode": -1.188528,
    "lgssm": -10.184903,
    "maf": -63.778015,
    "markov": -5.314417,
    "miwae": -69.135773,
    "mixture": -42.288559,
    "mopoe": -42.832581,
    "mvae": -44.567581,
    "not-miwae": -109.380188,
    "pca": -64.359062,
    "prodlda": -317.490692,
    "rnn": -5.613231,
    "slds": -6.456477,
    "semi-amortised": -43.524017,
    "srnn": -5.884707,
    "ssvae": -155.696640,
    "storn": -5.572048,
    "transformer-vae": -7.077117,
    "vae-bernoulli": -42.525425,
    "vae-counts": -2135.140869,
    "vae-gaussian": -64.151550,
    "vae-gumbel": -40.854736,
    "vae-linear": -74.168716,
    "vae-sphere": -42.660622,
    "vae-tabular": -158.951508,
    "vae-tied": -44.156841,
    "vae-vmf": -44.790020,
    "vampprior": -40.826267,
    "vq-vae": -94.328339,
    "vrnn": -5.599674,
    "vrnn-lstm": -5.396754,
}
LONG = {("latent-ode", "graph")}  # a step of 3,000 operations, of which a graph is made


def test_every_structure_has_its_number() -> None:
    """One of each model and guide; what differs in its settings or parts has tests of those."""
    zoo = [get_model(e.name) for e in entries() if e.target.startswith("vaezoo.models.")]
    sides = {(cls.model, cls.guide) for cls in zoo}
    assert {(cls.model, cls.guide) for cls in map(get_model, ELBO)} == sides


@pytest.mark.parametrize(
    ("model", "engine"),
    [
        pytest.param(model, engine, marks=[pytest.mark.slow] * ((model, engine) in LONG))
        for model in ELBO
        for engine in ("eager", "graph")
    ],
)
def test_three_steps(model: str, engine: str) -> None:
    config = SMALL_BETA_VAE if model == "beta-vae" else {}
    training = {"steps": 3, "batch_size": 48, "seed": 1, "engine": engine, "device": "cpu"}
    run = fit(model, config=config, training=training)
    args = next(run.batches().fixed("test", limit=48))
    torch.manual_seed(0)
    with torch.no_grad():
        elbo = elbo_terms(run.pair, args).elbo.sum() / num_units(run.pair, args)
    assert float(elbo) == pytest.approx(ELBO[model], rel=1e-5)
