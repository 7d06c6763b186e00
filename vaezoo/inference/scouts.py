"""Many short chains of each datum that share nothing: which modes its posterior has.

A check of a guide must not rest on the guide, and chains that are resampled by their weights, or
that share a step size, do: all of them end where the first one felt at home. Scouts are independent
of each other. Most start at draws from the prior, some at draws from the guide, and some around
those, three times as wide; each has a step size of its own, and none is ever replaced by another.
What they share is the metric, the covariance *within* the modes that they found
(:mod:`vaezoo.inference.clusters`), so that modes which lie apart do not spoil it.

What counts is the number of independent starts from the prior: a mode that one draw from the prior
in p reaches is found by none of n scouts with probability (1 - p)^n, and by two or more of 48 in 97
of 100 cases for p = 0.1. A mode that fewer than one draw in 64 reaches cannot be seen by scouts.

A posterior that is thousands of times narrower than its prior takes long to get to. Where fewer
than half of the starts from the prior have arrived, all scouts of that datum are sent once more,
with a longer way.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn.functional import pad

from vaezoo.inference.adaptation import Frame
from vaezoo.inference.clusters import (
    MOST_CLUSTERS,
    Clusters,
    cluster,
    is_settled,
    pooled_covariance,
)
from vaezoo.inference.leapfrog import Placed, first_step_size, move, placed
from vaezoo.inference.target import Target

__all__ = ["THOROUGH", "ScoutSettings", "Scouts", "send_scouts"]

WIDE = 3.0
TARGET_ACCEPTANCE, FAST, SLOW = 0.75, 0.5, 0.15
SMALLEST_STEP, LARGEST_STEP = math.exp(-14), math.exp(0.7)
RECENT = 6  # draws of each scout that a metric is made of
MOST_NUMBERS = 2**25  # of one tensor of scouts: 256 MiB
FEWEST_ARRIVED = 0.5  # of the scouts from the prior


@dataclass(frozen=True)
class ScoutSettings:
    """How many scouts are sent, and how far.

    Attributes
    ----------
    from_prior, from_guide, around_guide
        Scouts that start at draws of these, for each datum.
    num_warmup, num_samples
        Moves before those that are kept, and these.
    max_leapfrog
        Most leapfrog steps of a move, in warm-up and after.
    patience
        How many times as long scouts warm up that are sent once more, since few arrived; 1 for
        never.
    """

    from_prior: int = 48
    from_guide: int = 8
    around_guide: int = 8
    num_warmup: int = 25
    num_samples: int = 20
    max_leapfrog: tuple[int, int] = (5, 7)
    patience: int = 4

    @property
    def number(self) -> int:
        """Scouts of a datum."""
        return self.from_prior + self.from_guide + self.around_guide

    def data_at_once(self, num_latents: int) -> int:
        """Return for how many data scouts, and covariances of their modes, fit into memory.

        Examples
        --------
        >>> ScoutSettings().data_at_once(20), ScoutSettings().data_at_once(200)
        (953, 27)
        """
        of_scouts = self.number * self.num_samples * num_latents
        return max(1, MOST_NUMBERS // (of_scouts + MOST_CLUSTERS * num_latents**2))

    @property
    def num_gradients(self) -> float:
        """Gradients that are taken for a datum, on average."""
        of_warmup, after = ((1 + most) / 2 for most in self.max_leapfrog)
        return self.number * (1 + self.num_warmup * of_warmup + self.num_samples * after)


THOROUGH = ScoutSettings(from_prior=112, num_warmup=40, num_samples=30)


@dataclass(frozen=True)
class Scouts:
    """What scouts of each of B data brought back.

    Attributes
    ----------
    draws
        ``(S, N, B, L)``; see :mod:`vaezoo.inference.target`.
    log_joint
        log p(x, u) of them, ``(S, N, B)``, in nats.
    clusters
        The modes that they lie in.
    found
        How many independent starts from the prior ended in each mode, ``(K, B)``.
    """

    draws: Tensor
    log_joint: Tensor
    clusters: Clusters
    found: Tensor

    def arrived(self, settings: ScoutSettings) -> Tensor:
        """Return which share of the starts from the prior ended in a mode, ``(B,)``."""
        return self.found.sum(0) / max(1, settings.from_prior)

    def with_data(self, rows: Tensor, others: "Scouts") -> "Scouts":
        """Return these with the scouts of some data in the place of their own."""
        number = max(len(self.found), len(others.found))
        new, changed = self._padded(number), others._padded(number)
        for (value, dim), (other, _) in zip(new._values(), changed._values(), strict=True):
            value.index_copy_(dim, rows.to(value.device), other)
        return new

    def _padded(self, number: int) -> "Scouts":
        """Return a copy with so many clusters, empty ones at the end."""
        more, own = number - len(self.found), self.clusters
        eye = torch.eye(own.loc.shape[-1], dtype=own.factor.dtype, device=own.factor.device)
        clusters = Clusters(
            own.label.masked_fill(own.label == len(self.found), number),
            pad(own.size, (0, 0, 0, more)),
            pad(own.loc, (0, 0, 0, 0, 0, more)),
            torch.cat([own.factor, eye.expand(more, *own.factor.shape[1:])]),
        )
        found = pad(self.found, (0, 0, 0, more))
        return Scouts(self.draws.clone(), self.log_joint.clone(), clusters, found)

    def _values(self) -> list[tuple[Tensor, int]]:
        """Return all tensors, and which dimension of each is that of data."""
        own = self.clusters
        of_clusters = [(value, 1) for value in (own.label, own.size, own.loc, own.factor)]
        return [(self.draws, 2), (self.log_joint, 2), *of_clusters, (self.found, 1)]


def send_scouts(target: Target, settings: ScoutSettings | None = None) -> Scouts:
    """Send scouts for each datum of a target; inside :func:`~vaezoo.pairs.particles.probing`.

    Examples
    --------
    >>> from vaezoo.pairs.particles import probing
    >>> from vaezoo.testing.pairs import FoldedPair
    >>> x = torch.tensor([[1.5, 0.0]], dtype=torch.float64)
    >>> with probing(FoldedPair("right"), x.device, seed=0):
    ...     scouts = send_scouts(Target(FoldedPair("right"), (x,), "a check"))
    >>> scouts.clusters.size.shape[0]  # the guide knows one of two modes
    2
    """
    settings = settings or ScoutSettings()
    scouts = _send(target, settings)
    late = torch.nonzero(scouts.arrived(settings) < FEWEST_ARRIVED).flatten()
    if not len(late) or settings.patience == 1 or not settings.from_prior:
        return scouts
    longer = replace(settings, num_warmup=settings.patience * settings.num_warmup)
    return scouts.with_data(late, _send(target.some(late), longer))


def _send(target: Target, settings: ScoutSettings) -> Scouts:
    journey = _Journey(target, settings)
    for number in range(settings.num_warmup):
        if number == settings.num_warmup // 2:
            journey.change_frame()
        journey.move(settings.max_leapfrog[0], FAST)
    journey.change_frame()
    for _ in range(settings.num_samples):
        journey.move(settings.max_leapfrog[1], SLOW)
    draws, log_joint = journey.last(settings.num_samples)
    clusters = cluster(draws, is_settled(draws, log_joint))
    from_prior = clusters.members_of(slice(settings.from_prior))
    return Scouts(draws, log_joint, clusters, from_prior)


class _Journey:
    """Scouts on their way: where they are, each with a log step size ``(N, B)``."""

    def __init__(self, target: Target, settings: ScoutSettings) -> None:
        self.target = target
        u = _starts(target, settings)
        spread = target.draw_prior(64).std(0).clamp(1e-4, 1e3)
        self.frame = Frame(torch.zeros_like(spread), spread)
        self.log_step = first_step_size(u).log().expand(u.shape[:2]).clone()
        self.log_step[settings.from_prior :] -= 1  # a posterior is narrower than its prior
        self.place = self.at(self.frame.inside(u))
        self.visited: list[Tensor] = []
        self.log_joints: list[Tensor] = []

    def at(self, w: Tensor) -> Placed:
        return placed(lambda w: self.target.log_joint(self.frame.outside(w)), w)

    def move(self, max_leapfrog: int, rate: float) -> None:
        # No two moves of a scout are alike, so that none goes round in a circle.
        jitter = 0.85 + 0.3 * torch.rand_like(self.log_step)
        step = (self.log_step.exp() * jitter).unsqueeze(-1)
        self.place, moved = move(self.at, self.place, step, max_leapfrog)
        self.log_step += rate * (moved.acceptance - TARGET_ACCEPTANCE)
        self.log_step.clamp_(math.log(SMALLEST_STEP), math.log(LARGEST_STEP))
        self.visited.append(self.frame.outside(self.place.position))
        self.log_joints.append(self.place.log_density)

    def last(self, number: int) -> tuple[Tensor, Tensor]:
        """Return the last draws ``(S, N, B, L)``, and their log-densities ``(S, N, B)``."""
        return torch.stack(self.visited[-number:]), torch.stack(self.log_joints[-number:])

    def change_frame(self) -> None:
        """Move in units of the covariance within modes from here on, with as long strides."""
        draws, log_joint = self.last(RECENT)
        covariance = pooled_covariance(draws, is_settled(draws, log_joint))
        covariance = covariance.to(draws.dtype).to(draws.device)
        before, u = _log_width(self.frame.factor), draws[-1]
        factor = torch.linalg.cholesky(covariance)
        self.frame = Frame(torch.zeros_like(u[0]), factor)
        self.log_step += before - _log_width(factor)
        self.place = self.at(self.frame.inside(u))


def _log_width(factor: Tensor) -> Tensor:
    """Return the mean log sd of a frame, ``(B,)``."""
    scale = factor if factor.dim() == 2 else factor.diagonal(dim1=-2, dim2=-1)
    return scale.log().mean(-1)


def _starts(target: Target, settings: ScoutSettings) -> Tensor:
    starts = [target.draw_prior(settings.from_prior)] if settings.from_prior else []
    if settings.from_guide:
        starts.append(target.draw_guide(settings.from_guide))
    if settings.around_guide:
        loc = target.draw_guide(64).mean(0)
        starts.append(loc + WIDE * (target.draw_guide(settings.around_guide) - loc))
    return torch.cat(starts)
