"""How wide a decoder is, where it can be computed: a linear model with a sigma that is set."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result
from pyro import distributions as dist
from torch import nn

import vaezoo as vz
from vaezoo.diagnostics.noise import NoiseScale, noise_scale
from vaezoo.distributions.columns import ByColumn
from vaezoo.distributions.sigma import scaled
from vaezoo.errors import RequestError
from vaezoo.exact.linear_gaussian import LinearGaussian
from vaezoo.runs import Run

Build = Callable[[LinearGaussian], nn.Module]

SIGMA = 0.5
WEIGHT = torch.tensor([[1.0, 0.0], [0.5, 0.0], [0.0, 1.0], [0.0, -1.0]], dtype=torch.float64)
SOLUTION = LinearGaussian(WEIGHT, torch.ones(4, dtype=torch.float64), SIGMA)


@pytest.fixture(scope="module")
def exact() -> np.ndarray:
    """Draws of the model, ``(4000, 4)``."""
    rng = np.random.default_rng(0)
    z, noise = rng.standard_normal((4000, 2)), rng.standard_normal((4000, 4))
    return (z @ WEIGHT.numpy().T + 1 + SIGMA * noise).astype(np.float32)


@pytest.fixture(scope="module")
def run(exact: np.ndarray, exact_pair: Build) -> Run:
    """The exact model with its exact posterior."""
    trained = fit(exact, standardize=False)
    return replace(trained, pair=exact_pair(SOLUTION).float())


def fit(x: object, *, standardize: bool, out: Path | None = None) -> Run:
    config, data = {"z_dim": 2}, {"standardize": standardize}
    training = {"steps": 1}
    return vz.fit("vae-linear", x, config=config, training=training, data_settings=data, out=out)  # type: ignore[arg-type]


def of(run: Run, factor: float, exact: np.ndarray) -> NoiseScale:
    """Look at a decoder whose sigma is so many times the right one; the guide stays."""
    pair = run.pair
    with torch.no_grad():
        pair.log_sigma += math.log(factor)
        noise = noise_scale(run, exact, limit=None)
        pair.log_sigma -= math.log(factor)
    return noise


def test_the_right_sigma_is_calibrated(run: Run, exact: np.ndarray) -> None:
    """All three shares lie in their 95 % intervals, and 16 are not outside; seed fixed."""
    noise = of(run, 1.0, exact)
    np.testing.assert_allclose(noise.sigma, SIGMA, rtol=1e-4)
    assert [one.verdict for one in noise.coverage] == ["as it should be"] * 3
    assert [one.too_few + one.too_many for one in noise.coverage] == [0, 0, 0]
    assert noise.ratio == pytest.approx(1, abs=4 * noise.ratio_error)
    assert noise.p_value > 0.01


@pytest.mark.parametrize(("factor", "verdict"), [(0.5, "too narrow"), (2.0, "too wide")])
def test_a_factor_of_two_rings(run: Run, exact: np.ndarray, factor: float, verdict: str) -> None:
    noise = of(run, factor, exact)
    assert noise.ratio == pytest.approx(1 / factor, abs=4 * noise.ratio_error)
    assert {one.verdict for one in noise.coverage} == {verdict}
    assert noise.p_value < 0.001
    counts = [(one.too_few, one.too_many) for one in noise.coverage]
    assert counts == [(4, 0) if factor < 1 else (0, 4)] * 3


def test_coverage_is_that_of_the_normal(run: Run, exact: np.ndarray) -> None:
    """At 16,000 entries a share is off by less than 0.02: 5 standard errors."""
    half = of(run, 0.5, exact)
    normal = torch.distributions.Normal(0.0, 1.0)
    for one in half.coverage:
        edge = normal.icdf(torch.tensor(0.5 + one.level / 2)) / 2
        assert one.share == pytest.approx(float(2 * normal.cdf(edge) - 1), abs=0.02)


def test_one_wrong_element_is_told_apart(run: Run, exact: np.ndarray) -> None:
    noise = of(run, 1.0, exact * np.float32([1, 1, 1, 1]) + np.float32([0, 0, 0, 4]))
    # z is drawn back towards the shifted element, so that its neighbour is off as well.
    assert noise.ratio_by_element[3] > 2
    assert noise.ratio_by_element[:2] == pytest.approx(1, abs=0.05)


def test_sigma_is_in_units_of_the_data(exact: np.ndarray) -> None:
    trained = fit(100 * exact, standardize=True)
    sigma = float(trained.pair.log_sigma.detach().exp())
    noise = noise_scale(trained)
    np.testing.assert_allclose(noise.sigma, sigma * trained.transform.std, rtol=1e-4)
    np.testing.assert_allclose(
        noise.examples, 100 * exact[trained.batches().data.rows("test")][:8], rtol=1e-4
    )


def test_sequences_have_nan_behind_their_end() -> None:
    rng = np.random.default_rng(0)
    x = [rng.standard_normal((length, 2)).astype("float32") for length in [5] * 30 + [3] * 30]
    run = vz.fit("lgssm", x, config={"z_dim": 2}, training={"steps": 2})
    noise = noise_scale(run, split="all", limit=None)
    assert noise.sigma.shape == (5, 2)
    assert np.isnan(noise.examples).any(axis=(1, 2)).any() or len(noise.examples) == 8
    assert noise.num_rows == 60


def test_a_table_has_the_sigma_of_its_reals() -> None:
    normal = dist.Normal(torch.zeros(3, 1), 2.0)
    coin = dist.Bernoulli(torch.full((3, 1), 0.5))
    row = ByColumn({"coin": (torch.tensor([0]), coin), "real": (torch.tensor([1]), normal)})
    sides, _ = scaled(row, torch.zeros(3, 2))
    assert sides is not None
    assert sides.sigma[0].isnan().tolist() == [True, False]
    assert sides.pit[0, 1] == 0.5


def test_what_is_missing_has_no_distribution_function() -> None:
    sides, _ = scaled(dist.Normal(torch.zeros(2), 1.0), torch.tensor([torch.nan, 0.0]))
    assert sides is not None
    assert sides.x.isnan().tolist() == [True, False]


def test_a_scale_stands_for_a_deviation_that_is_not_finite() -> None:
    sides, _ = scaled(dist.StudentT(torch.tensor([1.5, 4.0]), 0.0, 3.0), torch.zeros(2))
    assert sides is not None
    assert sides.sigma.tolist() == pytest.approx([3.0, 3.0 * 2**0.5])


def test_a_distribution_function_comes_from_draws_where_none_is_known() -> None:
    """At 200 draws it is off by less than 0.18, 5 standard errors."""
    sides, _ = scaled(dist.Gamma(torch.full((50,), 2.0), 1.0), torch.full((50,), 1.6783))
    assert sides is not None
    assert (sides.pit - 0.5).abs().max() < 0.18


@pytest.mark.parametrize(
    ("fn", "line"),
    [
        (dist.Bernoulli(torch.full((2,), 0.5)), "a Bernoulli has no sigma of its own"),
        (dist.Poisson(torch.ones(2)), "a Poisson has no sigma of its own"),
        (dist.MultivariateNormal(torch.zeros(2), torch.eye(2)), "joins its elements"),
    ],
)
def test_others_have_no_sigma(fn: dist.TorchDistribution, line: str) -> None:
    sides, fault = scaled(fn, torch.zeros(2))
    assert sides is None
    assert line in fault


def test_a_bernoulli_is_refused_in_a_line(trained: Path) -> None:
    with pytest.raises(RequestError, match=r"a Bernoulli has no sigma .*`likelihood='gaussian'`"):
        noise_scale(trained)


def test_the_command_prints_intervals(
    vaezoo: Callable[..., Result], tmp_path: Path, exact: np.ndarray
) -> None:
    np.save(tmp_path / "x.npy", exact[:200])
    fit(str(tmp_path / "x.npy"), standardize=True, out=tmp_path / "r")
    done = vaezoo("sigma", "r", "--json", "--split", "all")
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert len(facts["sigma"]) == 4
    assert [one["level"] for one in facts["coverage"]] == [0.5, 0.8, 0.95]
    assert (tmp_path / "r" / "figures" / "sigma.png").is_file()
    assert "in units of the data" in vaezoo("sigma", "r").output
