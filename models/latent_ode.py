"""The latent ODE: one initial state, and a differential equation that carries it through time.

    p(x, z)  = p(z) prod_i p(x_i | z(t_i)),   z(t_1) = z,   dz/dt = f(z)
    q(z | x) = q(z | h_1),   read from the last frame on:
    h'_i = h_{i+1} + (t_i - t_{i+1}) g(h_{i+1}),   h_i = GRU([x_i, m_i], h'_i)

    f and g have one hidden layer, tanh, and so has the network of p(x_i | .), ReLU

====  =================  ===========================================
site  event shape        meaning
====  =================  ===========================================
z     ``(z_dim,)``       latent: the state at the first frame
x     ``(T, *x_shape)``  observed frames
====  =================  ===========================================

Frames may lie at any times: ``times (B, T)`` is an array of the data beside x, 0, 1, 2, ... where
they have none. Between two frames f is followed by ``num_steps`` steps of the fourth-order method
of Runge and Kutta; only differences of times count. All randomness is in z, so that
a forecast is a longer solution, ``--given times=FILE`` where the data have no times to come.
m_i says which entries of a frame are there; a frame without any leaves h'_i as it is.

Reference
    Rubanova, Chen & Duvenaud 2019, *Latent ODEs for Irregularly-Sampled Time Series*,
    arXiv:1907.03907, eqs. 5-8 and algorithm 1; Chen et al. 2018, *Neural Ordinary Differential
    Equations*, arXiv:1806.07366.

Differs from the paper
    Steps of a fixed number instead of an adaptive solver, and an Euler step in the guide, as in the
    authors' code for short gaps; one hidden layer in f and g; the state of the guide has no
    standard deviation of its own; sigma of p(x_i | .) is learned.
"""

import math
from collections.abc import Callable

import pyro
import torch
from pydantic import PositiveFloat, PositiveInt
from torch import Tensor, nn

from vaezoo import parts, register
from vaezoo.sequences import frame_mask

__all__ = ["LatentODE", "runge_kutta"]


@register(
    "latent-ode",
    data="sequences",
    data_set="irregular-sines",
    reference="arXiv:1907.03907",
    tags=("sequence", "missing"),
    presets={
        "default": {"training": {"lr": 5e-3, "clip_norm": 10.0}},
        "small": {"z_dim": 4, "hidden": 16},
    },
)
class LatentODE(nn.Module):
    """Latent ODE: a state that follows a differential equation, for frames at irregular times."""

    def __init__(
        self,
        *,
        x_shape: tuple[int, ...],
        z_dim: PositiveInt = 8,
        hidden: PositiveInt = 64,
        num_steps: PositiveInt = 1,
        time_scale: PositiveFloat = 1.0,
        likelihood: parts.Likelihood = parts.Gaussian,
        prior: parts.Prior = parts.StandardNormal,
        posterior: parts.Posterior = parts.DiagonalNormal,
    ) -> None:
        super().__init__()
        self.num_steps, self.time_scale = num_steps, time_scale
        self.prior = prior(z_dim)  # p(z)
        self.f = _slope(z_dim, hidden)
        self.decoder = likelihood(parts.Decoder(z_dim, [hidden], x_shape))  # p(x_i | z(t_i))
        self.g = _slope(hidden, hidden)
        self.gru = nn.GRUCell(2 * math.prod(x_shape), hidden)
        self.encoder = posterior(parts.Encoder((hidden,), [hidden]), z_dim)  # q(z | h_1)

    def model(self, x: Tensor, length: Tensor, times: Tensor) -> None:
        """p(z) p(x | z) of ``x (B, T, *x_shape)``, ``length (B,)`` and ``times (B, T)``."""
        there = frame_mask(length, x.shape[1])
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", self.prior())
            states = self.solve(z, self.gaps(times.to(x.dtype), there))
            pyro.sample("x", self.decoder(states).mask(there).to_event(1), obs=x)

    def guide(self, x: Tensor, length: Tensor, times: Tensor) -> None:
        """q(z | x) of ``x (B, T, *x_shape)``, ``length (B,)`` and ``times (B, T)``."""
        there = frame_mask(length, x.shape[1])
        frames, gaps = x.flatten(2), self.gaps(times.to(x.dtype), there)
        seen = ~frames.isnan() & there[..., None]
        read = torch.cat([torch.where(seen, frames, 0.0), seen.to(x.dtype)], -1)
        h = read.new_zeros(len(x), self.gru.hidden_size)
        for t in reversed(range(x.shape[1])):
            h = h - gaps[:, t] * self.g(h)
            h = torch.where(seen[:, t].any(-1, keepdim=True), self.gru(read[:, t], h), h)
        with pyro.plate("data", len(x)):
            pyro.sample("z", self.encoder(h))

    def gaps(self, times: Tensor, there: Tensor) -> Tensor:
        """Return the time from each frame to the next ``(B, T, 1)``, 0 from the last one on."""
        times = times.reshape(there.shape) / self.time_scale
        gaps = torch.where(there[:, 1:], times.diff(dim=1), 0.0)
        return torch.cat([gaps, torch.zeros_like(times[:, :1])], 1).unsqueeze(-1)

    def solve(self, z: Tensor, gaps: Tensor) -> Tensor:
        """Return z(t_i) ``(..., T, z_dim)`` of states ``z (..., z_dim)`` at the first frame."""
        states = [z]
        for gap in gaps.unbind(1)[:-1]:
            states.append(runge_kutta(self.f, states[-1], gap, self.num_steps))
        return torch.stack(states, -2)


def _slope(width: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width, hidden), nn.Tanh(), nn.Linear(hidden, width))


def runge_kutta(
    f: Callable[[Tensor], Tensor], z: Tensor, duration: Tensor, num_steps: int
) -> Tensor:
    """Return where dz/dt = f(z) leads in some time, by the classical method of order 4.

    Parameters
    ----------
    f
        The slope at ``z (..., D)``.
    z
        Where it begins.
    duration
        How long, ``(..., 1)``; of each row its own.
    num_steps
        Steps of equal length. The error falls with their number to the power -4.

    Examples
    --------
    >>> z = runge_kutta(lambda z: -z, torch.ones(1), torch.ones(1), 10)
    >>> f"{z.item():.5f}"  # exp(-1)
    '0.36788'
    """
    h = duration / num_steps
    for _ in range(num_steps):
        first = f(z)
        second = f(z + h / 2 * first)
        third = f(z + h / 2 * second)
        fourth = f(z + h * third)
        z = z + h / 6 * (first + 2 * second + 2 * third + fourth)
    return z
