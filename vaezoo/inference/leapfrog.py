"""One Hamiltonian move for all data and chains at once: a leapfrog trajectory, and its acceptance.

Positions are ``(C, B, L)``, C chains of each of B data, and densities ``(C, B)``. What the density
is, and what else a sampler keeps of a place, is left to the sampler.

Duane et al. 1987, *Hybrid Monte Carlo*; Neal 2011, arXiv:1206.1901, sec. 2.3 and 5.2.
"""

import math
from collections.abc import Callable
from typing import NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor

__all__ = ["LARGEST_STEP", "SMALLEST_STEP", "Moved", "Place", "first_step_size", "leapfrog", "move"]

# In units of the metric, in which a standard deviation is about 1: beyond 2 a trajectory is
# unstable even for a Gaussian (Neal 2011, sec. 4.2), and far below 1 it goes nowhere.
SMALLEST_STEP, LARGEST_STEP = 1e-3, 2.0


class Place(Protocol):
    """Where chains are, with the log-density there, -inf outside of its support."""

    @property
    def position(self) -> Tensor: ...
    @property
    def log_density(self) -> Tensor: ...
    @property
    def gradient(self) -> Tensor: ...

    def where(self, accepted: Tensor, old: Self) -> Self:
        """Return this place for the chains that go there ``(C, B)``, the old one for others."""


P = TypeVar("P", bound=Place)


class Moved(NamedTuple):
    """How a move went, ``(C, B)``: acceptance probability; error of the energy, and it, in nats.

    The energy is that of the place where the chain then is, with the momentum it has there, as in
    Stan; how it varies is what ``arviz.bfmi`` looks at (Betancourt 2016, arXiv:1604.00695).
    """

    acceptance: Tensor
    error: Tensor
    energy: Tensor


def first_step_size(position: Tensor) -> Tensor:
    """Return a step size ``(B,)`` to begin with: the acceptance depends on step size^4 L.

    Examples
    --------
    >>> first_step_size(torch.zeros(4, 2, 16))
    tensor([0.5000, 0.5000])
    """
    return position.new_full(position.shape[1:2], position.shape[2] ** -0.25)


def leapfrog(
    at: Callable[[Tensor], P], place: P, momentum: Tensor, step: Tensor, num_steps: int
) -> tuple[P, Tensor]:
    """Follow a trajectory; return its end, and the momentum there.

    Parameters
    ----------
    at
        Gives the place of a position, with one gradient.
    place, momentum
        Where it starts; the momentum ``(C, B, L)`` has unit masses.
    step
        Step sizes, ``(B, 1)``, or times a diagonal metric ``(B, L)``.
    num_steps
        Leapfrog steps, the same for all chains, so that none waits for another.
    """
    for _ in range(num_steps):
        half = momentum + 0.5 * step * place.gradient
        place = at(place.position + step * half)
        momentum = half + 0.5 * step * place.gradient
    return place, momentum


def move(at: Callable[[Tensor], P], old: P, step: Tensor, max_leapfrog: int) -> tuple[P, Moved]:
    """Go along one trajectory of 1 to ``max_leapfrog`` steps, or stay, so that p is left as it is.

    The number of steps is random because a fixed one can go round a Gaussian and end where it
    began; it is one for all chains, as random as the momentum, so that the move stays reversible.
    """
    start = torch.randn_like(old.position)
    num_steps = int(torch.randint(1, max_leapfrog + 1, ()))
    new, end = leapfrog(at, old, start, step, num_steps)
    before, after = 0.5 * start.square().sum(-1), 0.5 * end.square().sum(-1)
    # inf - inf, of a trajectory that diverged, is not a number: it is never accepted. The new place
    # comes first, since rand_like fills memory in the order that this difference inherits from it.
    log_ratio = (new.log_density - old.log_density + (before - after)).nan_to_num(-math.inf)
    acceptance = log_ratio.clamp(max=0.0).exp()
    accepted = torch.rand_like(acceptance) < acceptance
    energy = torch.where(accepted, after - new.log_density, before - old.log_density)
    return new.where(accepted, old), Moved(acceptance, -log_ratio, energy)
