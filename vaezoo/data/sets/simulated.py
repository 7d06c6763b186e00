"""Data sets that are simulated: the same numbers on every machine, and nothing to download."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from vaezoo.data.dataset import Array, Data
from vaezoo.data.splits import consecutive_splits

__all__ = ["simulate_sines"]

_ROWS, _FRAMES = 3000, 15
_LEAST_FRAMES = 8
_DURATION, _NOISE = 5.0, 0.1


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
