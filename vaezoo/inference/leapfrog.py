"""One Hamiltonian move for all data and chains at once: a leapfrog trajectory, and its acceptance.

Positions are ``(C, B, L)``, C chains of each of B data, and densities ``(C, B)``. What the density
is, and what else a sampler keeps of a place, is left to the sampler; most keep no more than
:class:`Placed`.

Duane et al. 1987, *Hybrid Monte Carlo*; Neal 2011, arXiv:1206.1901, sec. 2.3 and 5.2.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol, Self, TypeVar

import torch
from torch import Tensor

from vaezoo.pairs.pieces import chains_at_once, in_pieces

__all__ = [
    "LARGEST_STEP",
    "SMALLEST_STEP",
    "Moved",
    "Place",
    "Placed",
    "first_step_size",
    "leapfrog",
    "move",
    "placed",
]

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


@dataclass(frozen=True)
class Placed:
    """Where chains are ``(C, B, L)``, with log-density ``(C, B)`` and its gradient."""

    position: Tensor
    log_density: Tensor
    gradient: Tensor

    def where(self, accepted: Tensor, old: "Placed") -> "Placed":
        """Return this place for the chains that go there ``(C, B)``, the old one for others."""
        return Placed(
            torch.where(accepted[..., None], self.position, old.position),
            torch.where(accepted, self.log_density, old.log_density),
            torch.where(accepted[..., None], self.gradient, old.gradient),
        )


def placed(log_density: Callable[[Tensor], Tensor], w: Tensor) -> Placed:
    """Return the place of a position; its log-density is -inf where it is not finite.

    One call of the pair and one backward pass give the gradients of all chains of all data, since
    rows do not meet: the gradient of the sum is made of those of the rows. A row that is not finite
    is rejected by its density; its gradient is 0, so that it spoils no later step.

    Examples
    --------
    >>> place = placed(lambda w: -0.5 * w.square().sum(-1), torch.ones(1, 1, 2))
    >>> place.log_density, place.gradient
    (tensor([[-1.]]), tensor([[[-1., -1.]]]))
    """
    size = chains_at_once(w)
    if size >= len(w):
        return _placed(log_density, w)
    return in_pieces(lambda some: _placed(log_density, some), w, size)


def _placed(log_density: Callable[[Tensor], Tensor], w: Tensor) -> Placed:
    with torch.enable_grad():
        w = w.detach().requires_grad_()
        log_p = log_density(w)
        (gradient,) = torch.autograd.grad(log_p.sum(), w)
    log_p = log_p.detach()
    log_p = torch.where(log_p.isfinite(), log_p, -math.inf)
    return Placed(w.detach(), log_p, gradient.nan_to_num(0.0, 0.0, 0.0))
