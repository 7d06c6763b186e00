"""Small sequence pairs whose log p(x) and posterior are known exactly; see ``pairs`` beside it.

=========================  ==================================================================
pair                       what is exact
=========================  ==================================================================
:class:`KalmanPair`        linear-Gaussian state space; its guide is the exact posterior
:class:`LinearRecurrence`  a state that frames and latents drive; moments of all frames
=========================  ==================================================================
"""

import numpy as np
import torch
from pyro import distributions as dist
from pyro.distributions import TorchDistribution
from torch import Tensor

from vaezoo.exact.kalman import KalmanModel
from vaezoo.sequences.sequence_pair import SequencePair

__all__ = ["KalmanPair", "LinearRecurrence", "damped_rotation"]


def damped_rotation() -> tuple[KalmanModel, Tensor]:
    """Return a model with two latents that turn, and a sequence of it, ``(1, 20, 3)``.

    log p(x) of the sequence is -60.282481 nats.
    """
    random = np.random.RandomState(1)
    A = np.array([[0.9, 0.2], [-0.2, 0.9]])
    C = random.randn(3, 2)
    z = random.randn(2)
    x = [C @ z + np.sqrt(0.2) * random.randn(3)]
    for _ in range(19):
        z = A @ z + np.sqrt(0.1) * random.randn(2)
        x.append(C @ z + np.sqrt(0.2) * random.randn(3))
    matrices = (A, 0.1 * np.eye(2), C, 0.2 * np.eye(3), np.zeros(2), np.eye(2))
    return KalmanModel(*map(torch.from_numpy, matrices)), torch.from_numpy(np.stack(x))[None]


class KalmanPair(SequencePair):
    """The pair of a Kalman model whose guide is the exact q(z_t | z_{t-1}, x_t ... x_s).

    ``kalman.log_evidence`` and ``kalman.smoothed`` are its answers. The state is (z_{t-1}, t).

    Parameters
    ----------
    kalman
        The model.
    look_ahead
        Whether the guide reads to the end of the sequence, s = T: the product of all steps is then
        the posterior. Without it s = t, the best proposal for a filter.
    shift
        What is added to the mean of the guide, to spoil it.
    """

    def __init__(self, kalman: KalmanModel, *, look_ahead: bool = True, shift: float = 0.0) -> None:
        super().__init__()
        self.kalman, self.look_ahead, self.shift = kalman, look_ahead, shift
        self.dim = len(kalman.m0)
        self.hidden = self.dim + 1

    def encode(self, x: Tensor, length: Tensor) -> Tensor:
        """Return what the frames from t on say about z_t: exp(eta z - 1/2 z Lambda z)."""
        kalman, identity = self.kalman, torch.eye(self.dim, dtype=torch.float64)
        gain = torch.linalg.solve(kalman.R, kalman.C).T
        precision = torch.zeros_like(identity).expand(len(x), -1, -1)
        eta = x.new_zeros(len(x), self.dim)
        steps = []
        for t in reversed(range(x.shape[1])):
            # from z_{t+1} to z_t through the transition
            back = kalman.A.T @ torch.linalg.inv(identity + precision @ kalman.Q)
            there = (t + 1 < length) & self.look_ahead
            eta = torch.where(there[:, None], (back @ eta[..., None])[..., 0], 0.0)
            precision = torch.where(there[:, None, None], back @ precision @ kalman.A, 0.0)
            eta, precision = eta + (x[:, t] - kalman.d) @ gain.T, precision + gain @ kalman.C
            steps.append(torch.cat([eta, precision.flatten(1)], -1))
        return torch.stack(steps[::-1], 1)

    def prior(self, h: Tensor) -> TorchDistribution:
        """Return p(z_t | z_{t-1})."""
        started = h[:, -1:] > 0
        loc = torch.where(started, h[:, :-1] @ self.kalman.A.T, self.kalman.m0)
        covariance = torch.where(started[..., None], self.kalman.Q, self.kalman.P0)
        return dist.MultivariateNormal(loc, covariance)

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """Return q(z_t | z_{t-1}, x_t ... x_s), the prior times what the frames say."""
        eta, ahead = e[:, : self.dim], e[:, self.dim :].unflatten(1, (self.dim, self.dim))
        prior = self.prior(h)
        covariance = torch.linalg.inv(prior.precision_matrix + ahead)
        natural = (prior.precision_matrix @ prior.loc[..., None])[..., 0] + eta
        loc = (covariance @ natural[..., None])[..., 0]
        return dist.MultivariateNormal(loc + self.shift, covariance)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """Return p(x_t | z_t)."""
        return dist.MultivariateNormal(z @ self.kalman.C.T + self.kalman.d, self.kalman.R)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """Return (z_t, t + 1)."""
        return torch.cat([z, h[:, -1:] + 1], -1)


class LinearRecurrence(SequencePair):
    """z_t ~ N(a h, 1), x_t ~ N(z_t + b h, sigma^2), h' = c h + d x_t + e z_t, of one element.

    All frames together are Gaussian with mean zero and :meth:`covariance`. The guide
    ``q(z_t | x_t) = N(0.5 x_t + 0.1, 1.2^2)`` is wrong on purpose.

    Parameters
    ----------
    a, b, c, d, e
        What the state gives to latent and frame, and what they and the state give to the next.
    sigma
        Standard deviation of the noise.
    """

    hidden = 1

    def __init__(
        self,
        *,
        a: float = 0.6,
        b: float = -0.3,
        c: float = 0.5,
        d: float = 0.8,
        e: float = 0.4,
        sigma: float = 0.5,
    ) -> None:
        super().__init__()
        self.a, self.b, self.c, self.d, self.e, self.sigma = a, b, c, d, e, sigma

    def covariance(self, num_frames: int) -> Tensor:
        """Return the covariance of the frames, ``(T, T)`` in float64."""
        units = torch.eye(2 * num_frames, dtype=torch.float64).unflatten(0, (num_frames, 2))
        h, effects = units.new_zeros(2 * num_frames), []
        for of_z, of_x in units:  # what each unit of noise adds to each frame
            z = self.a * h + of_z
            x = z + self.b * h + self.sigma * of_x
            h = self.c * h + self.d * x + self.e * z
            effects.append(x)
        effect = torch.stack(effects)
        return effect @ effect.T

    def log_evidence(self, x: Tensor, length: Tensor) -> Tensor:
        """Return log p(x) in nats, ``(B,)`` in float64, of ``x (B, T, 1)``."""
        covariance = self.covariance(x.shape[1])
        rows = zip(x[..., 0].double(), length.tolist(), strict=True)
        return torch.stack([_log_normal(row[:n], covariance[:n, :n]) for row, n in rows])

    def prior(self, h: Tensor) -> TorchDistribution:
        """Return p(z_t | h)."""
        return dist.Normal(self.a * h, 1.0).to_event(1)

    def posterior(self, e: Tensor, h: Tensor) -> TorchDistribution:
        """Return q(z_t | x_t)."""
        return dist.Normal(0.5 * e + 0.1, 1.2).to_event(1)

    def likelihood(self, z: Tensor, h: Tensor) -> TorchDistribution:
        """Return p(x_t | z_t, h)."""
        return dist.Normal(z + self.b * h, self.sigma).to_event(1)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        """Return the next state."""
        return self.c * h + self.d * f + self.e * z


def _log_normal(x: Tensor, covariance: Tensor) -> Tensor:
    return dist.MultivariateNormal(torch.zeros_like(x), covariance).log_prob(x)
