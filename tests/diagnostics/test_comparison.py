"""Draws against a reference: distances of Gaussians have closed forms, and so do classifiers."""

import math

import pytest
import torch
from scipy.stats import wasserstein_distance
from sklearn.linear_model import LogisticRegression
from torch import Tensor
from torch.distributions import MultivariateNormal, kl_divergence

from vaezoo import RequestError
from vaezoo.diagnostics.comparison import c2st, compare_draws, gaussian_kl, sliced_wasserstein


def normal(number: int, num_data: int, num_latents: int, seed: int = 0) -> Tensor:
    """Draw from a standard normal, ``(S, B, L)``."""
    draw = torch.Generator().manual_seed(seed)
    return torch.randn(number, num_data, num_latents, dtype=torch.float64, generator=draw)


def accuracy_of_shift(d: float) -> float:
    """Return the best accuracy between N(0, 1) and N(d, 1)."""
    return 0.5 + 0.5 * math.erf(d / (2 * math.sqrt(2)))


# Wasserstein


def test_distance_of_a_shift_is_the_shift() -> None:
    """In units of the reference's sd, which is that of its 1,000 draws, for any sign."""
    reference = 3 * normal(1000, 5, 1)
    shift = torch.tensor([-2.0, -0.5, 0.0, 1.0, 4.0], dtype=torch.float64)
    distance = sliced_wasserstein(reference + 3 * shift[:, None], reference)
    expected = 3 * shift.abs() / reference.std(0).squeeze(-1)
    torch.testing.assert_close(distance, expected)


def test_distance_is_that_of_scipy() -> None:
    draws, reference = normal(70, 3, 1), 1 + 2 * normal(110, 3, 1, seed=1)
    distance = sliced_wasserstein(draws, reference)
    for index in range(3):
        expected = wasserstein_distance(draws[:, index, 0], reference[:, index, 0])
        assert float(distance[index] * reference[:, index].std()) == pytest.approx(expected)


def test_draws_that_are_repeated_are_the_same_draws() -> None:
    draws, reference = normal(50, 4, 3), normal(80, 4, 3, seed=1)
    twice = sliced_wasserstein(torch.cat([draws, draws]), reference)
    torch.testing.assert_close(twice, sliced_wasserstein(draws, reference))
    assert float(sliced_wasserstein(reference, reference).max()) == 0


def test_shift_of_many_latents_is_seen_along_each_direction() -> None:
    """E |cos| = sqrt(2 / (pi L)) up to 2 % at L = 8, over 2,000 directions. Failure rate 1e-4."""
    reference = normal(500, 2, 8)
    draws = reference + torch.eye(8, dtype=torch.float64)[0] * 100 * reference.std(0)
    distance = sliced_wasserstein(draws, reference, num_directions=2000)
    assert float(distance.mean()) == pytest.approx(100 * math.sqrt(2 / (math.pi * 8)), rel=0.08)
    assert compare_draws(draws, reference).largest_wasserstein.tolist() == pytest.approx([100] * 2)


# Gaussian KL


def test_kl_is_that_of_torch_for_the_same_moments() -> None:
    mixing = torch.tensor([[1.0, 0.0], [0.7, 0.4]], dtype=torch.float64)
    draws, reference = normal(60, 4, 2) @ mixing.T + 1, normal(90, 4, 2, seed=1)
    divergence = gaussian_kl(draws, reference)
    for index in range(4):
        p, q = (
            MultivariateNormal(d[:, index].mean(0), torch.cov(d[:, index].T))
            for d in (draws, reference)
        )
        assert float(divergence[index]) == pytest.approx(float(kl_divergence(p, q)))


def test_kl_of_a_point_is_infinite() -> None:
    assert gaussian_kl(torch.ones(20, 2, 3), normal(20, 2, 3)).tolist() == [math.inf] * 2


# The classifier


def test_same_distribution_cannot_be_told_apart() -> None:
    """Mean of 100 data, each of sd 0.015, within 4 standard errors. Failure rate 1e-4."""
    accuracy = c2st(normal(600, 100, 4), normal(900, 100, 4, seed=1))
    assert abs(float(accuracy.mean()) - 0.5) < 0.007
    assert float((accuracy - 0.5).abs().max()) < 0.09


def test_shift_is_told_as_well_as_can_be() -> None:
    """50 data of sd 0.02, and up to 0.01 less than the best accuracy. Failure rate 1e-4."""
    for shift in (0.5, 1.0, 3.0):
        accuracy = c2st(normal(1000, 50, 1) + shift, normal(1000, 50, 1, seed=1))
        best = accuracy_of_shift(shift)
        assert best - 0.02 < float(accuracy.mean()) < best + 0.01


def test_narrow_draws_are_told_by_their_squares() -> None:
    """|z| < t decides between sds 1/2 and 1, t^2 = 2 log 2 / 3: 0.66. Failure rate 1e-4."""
    cut = math.sqrt(2 * math.log(2) / 3)
    best = 0.5 + 0.5 * (math.erf(2 * cut / math.sqrt(2)) - math.erf(cut / math.sqrt(2)))
    accuracy = c2st(0.5 * normal(1000, 50, 1), normal(1000, 50, 1, seed=1))
    assert best - 0.02 < float(accuracy.mean()) < best + 0.01


def test_correlation_is_told_by_products() -> None:
    mixing = torch.tensor([[1.0, 0.0], [0.9, math.sqrt(1 - 0.81)]], dtype=torch.float64)
    accuracy = c2st(normal(500, 10, 2) @ mixing.T, normal(500, 10, 2, seed=1))
    assert float(accuracy.min()) > 0.65


def test_separated_draws_and_other_numbers_of_them() -> None:
    accuracy = c2st(normal(100, 3, 5) + 50, normal(1000, 3, 5, seed=1))
    assert accuracy.tolist() == pytest.approx([1.0] * 3)
    weak = c2st(normal(100, 20, 2), normal(2000, 20, 2, seed=1))
    assert abs(float(weak.mean()) - 0.5) < 0.05


def test_classifier_is_that_of_sklearn() -> None:
    """Accuracy over the same number of folds, each sd 0.015; 5 data. Failure rate 1e-4."""
    draws, reference = 0.7 * normal(500, 5, 1) + 0.3, normal(500, 5, 1, seed=1)
    accuracy = c2st(draws, reference)
    for index in range(5):
        z = torch.cat([draws[:, index], reference[:, index]])
        features, label = torch.cat([z, z**2], 1).numpy(), [1] * 500 + [0] * 500
        fitted = LogisticRegression().fit(features, label)
        assert float(accuracy[index]) == pytest.approx(fitted.score(features, label), abs=0.03)


def test_many_latents_go_without_products() -> None:
    accuracy = c2st(normal(300, 2, 30) * 0.5, normal(300, 2, 30, seed=1))
    assert float(accuracy.min()) > 0.95


# What the request says


def test_all_numbers_ignore_units_and_order_of_data() -> None:
    draws, reference = 0.8 * normal(100, 6, 2) + 0.1, normal(100, 6, 2, seed=1)
    comparison = compare_draws(draws, reference)
    moved = compare_draws(7 * draws.flip(1) - 3, 7 * reference.flip(1) - 3)
    for name, value in vars(comparison).items():
        assert value.shape == (6,)
        torch.testing.assert_close(vars(moved)[name].flip(0), value)


def test_one_datum_is_as_in_a_batch() -> None:
    draws, reference = normal(100, 6, 2), normal(100, 6, 2, seed=1)
    whole, one = compare_draws(draws, reference), compare_draws(draws[:, 2:3], reference[:, 2:3])
    for name, value in vars(whole).items():
        torch.testing.assert_close(vars(one)[name], value[2:3])


def test_draws_by_site_are_joined() -> None:
    draws, reference = normal(50, 3, 5), normal(60, 3, 5, seed=1)
    by_site = [{"a": d[..., 0], "b": d[..., 1:].reshape(-1, 3, 2, 2)} for d in (draws, reference)]
    turned = dict(reversed(by_site[0].items()))
    for name, value in vars(compare_draws(draws, reference)).items():
        assert torch.equal(vars(compare_draws(turned, by_site[1]))[name], value)


def test_nothing_else_changes() -> None:
    state = torch.get_rng_state()
    compare_draws(normal(20, 2, 2), normal(20, 2, 2, seed=1))
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize(
    ("draws", "message"),
    [
        (torch.zeros(20, 3), r"draws are \(S, B, L\), got \(20, 3\)"),
        (torch.zeros(20, 4, 2), "take 10 or more of the same data and latents"),
        (torch.zeros(5, 3, 2), "take 10 or more"),
        (torch.full((20, 3, 2), math.nan), "not finite"),
        ({"z": torch.zeros(20, 3, 2)}, "other sites than the reference"),
    ],
    ids=["shape", "data", "few", "nan", "sites"],
)
def test_other_draws_are_refused(draws: Tensor, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        compare_draws(draws, normal(20, 3, 2))


def test_numbers_out_of_range_are_refused() -> None:
    draws = normal(12, 2, 12)
    with pytest.raises(RequestError, match="12 latents take 13 draws, got 12"):
        gaussian_kl(draws, draws)
    with pytest.raises(RequestError, match="num_folds lies between 2 and 12, got 13"):
        c2st(draws, draws, num_folds=13)
    with pytest.raises(RequestError, match="num_directions is 1 or more"):
        sliced_wasserstein(draws, draws, num_directions=0)
