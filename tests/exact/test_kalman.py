"""The Kalman filter and smoother, against the joint Gaussian, and what training makes of it."""

import math

import pytest
import torch
from torch import Tensor

from vaezoo import fit
from vaezoo.data import from_sequences
from vaezoo.exact.kalman import KalmanModel, Moments
from vaezoo.inference.filtering import particle_filter
from vaezoo.models.lgssm import LGSSM
from vaezoo.pairs.accounting import log_weights
from vaezoo.pairs.sites import Args
from vaezoo.sequences.paths import training_form
from vaezoo.testing.sequence_pairs import damped_rotation

ANCHOR = -60.282481


def general() -> KalmanModel:
    """A model with nothing special about it."""
    draw = torch.Generator().manual_seed(3)
    A, C, Q, R, P0, m0, d = (
        torch.randn(*shape, generator=draw, dtype=torch.float64)
        for shape in ((2, 2), (3, 2), (2, 2), (3, 3), (2, 2), (2,), (3,))
    )
    identity = torch.eye(3, dtype=torch.float64)
    Q, P0 = (0.1 * identity[:2, :2] + matrix @ matrix.T for matrix in (Q, P0))
    return KalmanModel(0.6 * A, Q, C, 0.1 * identity + R @ R.T, m0, P0, d)


def joint(model: KalmanModel, num_frames: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Mean and covariance of all z ``(T * L,)``, and the matrices of x given z."""
    T, L = num_frames, len(model.m0)
    # z = lower @ (m0 + noise_1, noise_2, ...), with powers of A below the diagonal
    lower = torch.zeros(T * L, T * L, dtype=torch.float64)
    for t in range(T):
        for s in range(t + 1):
            power = torch.linalg.matrix_power(model.A, t - s)
            lower[t * L : (t + 1) * L, s * L : (s + 1) * L] = power
    noise = torch.block_diag(model.P0, *[model.Q] * (T - 1))
    start = torch.cat([model.m0, torch.zeros(T * L - L)])
    C, R = (torch.block_diag(*[matrix] * T) for matrix in (model.C, model.R))
    return lower @ start, lower @ noise @ lower.T, C, R


def posterior(model: KalmanModel, x: Tensor) -> tuple[float, Tensor, Tensor]:
    """log p(x), and mean and standard deviation ``(T, L)`` of z, of one sequence ``(T, D)``."""
    mean, covariance, C, R = joint(model, len(x))
    d = (torch.zeros(x.shape[1]) + model.d).repeat(len(x))
    marginal = C @ covariance @ C.T + R
    normal = torch.distributions.MultivariateNormal(C @ mean + d, marginal)
    gain = torch.linalg.solve(marginal, C @ covariance).T
    centre = mean + gain @ (x.flatten() - C @ mean - d)
    sd = (covariance - gain @ C @ covariance).diagonal().sqrt()
    shape = (len(x), len(model.m0))
    return float(normal.log_prob(x.flatten())), centre.reshape(shape), sd.reshape(shape)


@pytest.fixture(params=[damped_rotation()[0], general()], ids=["anchor", "general"])
def model(request: pytest.FixtureRequest) -> KalmanModel:
    return request.param


@pytest.fixture
def x() -> Tensor:
    return torch.randn(4, 6, 3, dtype=torch.float64)


LENGTH = torch.tensor([6, 1, 4, 5])


def test_seeded_log_evidence() -> None:
    model, x = damped_rotation()
    assert float(model.log_evidence(x, torch.tensor([20]))) == pytest.approx(ANCHOR, abs=1e-6)


def test_log_evidence_is_that_of_the_joint_gaussian(model: KalmanModel, x: Tensor) -> None:
    log_evidence = model.log_evidence(x, LENGTH)
    exact = [posterior(model, row[:n])[0] for row, n in zip(x, LENGTH, strict=True)]
    torch.testing.assert_close(log_evidence, torch.tensor(exact, dtype=torch.float64))


def test_smoothed_moments_are_those_of_the_joint_gaussian(model: KalmanModel, x: Tensor) -> None:
    moments = model.smoothed(x, LENGTH)
    for row, n in enumerate(LENGTH.tolist()):
        _, mean, sd = posterior(model, x[row, :n])
        torch.testing.assert_close(moments.mean[row, :n], mean)
        torch.testing.assert_close(moments.sd[row, :n], sd)


def test_filtered_moments_are_smoothed_ones_of_what_was_seen(model: KalmanModel, x: Tensor) -> None:
    moments = model.filtered(x, torch.full((4,), 6))
    for t in range(6):
        _, mean, sd = posterior(model, x[0, : t + 1])
        torch.testing.assert_close(moments.mean[0, t], mean[t])
        torch.testing.assert_close(moments.sd[0, t], sd[t])


def test_padding_changes_nothing(model: KalmanModel, x: Tensor) -> None:
    other = torch.where((torch.arange(6) < LENGTH[:, None])[..., None], x, 1e6)
    assert torch.equal(model.log_evidence(other, LENGTH), model.log_evidence(x, LENGTH))
    one, two = model.smoothed(x, LENGTH), model.smoothed(other, LENGTH)
    torch.testing.assert_close(one.mean, two.mean, atol=0, rtol=0, equal_nan=True)


@pytest.mark.parametrize("which", ["filtered", "smoothed"])
def test_moments_behind_the_length_are_nan(model: KalmanModel, x: Tensor, which: str) -> None:
    found: Moments = getattr(model, which)(x, LENGTH)
    behind = torch.arange(6) >= LENGTH[:, None]
    assert torch.equal(found.mean.isnan().all(-1), behind)
    assert torch.equal(found.sd.isnan().all(-1), behind)


def test_single_precision_is_not_passed_on(x: Tensor) -> None:
    model, _ = damped_rotation()
    single = KalmanModel(**{name: value.float() for name, value in vars(model).items()})
    assert single.log_evidence(x.float(), LENGTH).dtype == torch.float64


# A pair that is trained


def simulated(num: int, seed: int = 0) -> list[Tensor]:
    """Sequences of 20 frames from the seeded model."""
    draw, (model, _) = torch.Generator().manual_seed(seed), damped_rotation()
    z = torch.randn(num, 2, generator=draw, dtype=torch.float64)
    frames = []
    for _ in range(20):
        noise = torch.randn(num, 3, generator=draw, dtype=torch.float64)
        frames.append(z @ model.C.T + math.sqrt(0.2) * noise)
        noise = torch.randn(num, 2, generator=draw, dtype=torch.float64)
        z = z @ model.A.T + math.sqrt(0.1) * noise
    return list(torch.stack(frames, 1))


@pytest.fixture(scope="module")
def learned() -> tuple[LGSSM, Args]:
    data = from_sequences([x.float().numpy() for x in simulated(200)])
    training = {"epochs": 100, "batch_size": 50, "lr": 0.03, "plateau": 15, "patience": 0}
    run = fit("lgssm", data, config={"z_dim": 2}, training=training)
    x = run.transform.continuous(torch.stack(simulated(100, seed=1)).float())
    assert isinstance(run.pair, LGSSM)
    return run.pair.eval(), (x, torch.full((100,), 20))


@pytest.mark.slow
def test_learned_elbo_is_close_to_the_evidence(learned: tuple[LGSSM, Args]) -> None:
    """Within 0.05 nats per frame of the Kalman filter with the learned parameters."""
    pair, args = learned
    exact = float(pair.exact().log_evidence(*args).mean()) / 20
    elbo = float(log_weights(training_form(pair), args, 50).mean()) / 20
    assert exact - 0.05 < elbo < exact


@pytest.mark.slow
def test_learned_paths_are_the_smoother(learned: tuple[LGSSM, Args]) -> None:
    """Weighted draws give the moments of the smoother, within 0.1 sd on average."""
    pair, (x, length) = learned
    args = (x[:20], length[:20])
    filtered = particle_filter(pair, args, 2000, threshold=0, keep_paths=True)
    assert filtered.paths is not None
    w, exact = filtered.log_weights.exp()[..., None, None], pair.exact().smoothed(*args)
    mean = (w * filtered.paths).sum(1)
    sd = (w * (filtered.paths - mean.unsqueeze(1)).square()).sum(1).sqrt()
    assert float(((mean - exact.mean).abs() / exact.sd).mean()) < 0.1
    assert float((sd / exact.sd - 1).abs().mean()) < 0.1
