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


def test_a_linear_model_with_as_many_latents_as_elements_is_left_out(rows: np.ndarray) -> None:
    assert set(floors_of(rows, "vae-gaussian", z_dim=5)) == {"independent"}


def test_missing_entries_leave_the_linear_model_out(rows: np.ndarray) -> None:
    gaps = np.where(np.arange(5) == np.arange(400)[:, None] % 50, np.nan, rows)
    assert set(floors_of(gaps)) == {"independent"}


def test_binary_data_have_no_linear_model() -> None:
    run = vaezoo.fit("vae-bernoulli", training=TRAINING)
    assert set(vaezoo.evaluate(run, iwae=(1,)).floors) == {"independent"}


def test_other_data_without_training_rows_have_no_floors(rows: np.ndarray) -> None:
    run = vaezoo.fit("vae-linear", from_arrays(rows), training={**TRAINING}, config={"z_dim": 2})
    assert vaezoo.evaluate(run, rows[:20], iwae=(1,)).floors == {}
