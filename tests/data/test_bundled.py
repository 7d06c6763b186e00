"""Data sets that come with a package: what they hold, and what is known of them exactly."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_breast_cancer

from vaezoo.config import build_model
from vaezoo.data import Data
from vaezoo.data.contract import choose_transform
from vaezoo.data.sets.simulated import OSCILLATORS
from vaezoo.data.sets.sources import SOURCES, load_source
from vaezoo.exact.kalman import KalmanModel
from vaezoo.registry import get_model


@pytest.fixture(scope="module")
def table() -> Data:
    return load_source("breast-cancer")


@pytest.fixture(scope="module")
def oscillators() -> Data:
    return load_source("oscillators")


def test_half_of_the_breast_cancer_table_is_missing(table: Data) -> None:
    assert np.isnan(table.x).sum() == table.x.size // 2


def test_what_is_there_is_what_scikit_learn_has(table: Data) -> None:
    there = ~np.isnan(table.x)
    whole = load_breast_cancer()
    assert np.array_equal(table.x[there], whole.data.astype(np.float32)[there])
    assert np.array_equal(table.arrays["label"], whole.target)


def test_columns_have_the_names_of_scikit_learn(table: Data) -> None:
    words = [set(name.split()) for name in load_breast_cancer().feature_names]
    assert [set(name.replace("error of", "error").split()) for name in table.columns] == words


def test_a_named_table_is_standardised_like_any(table: Data) -> None:
    pair = build_model(get_model("vae-gaussian"), {}, table.x_shape)
    assert choose_transform(pair, table).mean is not None


def test_the_variance_of_oscillators_is_one_at_every_step() -> None:
    A, Q, _, _, _, P0 = OSCILLATORS
    assert np.allclose(A @ P0 @ A.T + Q, P0)
    assert np.array_equal(P0, np.eye(4))


@pytest.mark.parametrize("split", ["validation", "test"])
def test_the_exact_density_of_oscillators_is_that_of_the_filter(
    split: str, oscillators: Data
) -> None:
    model = KalmanModel(**{name: torch.from_numpy(m) for name, m in OSCILLATORS._asdict().items()})
    rows = oscillators.rows(split)
    x, length = oscillators.x[rows], oscillators.arrays["length"][rows]
    total = model.log_evidence(torch.from_numpy(x), torch.from_numpy(length)).sum()
    exact = SOURCES["oscillators"].exact[split]
    assert float(total) / length.sum() == pytest.approx(exact, abs=5e-5)
