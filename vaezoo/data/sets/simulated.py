"""Data sets that are simulated: the same numbers on every machine, and nothing to download."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vaezoo.data.dataset import Array, Data
from vaezoo.data.splits import consecutive_splits

__all__ = ["OSCILLATORS", "StateSpace", "simulate_oscillators", "simulate_sines"]

_ROWS, _FRAMES = 3000, 15
_LEAST_FRAMES = 8
_DURATION, _NOISE = 5.0, 0.1


class StateSpace(NamedTuple):
    """z_1 ~ N(m0, P0), z_t = A z_{t-1} + N(0, Q), x_t = C z_t + N(0, R): each matrix by its name.

    :class:`vaezoo.exact.kalman.KalmanModel` takes them, and has log p(x) exactly.
    """

    A: NDArray[np.float64]
    Q: NDArray[np.float64]
    C: NDArray[np.float64]
    R: NDArray[np.float64]
    m0: NDArray[np.float64]
    P0: NDArray[np.float64]


def _oscillators(
    periods: Sequence[float] = (12.0, 5.0), damping: float = 0.97, noise: float = 0.3
) -> StateSpace:
    """Return damped rotations of a plane each, whose first coordinates are seen, mixed."""
    angles = 2 * np.pi / np.array(periods)
    A = np.zeros((4, 4))
    for i, angle in enumerate(angles):
        c, s = np.cos(angle), np.sin(angle)
        A[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = damping * np.array([[c, -s], [s, c]])
    C = np.array([[1.0, 0.0, 1.0, 0.0], [1.0, 0.0, -1.0, 0.0]]) / np.sqrt(2)
    # Variances of z are 1 at every step.
    Q = (1 - damping**2) * np.eye(4)
    return StateSpace(A, Q, C, noise**2 * np.eye(2), np.zeros(4), np.eye(4))


OSCILLATORS = _oscillators()


def simulate_sines(paths: Sequence[Path] = ()) -> Data:
    """Return sines of one frequency each, seen through noise at times of their own.

    After the periodic curves of Rubanova et al. 2019 (arXiv:1907.03907, section 5.1):
    x_i = a sin(2 pi f t_i + phi) + 0.1 eps, a from 0.5 to 1.5, f from 0.2 to 0.4, any phase, at 8
    to 15 times from 0 to 5, ``times (N, T)``. The first 2400 are for training, 300 for validation.

    Examples
    --------
    >>> data = simulate_sines()
    >>> data.x.shape, data.arrays["times"].shape
    ((3000, 15, 1), (3000, 15))
    """
    rng = np.random.default_rng(0)
    length = rng.integers(_LEAST_FRAMES, _FRAMES + 1, _ROWS)
    there = np.arange(_FRAMES) < length[:, None]
    # What lies beyond the end is sorted behind all that is there.
    times = np.sort(np.where(there, rng.uniform(0, _DURATION, there.shape), np.inf), 1)
    times = np.where(there, times, 0.0)
    a, f = rng.uniform(0.5, 1.5, (_ROWS, 1)), rng.uniform(0.2, 0.4, (_ROWS, 1))
    phi = rng.uniform(0, 2 * np.pi, (_ROWS, 1))
    x = a * np.sin(2 * np.pi * f * times + phi) + _NOISE * rng.normal(size=times.shape)
    arrays: dict[str, Array] = {
        "x": np.where(there, x, 0.0)[..., None].astype(np.float32),
        "length": length.astype(np.int64),
        "times": times.astype(np.float32),
    }
    return Data("irregular-sines", arrays, consecutive_splits(2400, 300, 300))


def simulate_oscillators(paths: Sequence[Path] = ()) -> Data:
    """Return sequences of a linear Gaussian state space, whose log p(x) is known exactly.

    Two damped oscillators, of periods of 12 and of 5 frames, are seen as their sum and their
    difference through noise of 0.3: ``x (3000, 25, 2)`` of :data:`OSCILLATORS`. Where they are
    going is in no frame, so that a frame says less of the next than all frames before it. The first
    2400 sequences are for training, 300 for validation.

    Examples
    --------
    >>> simulate_oscillators().x.shape
    (3000, 25, 2)
    """
    rng = np.random.default_rng(0)
    A, Q, C, R, _, P0 = OSCILLATORS
    rows, frames = 3000, 25
    z = rng.normal(size=(rows, len(A))) @ np.sqrt(P0)
    x = np.empty((rows, frames, len(C)))
    for t in range(frames):
        if t:
            z = z @ A.T + rng.normal(size=z.shape) @ np.sqrt(Q)
        x[:, t] = z @ C.T + rng.normal(size=(rows, len(C))) @ np.sqrt(R)
    length = np.full(rows, frames, dtype=np.int64)
    arrays: dict[str, Array] = {"x": x.astype(np.float32), "length": length}
    return Data("oscillators", arrays, consecutive_splits(2400, 300, 300))
