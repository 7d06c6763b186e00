"""The latent ODE against linear equations, whose solutions are known."""

import pytest
import torch
from pyro.distributions import MultivariateNormal, Normal, TorchDistribution
from torch import Tensor, nn

from vaezoo.config import build_model
from vaezoo.models.latent_ode import LatentODE, runge_kutta
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import run_guide, trace_pair
from vaezoo.registry import get_model

A = torch.tensor([[-0.2, 1.5], [-1.1, 0.1]]).double()
C, SIGMA = torch.tensor([[0.7, -0.4, 1.0], [0.2, 0.9, -0.3]]).double(), 0.5
LENGTH = torch.tensor([5, 3, 1])
TIMES = torch.tensor(
    [[0.3, 0.4, 1.3, 1.5, 2.9], [7.0, 8.5, 8.6, 0.0, 0.0], [2.0, 9.0, 9.0, 9.0, 9.0]]
).double()


class Linear(nn.Module):
    """dz/dt = A z."""

    def forward(self, z: Tensor) -> Tensor:
        return z @ A.T


class Emission(nn.Module):
    """x = C z + noise."""

    def forward(self, z: Tensor) -> TorchDistribution:
        return Normal(z @ C, SIGMA).to_event(1)


@pytest.fixture
def pair() -> LatentODE:
    torch.manual_seed(0)
    made = build_model(get_model("latent-ode"), {"z_dim": 2, "hidden": 6, "num_steps": 30}, (3,))
    assert isinstance(made, LatentODE)
    return made.double()


@pytest.fixture
def linear(pair: LatentODE) -> LatentODE:
    pair.f, pair.decoder = Linear(), Emission()  # type: ignore[assignment]
    return pair


@pytest.fixture
def x() -> Tensor:
    return torch.randn(3, 5, 3, generator=torch.Generator().manual_seed(1)).double()


def flow(since: Tensor) -> Tensor:
    """exp(A t) of times ``(...,)``."""
    return torch.linalg.matrix_exp(A * since[..., None, None])


def test_error_falls_with_the_fourth_power_of_the_steps() -> None:
    z, duration = torch.tensor([1.0, -0.5]).double(), torch.tensor([2.0]).double()
    exact = flow(duration[0]) @ z
    errors = [(runge_kutta(Linear(), z, duration, n) - exact).norm() for n in (10, 20, 40)]
    for more, fewer in zip(errors[1:], errors[:-1], strict=True):
        assert 15 < float(fewer / more) < 17


def test_states_lie_on_the_solution_at_the_times_of_the_frames(linear: LatentODE) -> None:
    z = torch.tensor([[1.0, -0.5]]).double()
    states = linear.solve(z, linear.gaps(TIMES[:1], torch.ones(1, 5) > 0))
    exact = flow(TIMES[0] - TIMES[0, 0]) @ z[0]
    torch.testing.assert_close(states[0], exact, rtol=1e-5, atol=1e-6)


def test_density_is_that_of_the_linear_gaussian_model(linear: LatentODE, x: Tensor) -> None:
    """log p(x, z) - log p(z | x) is log p(x), whatever z is."""
    z = torch.tensor([[0.3, -1.2], [1.0, 0.5], [-0.7, 2.0]]).double()
    with hold({"z": z}):
        trace = trace_pair(linear, (x, LENGTH, TIMES))
    p, _ = trace.latents["z"]
    joint = log_density(p) + log_density(trace.observed["x"])
    for b, n in enumerate(LENGTH.tolist()):
        W = (C.T @ flow(TIMES[b, :n] - TIMES[b, 0])).flatten(0, 1)  # x = W z + noise
        row = x[b, :n].flatten()
        precision = torch.eye(2) + W.T @ W / SIGMA**2
        mean = torch.linalg.solve(precision, W.T @ row) / SIGMA**2
        posterior = MultivariateNormal(mean, precision_matrix=precision).log_prob(z[b])
        evidence = MultivariateNormal(
            torch.zeros(len(row)).double(), W @ W.T + SIGMA**2 * torch.eye(len(row))
        ).log_prob(row)
        torch.testing.assert_close(joint[b] - posterior, evidence, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("more", [0, 2])
def test_frames_and_times_beyond_the_end_change_nothing(
    pair: LatentODE, x: Tensor, more: int
) -> None:
    beyond = torch.arange(5) >= LENGTH[:, None]
    other_x = torch.where(beyond[..., None], 9.0, x)
    other_x = torch.cat([other_x, torch.ones(3, more, 3)], 1)
    other_times = torch.cat([torch.where(beyond, -4.0, TIMES), torch.ones(3, more)], 1)
    results = []
    for args in ((x, LENGTH, TIMES), (other_x, LENGTH, other_times)):
        torch.manual_seed(2)
        elbo = elbo_terms(pair, args).elbo
        results.append((elbo, torch.autograd.grad(elbo.sum(), list(pair.parameters()))))
    torch.testing.assert_close(results[1], results[0])


def test_only_differences_of_times_count(pair: LatentODE, x: Tensor) -> None:
    elbos = []
    for times in (TIMES, TIMES + 100.0):
        torch.manual_seed(2)
        elbos.append(elbo_terms(pair, (x, LENGTH, times)).elbo)
    torch.testing.assert_close(*elbos)


def test_a_frame_without_entries_is_skipped_by_the_guide(pair: LatentODE, x: Tensor) -> None:
    """Where its state stands still between frames, it is as if the frame were not there."""
    nn.init.zeros_(pair.g[-1].weight)
    nn.init.zeros_(pair.g[-1].bias)
    incomplete, length = x.clone(), torch.full((3,), 5)
    incomplete[:, 2] = torch.nan
    keep = [0, 1, 3, 4]
    first = run_guide(pair, (incomplete, length, TIMES)).nodes["z"]["fn"].mean
    second = run_guide(pair, (x[:, keep], length - 1, TIMES[:, keep])).nodes["z"]["fn"].mean
    torch.testing.assert_close(first, second)


def test_the_guide_looks_at_the_times(pair: LatentODE, x: Tensor) -> None:
    first, second = (
        run_guide(pair, (x, LENGTH, times)).nodes["z"]["fn"].mean for times in (TIMES, 2 * TIMES)
    )
    assert bool((first[:2] != second[:2]).any(1).all())
