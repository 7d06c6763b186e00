"""A particle filter of pairs with one site for all frames, against exact answers."""

import math
from contextlib import ExitStack

import numpy as np
import pyro
import pytest
import torch
from pyro.distributions import GaussianHMM, MultivariateNormal, Normal
from torch import Tensor, nn

from vaezoo.exact.kalman import KalmanModel
from vaezoo.inference.filtering import free_running, particle_filter
from vaezoo.pairs.lengths import frame_mask
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import sample_sites, trace_pair
from vaezoo.sequences.frames import density_of_frame
from vaezoo.sequences.sequence_pair import Side

A, Q, R = 0.8, 0.3, 0.5
LENGTH = torch.tensor([8, 3, 6])
X = torch.randn(3, 8, 1, generator=torch.Generator().manual_seed(1))


def kalman(noise: float = R) -> KalmanModel:
    """z_1 ~ N(0, Q / (1 - A^2)), z_t ~ N(A z_{t-1}, Q), x_t ~ N(z_t, noise)."""
    at = [[[A]], [[Q]], [[1.0]], [[noise]], [0.0], [[Q / (1 - A**2)]]]
    return KalmanModel(*(torch.tensor(np.array(value), dtype=torch.float64) for value in at))


def covariance(number: int) -> Tensor:
    """Of z_1 ... z_T."""
    t = torch.arange(number)
    return Q / (1 - A**2) * A ** (t[:, None] - t).abs()


class Process(nn.Module):
    """z is one normal over time; the guide is p(z | x), exactly, also one normal."""

    def model(self, x: Tensor, length: Tensor) -> None:
        there = frame_mask(length, x.shape[1])
        with pyro.plate("data", len(x)):
            prior = MultivariateNormal(torch.zeros(x.shape[:2]), self.prior(there))
            z = pyro.sample("z", prior)
            fn = Normal(z.unsqueeze(-1), math.sqrt(R)).to_event(1)
            pyro.sample("x", fn.mask(there).to_event(1), obs=x)

    def prior(self, there: Tensor) -> Tensor:
        both = there[:, :, None] & there[:, None, :]
        return torch.where(both, covariance(there.shape[1]), torch.eye(there.shape[1]))

    def guide(self, x: Tensor, length: Tensor) -> None:
        there = frame_mask(length, x.shape[1])
        with pyro.plate("data", len(x)):
            precision = torch.linalg.inv(self.prior(there)) + torch.diag_embed(there / R)
            both = torch.linalg.inv(precision)
            mean = (both @ torch.where(there[..., None], x, 0.0) / R)[..., 0]
            pyro.sample("z", MultivariateNormal(mean, (both + both.mT) / 2))


class Innovations(nn.Module):
    """The site holds what drives the state, independent over time: z_t = A z_{t-1} + e_t."""

    def model(self, x: Tensor, length: Tensor) -> None:
        there = frame_mask(length, x.shape[1])
        with pyro.plate("data", len(x)):
            e = pyro.sample(
                "z", Normal(torch.zeros_like(x), 1.0).to_event(1).mask(there).to_event(1)
            )
            z = [math.sqrt(Q / (1 - A**2)) * e[:, 0]]
            for t in range(1, x.shape[1]):
                z.append(A * z[-1] + math.sqrt(Q) * e[:, t])
            fn = Normal(torch.stack(z, 1), math.sqrt(R)).to_event(1)
            pyro.sample("x", fn.mask(there).to_event(1), obs=x)

    def guide(self, x: Tensor, length: Tensor) -> None:
        there = frame_mask(length, x.shape[1])
        with pyro.plate("data", len(x)):
            fn = Normal(0.3 * x, 0.9).to_event(1)
            pyro.sample("z", fn.mask(there).to_event(1))


class Plates(nn.Module):
    """The same with a plate over time."""

    def model(self, x: Tensor, length: Tensor) -> None:
        with self._frames(x, length):
            e = pyro.sample("z", Normal(torch.zeros(x.shape[:2]), 1.0))
            z = [math.sqrt(Q / (1 - A**2)) * e[:, 0]]
            for t in range(1, x.shape[1]):
                z.append(A * z[-1] + math.sqrt(Q) * e[:, t])
            fn = Normal(torch.stack(z, 1).unsqueeze(-1), math.sqrt(R))
            pyro.sample("x", fn.to_event(1), obs=x)

    def guide(self, x: Tensor, length: Tensor) -> None:
        with self._frames(x, length):
            pyro.sample("z", Normal(0.3 * x[..., 0], 0.9))

    def _frames(self, x: Tensor, length: Tensor) -> ExitStack:
        stack = ExitStack()
        stack.enter_context(pyro.plate("data", len(x), dim=-2))
        stack.enter_context(pyro.plate("time", x.shape[1], dim=-1))
        there = frame_mask(length, x.shape[1])
        stack.enter_context(pyro.poutine.mask(mask=there))  # type: ignore[call-overload]
        return stack


class Markov(nn.Module):
    """z is a hidden Markov model of normal states over all frames, of no padding; x is near it."""

    def model(self, x: Tensor, length: Tensor) -> None:
        one = torch.eye(1)
        start = MultivariateNormal(torch.zeros(1), one * Q / (1 - A**2))
        moves = MultivariateNormal(torch.zeros(1), one * Q)
        noise = MultivariateNormal(torch.zeros(1), one * 0.2)
        with pyro.plate("data", len(x)):
            fn = GaussianHMM(start, A * one, moves, one, noise, duration=x.shape[1])
            z = pyro.sample("z", fn)
            pyro.sample("x", Normal(z, math.sqrt(R)).to_event(2), obs=x)

    def guide(self, x: Tensor, length: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", Normal(0.5 * x, 0.8).to_event(2))


def test_a_path_with_an_exact_guide_gives_every_particle_the_same_weight() -> None:
    filtered = particle_filter(Process(), (X, LENGTH), 5, threshold=0)
    exact = kalman().log_evidence(X.double(), LENGTH)
    torch.testing.assert_close(filtered.log_evidence.double(), exact, rtol=0.0, atol=1e-3)


@pytest.mark.parametrize("proposal", ["posterior", "prior"])
@pytest.mark.parametrize("pair", [Process(), Innovations(), Plates()])
def test_the_evidence_of_a_path_is_that_of_the_kalman_filter(
    pair: nn.Module, proposal: Side
) -> None:
    """20,000 particles, an error of about 0.01 nats: failure rate below 1e-6."""
    torch.manual_seed(0)
    filtered = particle_filter(pair, (X, LENGTH), 20_000, proposal=proposal)
    exact = kalman().log_evidence(X.double(), LENGTH)
    torch.testing.assert_close(filtered.log_evidence.double(), exact, rtol=0.0, atol=0.1)


@pytest.mark.parametrize("proposal", ["posterior", "prior"])
def test_the_evidence_of_a_hidden_markov_model(proposal: Side) -> None:
    """x_t given the states has the noise of both; 20,000 particles, as above."""
    torch.manual_seed(0)
    length = torch.full((3,), 8)
    filtered = particle_filter(Markov(), (X, length), 20_000, proposal=proposal)
    exact = _evidence_after_a_move(X.double())
    torch.testing.assert_close(filtered.log_evidence.double(), exact, rtol=0.0, atol=0.1)


def _evidence_after_a_move(x: Tensor) -> Tensor:
    """Of Pyro's model, whose first frame comes after a first move."""
    model = kalman(R + 0.2)
    return model.log_evidence(x, torch.full((len(x),), x.shape[1]))  # its start is stationary


def test_filtered_moments_of_a_path_are_those_of_the_kalman_filter() -> None:
    """Mean and deviation at every frame, within 0.05 of 20,000 particles."""
    torch.manual_seed(0)
    filtered = particle_filter(Process(), (X, LENGTH), 20_000, proposal="prior")
    exact, there = kalman().filtered(X.double(), LENGTH), frame_mask(LENGTH, 8)
    for ours, theirs in ((filtered.mean, exact.mean), (filtered.sd, exact.sd)):
        torch.testing.assert_close(ours[there].double(), theirs[there], rtol=0.0, atol=0.05)


def test_a_model_of_a_path_by_itself() -> None:
    """log p(x_6 | x_1 ... x_4) of a normal over time; 20,000 particles, within 0.05 nats."""
    torch.manual_seed(0)
    x, joint = X[:1, :6], covariance(6) + R * torch.eye(6)
    alone = free_running(Process(), (x, torch.tensor([6])), 20_000, prefix=4)
    seen, last = x[0, :4, 0], joint[5, :4]
    weights = torch.linalg.solve(joint[:4, :4], last)
    exact = Normal(weights @ seen, (joint[5, 5] - weights @ last).sqrt()).log_prob(x[0, 5, 0])
    assert abs(float(alone[0, 5]) - float(exact)) < 0.05


@pytest.mark.parametrize("pair", [Process(), Innovations(), Plates(), Markov()])
def test_the_frames_of_a_path_add_up_to_its_density(pair: nn.Module) -> None:
    trace = trace_pair(pair, (X, torch.full((3,), 8)))
    for site in sample_sites(trace.model).values():
        frames = torch.stack([density_of_frame(site, 1, t) for t in range(8)]).sum(0)
        torch.testing.assert_close(frames, log_density(site), rtol=1e-4, atol=1e-3)
