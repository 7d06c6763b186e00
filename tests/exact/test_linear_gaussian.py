"""Everything that vaezoo estimates, against probabilistic PCA, whose answers are known.

The data are seeded: 1,000 points in 10 dimensions from a linear-Gaussian model with 3 latents and
noise 0.5. Their maximum likelihood is -13.154137 nats per datum, at sigma^2 = 0.250051, and the
mean KL there is 5.895202.
"""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from vaezoo import RequestError, fit
from vaezoo.data import SPLITS, Data
from vaezoo.data.batches import Batches
from vaezoo.data.transform import Transform
from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.tiers import Engine
from vaezoo.exact.linear_gaussian import LinearGaussian, fit_ppca
from vaezoo.models.vae_linear import VAELinear
from vaezoo.objectives import ELBO
from vaezoo.observations.predictions import encode
from vaezoo.pairs.accounting import elbo_terms, log_weights
from vaezoo.predict.evaluation import evaluate_on
from vaezoo.predict.information import mutual_information

MAXIMUM, VARIANCE, MEAN_KL = -13.154137, 0.250051, 5.895202


@pytest.fixture(scope="module")
def x() -> Tensor:
    random = np.random.RandomState(0)
    weight, mean = random.randn(10, 3), random.randn(10)
    z = random.randn(1000, 3)
    return torch.from_numpy(z @ weight.T + mean + 0.5 * random.randn(1000, 10))


@pytest.fixture(scope="module")
def solution(x: Tensor) -> LinearGaussian:
    return fit_ppca(x, 3)[0]


@pytest.fixture(scope="module")
def pair(solution: LinearGaussian, exact_pair: Callable[[LinearGaussian], VAELinear]) -> VAELinear:
    return exact_pair(solution)


def test_closed_form_is_the_seeded_maximum(x: Tensor, solution: LinearGaussian) -> None:
    assert fit_ppca(x, 3)[1] == pytest.approx(MAXIMUM, abs=1e-6)
    assert float(solution.log_prob(x).mean()) == pytest.approx(MAXIMUM, abs=1e-6)
    assert solution.sigma**2 == pytest.approx(VARIANCE, abs=1e-6)


def normal_of(linear: LinearGaussian, there: Tensor) -> torch.distributions.MultivariateNormal:
    """Return the density of some elements, whose covariance is written out."""
    weight = linear.weight[there]
    covariance = weight @ weight.T + linear.sigma**2 * torch.eye(len(weight), dtype=weight.dtype)
    return torch.distributions.MultivariateNormal(linear.bias[there], covariance)


@pytest.fixture(scope="module")
def gaps(x: Tensor) -> Tensor:
    """Return the data without four entries of ten; nothing is there of the first row."""
    taken = torch.rand(x.shape, generator=torch.Generator().manual_seed(0)) < 0.4
    taken[0] = True
    return x.masked_fill(taken, torch.nan)


def test_log_p_of_entries_that_are_there_is_their_marginal_density(
    gaps: Tensor, solution: LinearGaussian
) -> None:
    there = ~gaps[1:20].isnan()
    exact = [normal_of(solution, t).log_prob(r[t]) for r, t in zip(gaps[1:20], there, strict=True)]
    torch.testing.assert_close(solution.log_prob(gaps[1:20]), torch.stack(exact))
    assert float(solution.log_prob(gaps[:1])) == 0.0


def test_the_fit_to_rows_with_gaps_is_a_maximum(gaps: Tensor) -> None:
    linear, value = fit_ppca(gaps, 3)
    weight, bias = linear.weight.clone().requires_grad_(), linear.bias.clone().requires_grad_()
    replace(linear, weight=weight, bias=bias).log_prob(gaps).mean().backward()
    for gradient in (weight.grad, bias.grad):
        assert gradient is not None
        assert float(gradient.abs().max()) < 1e-3
    assert value == pytest.approx(float(linear.log_prob(gaps).mean()), abs=1e-9)
    for sigma in (0.99 * linear.sigma, 1.01 * linear.sigma):
        assert float(replace(linear, sigma=sigma).log_prob(gaps).mean()) < value


def test_a_gap_in_a_row_changes_the_fit_little_and_none_nothing(
    x: Tensor, solution: LinearGaussian
) -> None:
    one = x.clone()
    one[0, 0] = torch.nan
    near = fit_ppca(one, 3)[0]
    torch.testing.assert_close(near.weight.abs(), solution.weight.abs(), atol=0.02, rtol=0)
    assert near.sigma == pytest.approx(solution.sigma, abs=1e-3)


def test_an_element_that_is_missing_in_all_rows_is_refused(x: Tensor) -> None:
    gaps = x.clone()
    gaps[:, 4] = torch.nan
    with pytest.raises(RequestError, match="element 4 is missing in all rows"):
        fit_ppca(gaps, 3)


def test_elbo_of_the_exact_pair_is_the_log_likelihood(x: Tensor, pair: VAELinear) -> None:
    kl = elbo_terms(pair, (x,)).kl_total.detach().mean()
    assert float(kl) == pytest.approx(MEAN_KL, abs=1e-6)
    losses = [float(ELBO(num_particles=50).loss(pair, (x,)).detach()) for _ in range(4)]
    assert -np.mean(losses) == pytest.approx(MAXIMUM, abs=0.01)


def test_log_weights_of_the_exact_pair_are_the_log_likelihood(
    x: Tensor, pair: VAELinear, solution: LinearGaussian
) -> None:
    weights = log_weights(pair, (x[:50],), 7)
    assert weights.shape == (7, 50)
    torch.testing.assert_close(weights, solution.log_prob(x[:50]).expand(7, 50), atol=1e-9, rtol=0)


def test_log_weights_do_not_depend_on_how_rows_are_cut(x: Tensor, pair: VAELinear) -> None:
    whole = log_weights(pair, (x[:20],), 6)
    torch.testing.assert_close(whole, log_weights(pair, (x[:20],), 6, max_rows=25))


def test_encode_gives_the_posterior_mean(
    x: Tensor, pair: VAELinear, solution: LinearGaussian
) -> None:
    mean, _ = solution.posterior(x)
    torch.testing.assert_close(encode(pair, (x,))["z"], mean, atol=1e-9, rtol=0)


def test_posterior_is_that_of_a_joint_gaussian(x: Tensor) -> None:
    """Conditioning the joint Gaussian of (z, x), for a W without orthogonal columns."""
    weight = torch.randn(10, 3, dtype=torch.float64)
    linear = LinearGaussian(weight, torch.randn(10, dtype=torch.float64), 0.7)
    covariance = weight @ weight.T + 0.49 * torch.eye(10)
    gain = weight.T @ torch.linalg.inv(covariance)
    mean, posterior = linear.posterior(x)
    torch.testing.assert_close(mean, (x - linear.bias) @ gain.T)
    torch.testing.assert_close(posterior, torch.eye(3, dtype=torch.float64) - gain @ weight)


def test_mean_field_gap_is_zero_for_orthogonal_columns(solution: LinearGaussian) -> None:
    assert solution.mean_field_gap() == pytest.approx(0.0, abs=1e-10)


def test_mean_field_gap_of_the_seeded_truth() -> None:
    weight = torch.from_numpy(np.random.RandomState(0).randn(10, 3))
    linear = LinearGaussian(weight, torch.zeros(10, dtype=torch.float64), 0.5)
    assert linear.mean_field_gap() == pytest.approx(0.033072, abs=1e-6)


def test_evaluation_of_the_exact_pair(x: Tensor, pair: VAELinear) -> None:
    data = Data("ppca", {"x": x.numpy()}, {"test": np.arange(1000)})
    batches = Batches(data, Transform(), ("x",), torch.device("cpu"))
    single = VAELinear(x_shape=(10,), z_dim=3)
    single.load_state_dict(pair.state_dict())
    result = evaluate_on(single, batches, iwae=(1, 3, 10))
    for bound in result.iwae:
        assert bound.value == pytest.approx(MAXIMUM, abs=1e-4)
    assert result.metrics.kl == pytest.approx(MEAN_KL, abs=1e-4)
    assert result.metrics.active_units == 3


def test_bounds_rise_with_the_number_of_draws(x: Tensor, pair: VAELinear) -> None:
    """A guide that is too wide: L_1 < L_5 < L_50 < log p(x). Failure rate below 1e-6."""
    wide = VAELinear(x_shape=(10,), z_dim=3)
    wide.load_state_dict(pair.state_dict())
    with torch.no_grad():
        wide.log_s.add_(0.7)
    data = Data("ppca", {"x": x.numpy()}, {"test": np.arange(1000)})
    batches = Batches(data, Transform(), ("x",), torch.device("cpu"))
    values = [bound.value for bound in evaluate_on(wide, batches, iwae=(1, 5, 50)).iwae]
    assert values[0] + 0.1 < values[1] < values[2] < MAXIMUM
    assert values[2] == pytest.approx(MAXIMUM, abs=0.1)


def test_mutual_information_of_a_linear_gaussian(x: Tensor, pair: VAELinear) -> None:
    """The truth is 1/2 log det(I + W^T W / sigma^2); the cap of the estimate is log N = 6.9."""
    truth = float(0.5 * torch.logdet(fit_ppca(x, 3)[0].precision))
    estimate = mutual_information(pair, (x,))
    assert estimate == pytest.approx(truth, abs=0.4)
    assert estimate is not None
    assert estimate < math.log(1000)


def test_sgd_finds_the_maximum(x: Tensor) -> None:
    torch.manual_seed(0)
    pair, rows = VAELinear(x_shape=(10,), z_dim=3), x.float()
    for lr, steps in ((0.05, 1500), (0.01, 1000), (0.002, 500)):
        step = Engine(pair, ELBO(), Optimizer("adam", list(pair.parameters()), lr=lr))
        for _ in range(steps):
            step((rows,), 1.0)
    weight, bias = pair.decoder.weight.detach().double(), pair.decoder.bias.detach().double()
    learned = LinearGaussian(weight, bias, float(pair.log_sigma.detach().exp()))
    assert float(learned.log_prob(x).mean()) == pytest.approx(MAXIMUM, abs=0.005)
    assert float(log_weights(pair, (rows,), 400).mean()) == pytest.approx(MAXIMUM, abs=0.02)


def test_fit_finds_the_maximum(x: Tensor) -> None:
    rows = np.arange(1000)
    data = Data("ppca", {"x": x.float().numpy()}, dict.fromkeys(SPLITS, rows))
    training = {"steps": 1000, "lr": 0.03, "batch_size": 200, "plateau": 15, "patience": 0}
    run = fit("vae-linear", data, config={"z_dim": 3}, training=training)
    result = evaluate_on(run.pair, run.batches(data), iwae=(500,))
    assert result.iwae[0].value == pytest.approx(MAXIMUM, abs=0.02)
