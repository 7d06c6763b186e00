"""Measures of studies, where the truth is known."""

import numpy as np
import pytest

import vaezoo
from vaezoo.study import Scale, Trained, Variant
from vaezoo.study.design import Cell
from vaezoo.study.measures.codes import gaps
from vaezoo.study.measures.samples import (
    blank_share,
    blanks,
    coverage,
    energy_distance,
    prior_gap,
    sample_quality,
)
from vaezoo.study.measures.tasks import anomalies, first_near_best, generalisation
from vaezoo.study.toys import dequantised, without_class


def test_energy_distance_of_normals_is_that_of_the_formula() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(1000, 1)), 3 + rng.normal(size=(1000, 1))
    from scipy.stats import norm

    root = np.sqrt(2)  # X - Y is N(3, 2), X - X' is N(0, 2)
    apart = root * np.sqrt(2 / np.pi) * np.exp(-9 / 4) + 3 * (1 - 2 * norm.cdf(-3 / root))
    exact = 2 * apart - 2 * root * np.sqrt(2 / np.pi)
    assert energy_distance(x, y) == pytest.approx(exact, abs=0.3)  # 4 standard errors


def test_draws_of_the_data_cover_them_and_a_constant_does_not() -> None:
    rng = np.random.default_rng(0)
    data = rng.normal(size=(300, 2))
    assert coverage(rng.normal(size=(300, 2)), data) > 0.9
    assert coverage(np.zeros((300, 2)), data) < 0.1


def test_epochs_count_until_near_the_best_and_not_the_end() -> None:
    assert first_near_best(np.array([-100.0, -50.0, -4.0, -3.0, 0.0])) == 3


def test_codes_along_factors_lose_by_a_rotation_and_rotated_ones_do_not() -> None:
    """The mean MIG over rotations of codes is that over rotations of codes that are rotated."""
    rng = np.random.default_rng(0)
    classes = rng.integers(3, size=(2000, 2))
    codes = classes + 0.1 * rng.normal(size=(2000, 2))
    own, turned = gaps(codes, classes)
    assert own > 0.9
    assert turned < 0.6
    assert gaps(rng.normal(size=(2000, 2)), classes)[0] < 0.05


def test_normal_codes_have_no_blanks_and_two_clusters_have() -> None:
    rng = np.random.default_rng(0)
    draws = rng.normal(size=(3, 1000, 2))
    assert blank_share(*draws) < 0.05
    clusters = 0.1 * draws[1:] + rng.choice([-1, 1], size=(2, 1000, 1))
    assert blank_share(draws[0], *clusters) > 0.5


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A VAE of digits without the 8, trained for a few steps."""
    data = without_class(dequantised("digits", limit=300), 8)
    config = {"z_dim": 3, "hidden": [8]}
    run = vaezoo.fit("vae-gaussian", data, config=config, training={"steps": 10})
    return Trained(run, Cell("toy", Variant("own", "vae-gaussian"), {}), Scale(1, 0.1, limit=80))


def test_codes_at_the_prior_have_no_gap_and_make_what_samples_are(trained: Trained) -> None:
    """Hardly trained, q is near the prior, and N(0, I) is where its own samples come from."""
    values = {**prior_gap()(trained), **sample_quality()(trained)}
    assert values["prior gap"] < 0.3
    assert values["N(0, I) distance"] == pytest.approx(values["sample distance"], abs=0.05)


def test_a_class_that_training_lacked_is_measured_apart(trained: Trained) -> None:
    values = {**anomalies()(trained), **generalisation()(trained), **blanks()(trained)}
    assert 0 <= values["AUC, error"] <= 1
    assert 0.5 < values["new MSE"] < 2
    assert np.mean(values["random distance"]) == pytest.approx(1, abs=0.2)
