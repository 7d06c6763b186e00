"""How good a forecast is, by what came."""

import numpy as np

from vaezoo.data.dataset import Array

__all__ = ["binary_scores", "crps"]

_SMALLEST_PROBABILITY = 1e-6


def crps(draws: Array, truth: Array) -> Array:
    """Return the continuous ranked probability score of draws ``(S, ...)``, shape ``(...)``.

    ``E|X - x| - E|X - X'| / 2``, estimated without bias; the units are those of the data, and less
    is better (Gneiting & Raftery 2007, eq. 21). A single draw is scored by its distance.
    """
    distance = np.abs(draws - truth).mean(0)
    count = len(draws)
    if count == 1:
        return np.asarray(distance)
    weight = (2 * np.arange(1, count + 1) - count - 1) / (count * (count - 1))
    return np.asarray(distance - np.tensordot(weight, np.sort(draws, axis=0), 1))


def binary_scores(probability: Array, truth: Array) -> dict[str, Array]:
    """Return the scores of probabilities ``(..., D)`` of frames of zeros and ones, each ``(...)``.

    ``brier`` is the mean squared error over the elements, ``log_loss`` the sum of -log p(x_d) in
    nats, no p(x_d) being taken for less than 1e-6.
    """
    p = np.clip(probability, _SMALLEST_PROBABILITY, 1 - _SMALLEST_PROBABILITY)
    log_loss = -(truth * np.log(p) + (1 - truth) * np.log1p(-p))
    return {"brier": ((probability - truth) ** 2).mean(-1), "log_loss": log_loss.sum(-1)}
