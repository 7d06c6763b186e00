"""How many latents can be in use: the rule against optima that are found without it."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from vaezoo import fit
from vaezoo.config import build_model
from vaezoo.data import from_arrays
from vaezoo.models.vae import VAEBernoulli, VAEGaussian
from vaezoo.models.vae_linear import VAELinear
from vaezoo.models.vae_priors import VampPriorVAE
from vaezoo.observations.spectrum import active_units, spectrum_of
from vaezoo.observations.usable import usable_latents

SETTINGS = [(1.0, 1.0, 3), (1.0, 9.0, 2), (9.0, 1.0, 2), (4.0, 2.25, 2), (15.0, 1.0, 1)]


@pytest.fixture(scope="module")
def rows() -> Tensor:
    """Rows whose covariance has the eigenvalues 16.43, 14.73, 8.53, and seven around 0.25."""
    draw = np.random.RandomState(0)
    weight, mean, z = draw.randn(10, 3), draw.randn(10), draw.randn(1000, 3)
    return torch.tensor(z @ weight.T + mean + 0.5 * draw.randn(1000, 10))


def objective(parameters: list[Tensor], x: Tensor, beta: float, variance: Tensor | float) -> Tensor:
    """Return minus the ELBO with beta of a linear pair with a diagonal guide, in closed form."""
    weight, encoder, log_s = parameters[:3]
    mean = x @ encoder.T
    s2 = (2 * log_s).exp()
    error = (x - mean @ weight.T).square().sum(1) + (weight.square() * s2).sum()
    log_variance = torch.as_tensor(variance).log() + math.log(2 * math.pi)
    kl = 0.5 * (s2 + mean.square() - 1 - s2.log()).sum(1)
    return (0.5 * (x.shape[1] * log_variance + error / variance) + beta * kl).mean()


def at_optimum(x: Tensor, beta: float, variance: float | None) -> tuple[int, float]:
    """Return the active units (Burda et al. 2016) of five, and beta sigma^2, by L-BFGS."""
    generator = torch.Generator().manual_seed(0)
    x = x - x.mean(0)
    shapes = [(10, 5), (5, 10), (5,), ()]
    parameters = [0.1 * torch.randn(s, dtype=x.dtype, generator=generator) for s in shapes]
    parameters = [p.requires_grad_() for p in parameters]
    search = torch.optim.LBFGS(parameters, max_iter=1500, line_search_fn="strong_wolfe")

    def sigma2() -> Tensor | float:
        return (2 * parameters[3]).exp() if variance is None else variance

    def closure() -> Tensor:
        search.zero_grad()
        loss = objective(parameters, x, beta, sigma2())
        loss.backward()
        return loss

    search.step(closure)
    with torch.no_grad():
        active = (x @ parameters[1].T).var(0) > 0.01
        return int(active.sum()), beta * float(sigma2())


@pytest.mark.parametrize(("beta", "variance", "count"), SETTINGS)
def test_active_units_of_the_linear_pair(
    rows: Tensor, beta: float, variance: float, count: int
) -> None:
    """Five of five: the count of eigenvalues above beta sigma^2."""
    number, _ = active_units(spectrum_of(rows, 5), 5, beta=beta, variance=variance)
    assert number == at_optimum(rows, beta, variance)[0] == count


@pytest.mark.parametrize("beta", [1.0, 1.5, 4.0])
def test_active_units_where_sigma_is_learned(rows: Tensor, beta: float) -> None:
    number, threshold = active_units(spectrum_of(rows, 5), 5, beta=beta)
    found, least = at_optimum(rows, beta, None)
    assert number == found
    assert threshold == pytest.approx(least, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("beta", "variance", "count"), SETTINGS[:4])
def test_active_units_of_a_trained_pair(
    rows: Tensor, beta: float, variance: float, count: int
) -> None:
    everything = np.arange(1000)
    splits = {"train": everything, "validation": everything[:100], "test": everything[:100]}
    data = from_arrays(rows.numpy().astype(np.float32), splits=splits)
    run = fit(
        "vae-gaussian",
        data,
        data_settings={"standardize": False},
        config={"hidden": [], "z_dim": 5, "likelihood": {"sigma": f"fixed:{variance**0.5}"}},
        training={"steps": 500, "batch_size": 1000, "lr": 0.03, "beta": beta},
    )
    assert run.metrics[-1]["train"]["active_units"] == count


def test_the_largest_of_many_eigenvalues() -> None:
    """Of more elements than are taken apart, those that are far above the rest."""
    x = torch.randn(300, 2000, generator=torch.Generator().manual_seed(0))
    x[:, 0] *= 300
    x[:, 1] *= 100
    centred = x.double() - x.double().mean(0)
    exact = torch.linalg.svdvals(centred)[:2].square() / 300
    assert spectrum_of(x, 2).eigenvalues == pytest.approx(exact.tolist(), rel=1e-9)


def test_independent_bits_have_a_correlation_of_one() -> None:
    bits = (torch.rand(20_000, 5, generator=torch.Generator().manual_seed(0)) < 0.3).float()
    values = spectrum_of(bits, 5, is_binary=True).eigenvalues
    assert values == pytest.approx([1.0] * 5, abs=0.1)  # 7 standard errors


def test_a_pixel_that_never_varies_counts_nothing() -> None:
    assert spectrum_of(torch.zeros(9, 3), 2, is_binary=True).eigenvalues == (0.0, 0.0, 0.0)


@pytest.mark.parametrize(("hidden", "is_exact"), [([], True), ([16], False)])
def test_which_decoder_is_linear(rows: Tensor, hidden: list[int], is_exact: bool) -> None:
    config = {"hidden": hidden, "likelihood": {"sigma": "fixed:2"}}
    usable = usable_latents(build_model(VAEGaussian, config, (10,)), (rows.float(),), beta=1.0)
    assert usable is not None
    assert (usable.is_exact, usable.variance) == (is_exact, 4.0)


def test_a_learned_sigma_is_no_fixed_one(rows: Tensor) -> None:
    usable = usable_latents(VAELinear(x_shape=(10,)), (rows.float(),), beta=4.0)
    assert usable is not None
    assert (usable.number, usable.variance, usable.is_exact) == (0, None, True)


def test_no_rule_for_other_priors_and_forms_of_sigma(rows: Tensor) -> None:
    bits = (rows > 0).float()
    assert usable_latents(VampPriorVAE(x_shape=(10,), hidden=(8,)), (bits,), beta=4.0) is None
    assert usable_latents(VAEGaussian(x_shape=(10,)), (rows.float(),), beta=4.0) is None


def test_bits_have_a_heuristic(rows: Tensor) -> None:
    usable = usable_latents(VAEBernoulli(x_shape=(10,), z_dim=5), ((rows > 0).float(),), beta=1.0)
    assert usable is not None
    assert not usable.is_exact
    assert 0 < usable.number < 5
