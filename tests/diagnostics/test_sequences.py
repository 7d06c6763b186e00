"""Verdicts on sequences, and the paths that they promise, against exact smoothing."""

import math

import pytest
import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor

from vaezoo.diagnostics.sequences import SequenceCheck, check_sequences
from vaezoo.exact.kalman import KalmanModel, Moments
from vaezoo.inference.filtering import draw_paths
from vaezoo.models.lgssm import LGSSM
from vaezoo.pairs.sites import Args
from vaezoo.sequences.sequence_pair import SequencePair
from vaezoo.testing.sequence_pairs import KalmanPair, damped_rotation

TRUSTED, REPAIRED = 0, 1


def copies(number: int) -> Args:
    """Return the sequence of the Kalman model several times, half of them cut."""
    x = damped_rotation()[1].expand(number, -1, -1)
    return x, torch.tensor([20, 10] * (number // 2))


def off(paths: Tensor, exact: Moments) -> tuple[Tensor, Tensor]:
    """Return the largest shift in sds, and log ratio of sds, of paths, ``(B,)``."""
    shift = ((paths.double().mean(0) - exact.mean) / exact.sd).abs()
    ratio = (paths.double().std(0) / exact.sd).log().abs()
    shift, ratio = (values.nan_to_num().flatten(1).amax(1) for values in (shift, ratio))
    return shift, ratio


def other_weights(seed: int, num_frames: int) -> tuple[LGSSM, Args, Moments, Tensor]:
    """Return a pair whose guide is not trained, data of its model, and the exact answers."""
    torch.manual_seed(seed)
    pair = LGSSM(x_shape=(3,), z_dim=2)
    exact, x = pair.exact(), torch.zeros(4, num_frames, 3, dtype=torch.float64)
    z = torch.randn(4, 2, dtype=torch.float64)
    for t in range(num_frames):
        x[:, t] = z @ exact.C.T + exact.d + torch.randn(4, 3) @ exact.R.sqrt().float()
        z = z @ exact.A.T + torch.randn(4, 2) @ exact.Q.sqrt().float()
    args = x.float(), torch.full((4,), num_frames)
    return pair, args, exact.smoothed(*args), exact.log_evidence(*args)


def test_exact_guide_is_trusted() -> None:
    """Without a failure for 30 seeds: below 5 %."""
    check = check_sequences(KalmanPair(damped_rotation()[0]), copies(4))
    assert check.verdicts == ["trusted"] * 4


@pytest.mark.parametrize("num_frames", [5, 20])
def test_repaired_paths_are_those_of_the_smoother(num_frames: int) -> None:
    """Wrong in none of 200 repaired sequences: below 2 % for the four here.

    Log p(x) by the filters is off by 0.07 nats or so where they agree within 0.2.
    """
    pair, args, smoothed, log_evidence = other_weights(0, num_frames)
    check = check_sequences(pair, args)
    repaired = check.verdict == REPAIRED
    assert bool(repaired.any())
    shift, ratio = off(check.draws["z"], smoothed)
    assert float(shift[repaired].max()) < 0.3
    assert float(ratio[repaired].max()) < math.log(1.3)
    assert float((check.log_evidence - log_evidence)[repaired].abs().max()) < 0.3


@pytest.mark.parametrize("shift", [0.5, 3.0])
def test_shifted_guide_is_not_trusted(shift: float) -> None:
    check = check_sequences(KalmanPair(damped_rotation()[0], shift=shift), copies(2))
    assert bool((check.verdict != TRUSTED).all())


def test_few_particles_for_a_hard_sequence_are_not_trusted() -> None:
    """Four filters of 50 and of 400 particles do not agree about 80 frames within 0.2 nats."""
    pair, args, *_ = other_weights(1, 80)
    check = check_sequences(pair, args, num_particles=50)
    assert "repaired" not in check.verdicts
    assert float(check.difference.min()) > 0.2


class Squares(SequencePair):
    """z_t ~ N(0, 1), x_t ~ N(z_t^2, 0.2), and a guide that knows the positive root alone."""

    hidden = 1

    def prior(self, h: Tensor) -> TorchDistribution:
        """p(z_t)."""
        return dist.Normal(torch.zeros_like(h), 1.0).to_event(1)

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | x_t)."""
        return dist.Normal(e.clamp(min=0.1).sqrt(), 0.1).to_event(1)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """p(x_t | z_t)."""
        return dist.Normal(z.square(), 0.2).to_event(1)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """Nothing is remembered."""
        return torch.zeros_like(h)


@pytest.fixture(scope="module")
def squares() -> SequenceCheck:
    return check_sequences(Squares(), (torch.ones(2, 4, 1), torch.tensor([4, 3])))


def test_mode_that_the_guide_never_proposes_is_missed(squares: SequenceCheck) -> None:
    """By log 2 at each frame."""
    missed = squares.log_evidence - torch.maximum(squares.iwae, squares.fivo)
    assert float((missed - math.log(2) * squares.length).abs().max()) < 0.4
    assert bool((squares.verdict != TRUSTED).all())


def test_paths_have_both_modes(squares: SequenceCheck) -> None:
    """400 paths, of which 250 count: 0.15 is more than 4 standard errors."""
    share = (squares.draws["z"][:, 0] > 0).double().mean(0)
    assert float((share - 0.5).abs().max()) < 0.15


class Integrator(SequencePair):
    """s_t = 0.8 s_{t-1} + z_t, x_t ~ N(s_t, 0.5), z_t ~ N(0, 1): s_t has heard all z."""

    hidden = 1

    def prior(self, h: Tensor) -> TorchDistribution:
        """p(z_t)."""
        return dist.Normal(torch.zeros_like(h), 1.0).to_event(1)

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """q(z_t | x_t, h_t), too wide."""
        return dist.Normal(0.5 * (e - 0.8 * h), 1.0).to_event(1)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """p(x_t | z_t, h_t)."""
        return dist.Normal(0.8 * h + z, 0.5).to_event(1)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """s_t."""
        return 0.8 * h + z


def test_paths_of_a_state_that_remembers_are_those_of_the_smoother() -> None:
    """The mean of all z, by that of s; 800 paths: 0.25 is more than 4 standard errors."""
    one = torch.eye(1)
    kalman = KalmanModel(A=0.8 * one, Q=one, C=one, R=0.25 * one, m0=torch.zeros(1), P0=one)
    torch.manual_seed(0)
    args = torch.randn(1, 30, 1).cumsum(1) * 0.7, torch.tensor([30])
    _, paths, _ = draw_paths(Integrator(), args, 2000, 800)
    s = kalman.smoothed(*args).mean
    z = s - 0.8 * torch.cat([torch.zeros(1, 1, 1), s[:, :-1]], 1)
    assert float((paths.mean(0) - z).abs().max()) < 0.25
