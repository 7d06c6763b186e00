"""Predictive checks: models that are true pass, wrong ones fail; curves against brute force."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from scipy import stats
from torch import Tensor, nn

from vaezoo import RequestError
from vaezoo.diagnostics.predictive import (
    STATISTICS,
    predictive_checks,
    reliability,
)
from vaezoo.diagnostics.uniformity import ecdf_band, grade_of, uniform_p_value
from vaezoo.models.lgssm import LGSSM
from vaezoo.models.rnn import RNN
from vaezoo.models.vae import VAEBernoulli

Likelihood = Callable[[Tensor], Any]


class Pair(nn.Module):
    """Two latents that the guide knows: z = c, the other argument; x ~ the likelihood of z."""

    def __init__(self, likelihood: Likelihood) -> None:
        super().__init__()
        self.likelihood = likelihood

    def model(self, x: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros_like(c), 1.0).to_event(1))
            pyro.sample("x", self.likelihood(z), obs=x)

    def guide(self, x: Tensor, c: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(c, 1e-9).to_event(1))


class Linear(nn.Module):
    """z ~ N(0, 1), x_d ~ N(z, sigma^2) for 8 elements; the exact guide of sigma = 0.5."""

    def __init__(self, sigma: float = 0.5) -> None:
        super().__init__()
        self.sigma = sigma

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(x.new_zeros(1), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(z.expand(x.shape), self.sigma).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            mean = x.sum(1, keepdim=True) / (8 + 0.25)
            pyro.sample("z", dist.Normal(mean, (1 + 8 / 0.25) ** -0.5).to_event(1))


class Mixture(nn.Module):
    """Both elements of x are near -2, or both near 2."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("x", two_sided(len(x)), obs=x)

    def guide(self, x: Tensor) -> None:
        pass


def two_sided(number: int) -> dist.MixtureSameFamily:
    loc = torch.tensor([[-2.0, -2.0], [2.0, 2.0]]).expand(number, 2, 2)
    which = dist.Categorical(torch.ones(number, 2))
    return dist.MixtureSameFamily(which, dist.Normal(loc, 0.1).to_event(1))


def bernoulli(z: Tensor, sharpness: float = 1.0) -> Any:
    return dist.Bernoulli(logits=sharpness * (z @ MIXING)).to_event(1)


MIXING = torch.linspace(-2, 2, 24).reshape(2, 12)


def data(likelihood: Likelihood, number: int = 500) -> tuple[Tensor, Tensor]:
    c = torch.randn(number, 2)
    return likelihood(c).sample(), c


def linear(number: int = 500) -> Tensor:
    return torch.randn(number, 1) + 0.5 * torch.randn(number, 8)


def from_five(z: Tensor) -> Any:
    return dist.Poisson(5 + z.exp()).to_event(1)


def from_nine(z: Tensor) -> Any:
    return dist.NegativeBinomial(3.0, logits=((5 + z.exp()) / 3).log()).to_event(1)


def classes(z: Tensor) -> Any:
    return dist.Categorical(logits=torch.cat([z, torch.zeros_like(z[:, :1])], -1))


# The true model


def test_true_model_is_good() -> None:
    """x comes from the model, z from its posterior. Over seeds one of five is bad with 5 %."""
    check = predictive_checks(Linear(), (linear(),))["x"]
    assert check.pit is not None
    assert check.pit.shape == (4000,)
    assert set(check.grades) == {"pit", *STATISTICS}
    assert "bad" not in check.grades.values()


def test_grades_of_true_models_have_their_rates() -> None:
    """5 % of 60 are no good; more than 9 with 6e-4."""
    grades = [
        predictive_checks(Linear(), (linear(60),), num_replicates=50, seed=s)["x"].grades
        for s in range(30)
    ]
    assert sum(g[name] != "good" for g in grades for name in ("pit", "variance")) <= 9


@pytest.mark.parametrize("likelihood", [from_five, from_nine, classes])
def test_true_counts_and_categories_are_uniform(likelihood: Likelihood) -> None:
    """Over seeds it fails with 1 %."""
    check = predictive_checks(Pair(likelihood), data(likelihood))["x"]
    assert check.grades["pit"] != "bad"


def test_true_probabilities_are_reliable() -> None:
    """Over seeds one of five is bad with 5 %. The bands hold 95 % of 50 points that go together."""
    check = predictive_checks(Pair(bernoulli), data(bernoulli))["x"]
    assert "bad" not in check.grades.values()
    curve = check.reliability
    assert curve is not None
    inside = (curve.lower <= curve.frequency) & (curve.frequency <= curve.upper)
    assert inside.mean() > 0.8


def test_elements_that_go_together_count_once() -> None:
    """Both elements would make a band that is too narrow. Over seeds it fails with 1 %."""
    check = predictive_checks(Mixture(), (two_sided(400).sample(),))["x"]
    assert check.pit is not None
    assert check.pit.shape == (400,)
    assert check.grades["pit"] != "bad"


# Wrong models


@pytest.mark.parametrize(("sigma", "wide"), [(0.4, True), (0.6, False)])
def test_wrong_sigma_is_bad(sigma: float, wide: bool) -> None:
    """A U for a small sigma, a hump for a large one. Failure rate below 1e-6."""
    check = predictive_checks(Linear(sigma), (linear(),))["x"]
    assert check.grades["pit"] == check.grades["variance"] == "bad"
    assert check.pit is not None
    assert (float(check.pit.var()) > 1 / 12) is wide


def test_wrong_dispersion_of_counts_is_bad() -> None:
    """Poisson for counts that vary three times as much. Failure rate below 1e-6."""
    check = predictive_checks(Pair(from_five), data(from_nine))["x"]
    assert check.grades["pit"] == "bad"


@pytest.mark.parametrize("sharpness", [0.5, 2.0])
def test_wrong_probabilities_are_bad(sharpness: float) -> None:
    """Failure rate below 1e-6."""
    pair = Pair(lambda z: bernoulli(z, sharpness))
    check = predictive_checks(pair, data(bernoulli))["x"]
    assert check.grades["reliability"] == "bad"
    assert check.pit is None
    curve = check.reliability
    assert curve is not None
    high = curve.probability > 0.8
    assert (curve.frequency[high] > curve.upper[high]).any() == (sharpness == 0.5)
    assert (curve.frequency[high] < curve.lower[high]).any() == (sharpness == 2.0)


def test_mean_that_is_off_has_a_p_value_of_zero() -> None:
    """By 1, with a standard error of 0.05: no replicate is as large. Failure rate below 1e-6."""
    x, c = data(from_five)
    check = predictive_checks(Pair(from_five), (x + 1, c))["x"].statistics["mean"]
    assert check.p_value < 1 / 201
    assert check.grade == "bad"
    assert check.observed == pytest.approx(float(x.mean()) + 1)
    assert check.replicated.shape == (200,)


# Sequences


def test_frames_are_ranked_given_those_before() -> None:
    """Without latents, of lengths 1 to 6; padding is no data. Over seeds it fails with 5 %."""
    torch.manual_seed(1)
    pair = RNN(x_shape=(3,), hidden=8)
    length = torch.arange(300) % 6 + 1
    x = torch.zeros(300, 6, 3)
    with torch.no_grad():
        h = pair.initial(x)
        for t in range(6):
            x[:, t] = pair.likelihood(h[:, :0], h).sample()
            h = pair.transition(pair.embed(x[:, t]), h[:, :0], h)
    x[torch.arange(6) >= length.unsqueeze(1)] = 1.0
    check = predictive_checks(pair, (x, length))["x"]
    assert "bad" not in check.grades.values()
    assert predictive_checks(pair, (x, torch.full((300,), 6)))["x"].grades["mean"] == "bad"


def test_padding_of_sequences_does_not_matter() -> None:
    x, length = torch.randn(5, 4, 2), torch.tensor([4, 1, 2, 3, 4])
    other = torch.where(torch.arange(4)[:, None] < length[:, None, None], x, 7.0)
    pair = LGSSM(x_shape=(2,), z_dim=2)
    first, second = (predictive_checks(pair, (v, length))["x"] for v in (x, other))
    assert first.pit is not None
    assert second.pit is not None
    assert first.pit.shape == (28,)
    torch.testing.assert_close(first.pit, second.pit, atol=0.01, rtol=0)


# The reliability curve


def brute_force(share: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Return the nearest rising curve, of all that are constant on blocks of neighbours."""
    number, best, error = len(share), share, np.inf
    for cuts in itertools.product([False, True], repeat=number - 1):
        block = np.concatenate([[0], np.cumsum(cuts)])
        mean = np.bincount(block, share * weight) / np.bincount(block, weight)
        squares = (weight * (share - mean[block]) ** 2).sum()
        if (np.diff(mean) >= 0).all() and squares < error:
            best, error = mean[block], squares
    return best


@pytest.mark.parametrize("seed", range(20))
def test_curve_is_the_nearest_that_rises(seed: int) -> None:
    """Ten outcomes, some of the same probability; against all blocks of neighbours."""
    draw = np.random.default_rng(seed)
    said, happened = draw.integers(1, 9, 10) / 9, draw.integers(0, 2, 10)
    points = np.unique(said)
    weight = np.array([(said == p).sum() for p in points], dtype=float)
    share = np.array([happened[said == p].mean() for p in points])
    curve = reliability(said, happened)
    np.testing.assert_allclose(curve.probability, points)
    np.testing.assert_allclose(curve.frequency, brute_force(share, weight), atol=1e-12)
    assert (np.diff(curve.frequency) >= 0).all()


def test_miscalibration_is_a_difference_of_brier_scores() -> None:
    said, happened = np.array([0.1, 0.4, 0.4, 0.9]), np.array([0.0, 1.0, 0.0, 1.0])
    brier, best = ((said - happened) ** 2).mean(), 0.5 / 4
    assert reliability(said, happened).miscalibration == pytest.approx(brier - best)


def test_p_values_of_reliability_are_uniform() -> None:
    """Kolmogorov and Smirnov for 100 of them. Failure rate 1e-3."""
    draw = np.random.default_rng(0)
    said = draw.random((100, 80))
    found = [reliability(p, draw.random(80) < p, seed=s).p_value for s, p in enumerate(said)]
    assert stats.kstest(found, "uniform").pvalue > 1e-3


def test_many_probabilities_make_fifty_points() -> None:
    draw = np.random.default_rng(0)
    said = draw.random(5000)
    curve = reliability(said, draw.random(5000) < said)
    assert curve.probability.shape == curve.lower.shape == curve.upper.shape == (50,)
    assert (curve.lower <= curve.upper).all()


# The band


@pytest.mark.parametrize(("number", "probability"), [(100, 0.95), (100, 0.99), (3000, 0.95)])
def test_band_holds_the_ecdf_of_uniform_numbers(number: int, probability: float) -> None:
    """At all points at once; 2,000 ECDFs and 4 standard errors of theirs and of the band's."""
    points, lower, upper = ecdf_band(number, probability)
    draw = np.random.default_rng(1)
    ecdf = np.stack(
        [np.searchsorted(np.sort(draw.random(number)), points) / number for _ in range(2000)]
    )
    inside = ((lower <= ecdf) & (ecdf <= upper)).all(1).mean()
    error = np.sqrt(probability * (1 - probability) * (1 / 2000 + 1 / 4000))
    assert inside == pytest.approx(probability, abs=4 * error + 0.005)


def test_p_values_of_pit_are_uniform() -> None:
    """Kolmogorov and Smirnov for 500 of them. Failure rate 1e-3."""
    found = [uniform_p_value(torch.rand(200)) for _ in range(500)]
    assert stats.kstest(found, "uniform").pvalue > 1e-3


def test_grades() -> None:
    assert [grade_of(p) for p in (1.0, 0.05, 0.04, 0.01, 0.005)] == [
        "good",
        "good",
        "caution",
        "caution",
        "bad",
    ]


# Statistics


def test_statistics_are_their_formulas() -> None:
    x = torch.tensor([[[0.0, 1.0], [0.0, 0.0]], [[2.0, 2.0], [2.0, 2.0]], [[1.0, 3.0], [0.0, 5.0]]])
    found = {name: statistic(x).tolist() for name, statistic in STATISTICS.items()}
    assert found["mean"] == pytest.approx([0.25, 2.0, 2.25])
    assert found["variance"] == pytest.approx([0.1875, 0.0, 3.6875])
    assert found["sparsity"] == pytest.approx([1.0, 0.0, 2 - 9 / 35**0.5], abs=1e-6)
    assert found["total variation"] == pytest.approx([2.0, 0.0, 2 + 5 + 1 + 2])


def test_statistics_of_one_element_are_finite() -> None:
    for name, statistic in STATISTICS.items():
        assert statistic(torch.tensor([[0.0], [3.0]])).isfinite().all(), name


def test_own_statistics_and_nothing_is_touched() -> None:
    state = torch.get_rng_state()
    pair = VAEBernoulli(x_shape=(2, 3), z_dim=2, hidden=(4,)).train()
    torch.set_rng_state(state)
    x = torch.ones(5, 2, 3)
    options: dict[str, Any] = {"statistics": {"top": lambda x: x[:, 0].mean(1)}}
    first, second = (predictive_checks(pair, (x,), num_replicates=20, **options) for _ in range(2))
    assert first["x"].grades == second["x"].grades
    assert set(first["x"].statistics) == {"top"}
    assert first["x"].statistics["top"].observed == 1.0
    assert torch.equal(state, torch.get_rng_state())
    assert pair.training


def test_few_replicates_are_refused() -> None:
    with pytest.raises(RequestError, match="take 20 replicates or more, got 3"):
        predictive_checks(Linear(), (linear(5),), num_replicates=3)


@pytest.mark.parametrize("name", STATISTICS)
def test_one_number_a_datum_has_every_statistic(name: str) -> None:
    values = STATISTICS[name](torch.arange(5.0))
    assert values.shape == (5,)
    assert values.isfinite().all()
