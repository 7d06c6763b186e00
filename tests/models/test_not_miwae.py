"""A model of why entries are missing, where the reason is known."""

import numpy as np
import pytest
import torch
from pyro import poutine

import vaezoo
from vaezoo.models.miwae import NotMIWAE
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.plates import log_density
from vaezoo.runs import Run

N = 600
SETTINGS = {"z_dim": 2, "hidden": [32]}


def table() -> tuple[np.ndarray, np.ndarray]:
    """Three columns of one factor; the first is missing the more often the larger it is."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(N, 1)) + 0.5 * rng.normal(size=(N, 3))
    missing = np.zeros(x.shape, bool)
    missing[:, 0] = rng.random(N) < 1 / (1 + np.exp(-4 * (x[:, 0] - 0.3)))
    return x.astype(np.float32), missing


def fit(model: str, seen: np.ndarray, **config: object) -> Run:
    training = {"steps": 1_000, "lr": 3e-3}
    raw = {"standardize": False}
    settings = {**SETTINGS, **config}
    return vaezoo.fit(model, seen, config=settings, training=training, data_settings=raw)


@pytest.fixture
def pair() -> NotMIWAE:
    torch.manual_seed(0)
    return NotMIWAE(x_shape=(3,), z_dim=2, hidden=(8,))


X = torch.tensor([[0.5, 0.0, -1.0], [2.0, 1.0, 0.0]])
MASK = torch.tensor([[True, False, True], [True, True, False]])
HELD = {"z": torch.tensor([[0.3, -1.0], [1.0, 0.2]]), "e": torch.randn(2, 3)}


def test_the_factor_is_the_probability_of_what_is_missing(pair: NotMIWAE) -> None:
    with torch.no_grad():
        pair.missing.slope.copy_(torch.tensor([1.0, -2.0, 0.5]))
        pair.missing.offset.copy_(torch.tensor([0.1, 0.2, -0.3]))
        trace = poutine.trace(hold(HELD)(pair.model)).get_trace(X, MASK)
        p = pair.decoder(HELD["z"])
        whole = torch.where(MASK, X, p.mean + p.stddev * HELD["e"])
        pi = torch.sigmoid(pair.missing.slope * whole + pair.missing.offset)
        expected = torch.where(MASK, 1 - pi, pi).log().sum(-1)
    torch.testing.assert_close(log_density(trace.nodes["missingness"]), expected)


def test_what_is_missing_is_where_its_noise_has_put_it(pair: NotMIWAE) -> None:
    trace = poutine.trace(hold(HELD)(pair.model)).get_trace(X, MASK)
    p, site = pair.decoder(HELD["z"]), trace.nodes["x"]["fn"]
    filler = p.mean + p.stddev * HELD["e"]
    torch.testing.assert_close(site.mean, torch.where(MASK, p.mean, filler))


def test_large_values_are_missing_more_often_where_that_is_known() -> None:
    pair = NotMIWAE(x_shape=(3,), hidden=(8,), missingness="self-masking-above")
    with torch.no_grad():
        pair.missing.slope.fill_(-3.0)
        assert bool((pair.missing(torch.ones(3)) > pair.missing(torch.zeros(3))).all())


def test_by_the_linear_form_one_entry_may_say_that_another_is_missing() -> None:
    pair = NotMIWAE(x_shape=(3,), hidden=(8,), missingness="linear")
    with torch.no_grad():
        pair.missing.slope[0, 2] = 2.0
        logits = pair.missing(torch.tensor([[0.0, 0.0, 1.0]]))
    assert logits.tolist() == [[2.0, 0.0, 0.0]]


@pytest.mark.slow
def test_it_sees_what_miwae_misses() -> None:
    """The first column has mean 0 and what is missing of it about 0.97.

    Seeds are fixed, so that it fails only where numbers change.
    """
    x, missing = table()
    seen = np.where(missing, np.nan, x).astype(np.float32)
    blind = fit("miwae", seen, likelihood={"name": "gaussian", "sigma": "per-dim"})
    aware = fit("not-miwae", seen)
    means = [vaezoo.sample(run, 4_000, x="sample")[:, 0].mean() for run in (blind, aware)]
    assert means[0] < -0.3
    assert abs(means[1]) < 0.2
    biases = [
        float((vaezoo.impute(run, seen[:100]).mean - x[:100])[missing[:100]].mean())
        for run in (blind, aware)
    ]
    assert biases[0] < -0.5
    assert abs(biases[1]) < 0.3
