"""Simple models beside a deep one: their numbers against closed forms."""

import numpy as np
import pytest
import torch
from pyro import distributions as dist

import vaezoo
from vaezoo.data import from_arrays
from vaezoo.exact.linear_gaussian import fit_ppca

TRAINING = {"steps": 2, "engine": "eager"}


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    generator = np.random.default_rng(0)
    z = generator.normal(size=(400, 2))
    x = z @ generator.normal(size=(2, 5)) + 0.3 * generator.normal(size=(400, 5))
    return x.astype(np.float32)


def floors_of(x: np.ndarray, model: str = "vae-linear", z_dim: int = 2) -> dict[str, float]:
    run = vaezoo.fit(model, from_arrays(x), config={"z_dim": z_dim}, training=TRAINING)
    return dict(vaezoo.evaluate(run, iwae=(1,)).floors)


def test_the_linear_floor_is_that_of_pca_on_the_training_rows(rows: np.ndarray) -> None:
    splits = from_arrays(rows).splits
    train, test = (torch.from_numpy(rows[splits[name]]).double() for name in ("train", "test"))
    exact = float(fit_ppca(train, 2)[0].log_prob(test).mean())
    assert floors_of(rows)["linear"] == pytest.approx(exact, rel=1e-6)


def test_independent_elements_are_normal_with_the_moments_of_the_training_rows(
    rows: np.ndarray,
) -> None:
    splits = from_arrays(rows).splits
    train, test = (torch.from_numpy(rows[splits[name]]).double() for name in ("train", "test"))
    normal = dist.Normal(train.mean(0), train.std(0, correction=0))
    exact = float(normal.log_prob(test).sum(1).mean())
    assert floors_of(rows)["independent"] == pytest.approx(exact, rel=1e-6)


def test_a_linear_model_with_as_many_latents_as_elements_is_a_gaussian_of_any_covariance(
    rows: np.ndarray,
) -> None:
    splits = from_arrays(rows).splits
    train, test = (torch.from_numpy(rows[splits[name]]).double() for name in ("train", "test"))
    normal = dist.MultivariateNormal(train.mean(0), train.T.cov(correction=0))
    exact = float(normal.log_prob(test).mean())
    assert floors_of(rows, z_dim=5)["linear"] == pytest.approx(exact, rel=1e-6)


def test_elements_that_depend_on_each_other_exactly_have_a_linear_floor(rows: np.ndarray) -> None:
    x = np.stack([rows[:, 0], 2 * rows[:, 0], np.ones(400, np.float32)], 1)
    assert np.isfinite(floors_of(x, z_dim=5)["linear"])


def test_frames_have_the_floor_of_a_markov_chain() -> None:
    generator = np.random.default_rng(0)
    noise = generator.normal(size=(300, 12, 2))
    x = np.empty((300, 12, 2), np.float32)
    x[:, 0] = noise[:, 0]
    for t in range(1, 12):  # stationary, variance 1
        x[:, t] = 0.9 * x[:, t - 1] + np.sqrt(1 - 0.9**2) * noise[:, t]
    data = from_arrays(x, length=np.full(300, 12))
    run = vaezoo.fit("vrnn", data, config={"likelihood": "gaussian"}, training=TRAINING)
    floors = vaezoo.evaluate(run, iwae=(1,)).floors
    normal = -0.5 * np.log(2 * np.pi * np.e)  # nats of an element
    gain = -0.5 * np.log(1 - 0.9**2) * 11 / 12  # of the frames that have one before
    assert floors["independent"] == pytest.approx(2 * normal, abs=0.15)
    assert floors["markov"] - floors["independent"] == pytest.approx(2 * gain, abs=0.15)


def test_binary_frames_have_one_too() -> None:
    generator = np.random.default_rng(0)
    stays = generator.random((400, 20, 3)) < 0.9
    x = np.zeros((400, 20, 3), np.float32)
    x[:, 0] = generator.random((400, 3)) < 0.5
    for t in range(1, 20):
        x[:, t] = np.where(stays[:, t], x[:, t - 1], 1 - x[:, t - 1])
    data = from_arrays(x, length=np.full(400, 20))
    run = vaezoo.fit("vrnn", data, training=TRAINING)
    floors = vaezoo.evaluate(run, iwae=(1,)).floors
    switching = 0.9 * np.log(0.9) + 0.1 * np.log(0.1)
    exact = 3 * (np.log(0.5) + 19 * switching) / 20
    assert floors["markov"] == pytest.approx(exact, abs=0.1)
    assert floors["independent"] == pytest.approx(3 * np.log(0.5), abs=0.02)


def with_gaps(rows: np.ndarray) -> np.ndarray:
    return np.where(np.random.default_rng(1).random(rows.shape) < 0.3, np.nan, rows)


def test_the_linear_floor_of_missing_entries_is_that_of_those_that_are_there(
    rows: np.ndarray,
) -> None:
    gaps, splits = with_gaps(rows), from_arrays(rows).splits
    train, test = (torch.from_numpy(gaps[splits[name]]).double() for name in ("train", "test"))
    exact = float(fit_ppca(train, 2)[0].log_prob(test).mean())
    assert floors_of(gaps)["linear"] == pytest.approx(exact, rel=1e-6)


@pytest.mark.parametrize("model", ["miwae", "vae-tabular"])
def test_models_of_missing_entries_have_it_too(model: str, rows: np.ndarray) -> None:
    assert set(floors_of(with_gaps(rows), model)) == {"independent", "linear"}


def test_a_model_of_what_is_missing_has_no_floors(rows: np.ndarray) -> None:
    """Its ELBO is that of x and of the mask, which simple models do not explain."""
    assert floors_of(with_gaps(rows), "not-miwae") == {}


def test_an_element_that_is_never_there_leaves_the_linear_model_out(rows: np.ndarray) -> None:
    gaps = with_gaps(rows)
    gaps[from_arrays(rows).splits["train"], 0] = np.nan
    assert "linear" not in floors_of(gaps)


def test_binary_data_have_no_linear_model() -> None:
    run = vaezoo.fit("vae-bernoulli", training=TRAINING)
    assert set(vaezoo.evaluate(run, iwae=(1,)).floors) == {"independent"}


def test_other_data_without_training_rows_have_no_floors(rows: np.ndarray) -> None:
    run = vaezoo.fit("vae-linear", from_arrays(rows), training={**TRAINING}, config={"z_dim": 2})
    assert vaezoo.evaluate(run, rows[:20], iwae=(1,)).floors == {}
