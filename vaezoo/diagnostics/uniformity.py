"""Are numbers uniform? Grades of ranks and probability integral transforms, and their band."""

from functools import lru_cache

import numpy as np
from scipy.special import gammaln
from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.grading import GRADES

__all__ = ["ecdf_band", "grade_of", "uniform_p_value"]

NUM_POINTS, NUM_ECDFS = 50, 4000


def grade_of(p_value: float) -> str:
    """Return ``good`` from 5 %, ``caution`` from 1 %, else ``bad``.

    Examples
    --------
    >>> [grade_of(p) for p in (0.3, 0.02, 0.001)]
    ['good', 'caution', 'bad']
    """
    return GRADES[0 if p_value >= 0.05 else 1 if p_value >= 0.01 else 2]


def uniform_p_value(pit: Tensor) -> float:
    """Return how often uniform numbers leave their band as far as these, ``(N,)``, do.

    Examples
    --------
    >>> grid = (torch.arange(100) + 0.5) / 100
    >>> uniform_p_value(grid), uniform_p_value(grid / 2) < 0.01
    (1.0, True)
    """
    points = np.arange(1, NUM_POINTS) / NUM_POINTS
    counts = np.searchsorted(np.sort(pit.cpu().numpy()), points, "right")
    rarity, simulated = _rarities(len(pit))
    own = rarity[np.arange(NUM_POINTS - 1), counts].min()
    return float((1 + (simulated <= own).sum()) / (1 + len(simulated)))


def ecdf_band(number: int, probability: float = 0.95) -> tuple[Array, Array, Array]:
    """Return points, and the band in which the ECDF of N uniform numbers lies at all of them.

    ``points``, ``lower`` and ``upper`` are ``(K,)``. At each point it is the central interval of a
    binomial, of a level that is found by simulation with a fixed seed (Sailynoja et al. 2022,
    arXiv:2103.10522, algorithm 2).

    Examples
    --------
    >>> points, lower, upper = ecdf_band(100)
    >>> bool((lower < points).all() and (points < upper).all())
    True
    """
    rarity, simulated = _rarities(number)
    inside = rarity >= np.quantile(simulated, 1 - probability)
    lower, upper = inside.argmax(1), number - inside[:, ::-1].argmax(1)
    return np.arange(1, NUM_POINTS) / NUM_POINTS, lower / number, upper / number


@lru_cache(maxsize=4)
def _rarities(number: int) -> tuple[Array, Array]:
    """Return the two-sided p value of each count at each point, ``(K, N + 1)``, and least ones.

    The latter, ``(M,)``, are the smallest over the points, of simulated ECDFs.
    """
    p, n = np.arange(1, NUM_POINTS)[:, None] / NUM_POINTS, np.arange(number + 1)
    log_choose = gammaln(number + 1) - gammaln(n + 1) - gammaln(number - n + 1)
    mass = np.exp(log_choose + n * np.log(p) + (number - n) * np.log1p(-p))
    rarity = 2 * np.minimum(mass.cumsum(1), mass[:, ::-1].cumsum(1)[:, ::-1])
    generator, shares = np.random.default_rng(0), np.full(NUM_POINTS, 1 / NUM_POINTS)
    counts = generator.multinomial(number, shares, size=NUM_ECDFS).cumsum(1)[:, :-1]
    return rarity, rarity[np.arange(NUM_POINTS - 1), counts].min(1)
