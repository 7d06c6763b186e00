"""log p(x) and the posterior by annealing, and how far off that is: slow, and independent.

Particles of each datum start at draws from the prior, and go to the posterior through

    f_k(z) = p(z) p(x | z)^beta_k,    0 = beta_0 < ... < beta_K = 1,

by weighting, resampling, and HMC moves that leave f_k where it is (annealed importance sampling,
Neal 2001, arXiv:physics/9803008; with resampling, Del Moral, Doucet & Jasra 2006). Modes that lie
apart get their probability while beta is small and particles can still cross.

Temperatures are fixed, and so are the moves before the particles that count are drawn: a pilot with
16 particles of its own finds step sizes and scales, for each datum and temperature. So the mean
weight is an unbiased estimate of p(x) for any number of particles and temperatures, resampled or
not, and its logarithm a lower bound of log p(x) in expectation.

On data that the model itself made, the latents that made them are an exact draw from the posterior.
Particles that start there and go back to the prior have a mean weight of expectation 1 / p(x),
whence an upper bound (bidirectional Monte Carlo, Grosse et al. 2015, arXiv:1511.02543; Wu et al.
2017, arXiv:1611.04273). The gap between the two is the error of both, on such data.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from pyro import poutine
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.inference.importance import effective_share, log_evidence, systematic
from vaezoo.inference.leapfrog import LARGEST_STEP, SMALLEST_STEP, first_step_size, move
from vaezoo.inference.target import Target
from vaezoo.observations.simulation import simulate
from vaezoo.options import require_choice
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import join, numbered_rows, rows_at_once
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import Args, model_of, sample_sites

__all__ = ["Annealed", "Annealing", "Bounds", "annealed_evidence", "bidirectional_bounds"]

AnnealingStart = Literal["prior", "guide"]
Moves = list[tuple[float, float, Tensor, Tensor]]

STEEPNESS = 4.0
RESAMPLE_BELOW = 0.5
NUM_PILOT, FIRST_MOVES, GAIN, TRUST = 16, 20, 0.5, 0.75
DENSITY_TOLERANCE = 1e-4
DATA_DIM = {"latents": 1, "log_weights": 1, "unconstrained": 1}  # of the fields of Annealed


@dataclass(frozen=True)
class Annealing:
    """How particles are annealed.

    Attributes
    ----------
    num_particles
        Particles S for each datum; they are resampled when fewer than S / 2 count.
    num_temperatures
        K, with one move at each.
    max_leapfrog
        The number of leapfrog steps of a move is uniform from 1 to this.
    target_acceptance
        Acceptance probability that the pilot aims at.
    start
        ``guide``: from q(z | x) instead of the prior, through q^(1 - beta) p(x, z)^beta. Faster
        where the guide is good, and blind to the modes that it misses.
    """

    num_particles: int = 64
    num_temperatures: int = 100
    max_leapfrog: int = 4
    target_acceptance: float = 0.8
    start: AnnealingStart = "prior"

    def __post_init__(self) -> None:
        if self.num_particles < 2 or min(self.num_temperatures, self.max_leapfrog) < 1:
            raise RequestError("annealing takes 2 particles or more, and 1 temperature and step")
        if not 0 < self.target_acceptance < 1:
            raise RequestError(f"target_acceptance lies in (0, 1), got {self.target_acceptance}")
        require_choice("start", self.start, AnnealingStart)

    @property
    def betas(self) -> list[float]:
        """beta_0 = 0 to beta_K = 1, on a sigmoid: closer at both ends (Wu et al. 2017)."""
        number = self.num_temperatures
        raw = [math.tanh(0.5 * STEEPNESS * (2 * k / number - 1)) for k in range(number + 1)]
        return [(value - raw[0]) / (raw[-1] - raw[0]) for value in raw]


DEFAULT = Annealing()


@dataclass(frozen=True)
class Annealed:
    """Estimates of log p(x), and draws from the posterior, of each of B data.

    Attributes
    ----------
    log_evidence
        Of log p(x), ``(B,)``, in nats: a lower bound in expectation. It is
        :func:`vaezoo.inference.importance.log_evidence` of ``log_weights``.
    acceptance
        Mean acceptance probability of the moves, ``(B,)``.
    latents, log_weights
        The S particles, by site ``(S, B, *event)``, and their log importance weights ``(S, B)``;
        :func:`vaezoo.inference.importance.resample` makes draws from the posterior of them.
    unconstrained
        The particles as vectors of reals, ``(S, B, L)``; see :mod:`vaezoo.inference.target`.
    """

    log_evidence: Tensor
    acceptance: Tensor
    latents: Mapping[str, Tensor]
    log_weights: Tensor
    unconstrained: Tensor


@dataclass(frozen=True)
class Bounds:
    """Both bounds of log p(x) of B data that the model made.

    Attributes
    ----------
    args
        The data, tensors of ``(B, ...)``; all but what the model observes is as it was given.
    latents
        What made them, by site ``(B, *event)``: an exact draw from each posterior.
    lower, upper
        Bounds of log p(x) in expectation, each ``(B,)``, in nats. By chance they can cross.
    """

    args: Args
    latents: Mapping[str, Tensor]
    lower: Tensor
    upper: Tensor

    @property
    def gap(self) -> Tensor:
        """Upper minus lower bound, ``(B,)``, in nats."""
        return self.upper - self.lower

    @property
    def mean_gap(self) -> float:
        """Mean of the gap over data; log p(x) of such data is off by less, on average."""
        return float(self.gap.mean())


def annealed_evidence(
    pair: nn.Module, args: Args, how: Annealing = DEFAULT, *, seed: int = 0
) -> Annealed:
    """Estimate log p(x) of each datum by annealing, and draw from its posterior.

    Parameters
    ----------
    pair
        Any pair whose latents are continuous; constrained ones are carried to the reals.
    args
        A batch, tensors of ``(B, ...)``. Data are worked on a part at a time, as many as fit.
    how
        Particles and temperatures; by default 64 and 100, from the prior.
    seed
        Seed of everything.

    Raises
    ------
    RequestError
        When the pair is not of this kind (:class:`vaezoo.inference.target.Target`).

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> annealed = annealed_evidence(pair, (x,), Annealing(num_temperatures=20))
    >>> bool(((annealed.log_evidence - pair.log_evidence(x)).abs() < 0.5).all())
    True
    """
    parts = []
    for first, part in numbered_rows(args, rows_at_once(how.num_particles)):
        with probing(pair, args[0].device, seed=seed + first):
            target = Target(pair, part, "annealing")
            parts.append(_forward(target, how, _pilot(target, how)))
    return join(parts, dims=DATA_DIM)


def bidirectional_bounds(
    pair: nn.Module, args_like: Args, how: Annealing = DEFAULT, *, seed: int = 0
) -> Bounds:
    """Draw data from the model, and bound their log p(x) from both sides.

    Parameters
    ----------
    pair
        Any pair whose latents are continuous.
    args_like
        A batch, tensors of ``(B, ...)``. What the model observes is drawn anew, one datum for each
        of the B; all else, as labels and masks, stays.
    how
        As of :func:`annealed_evidence`, whose error the gap is about. Both directions have the
        same moves. All particles of the way back start at the same draw.
    seed
        Seed of everything.

    Raises
    ------
    RequestError
        As of :func:`annealed_evidence`; when the model observes what is none of its arguments, or
        its likelihood looks at the datum that it explains, so that it cannot be drawn in one go.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> bounds = bidirectional_bounds(pair, (x,), Annealing(num_temperatures=20))
    >>> abs(bounds.mean_gap) < 0.5
    True
    """
    parts = []
    for first, part in numbered_rows(args_like, rows_at_once(how.num_particles)):
        with probing(pair, args_like[0].device, seed=seed + first):
            parts.append(_bounds(pair, part, how))
    return join(parts)


def _bounds(pair: nn.Module, args: Args, how: Annealing) -> Bounds:
    what = "bidirectional Monte Carlo"
    Target(pair, args, what)
    latents, made = _simulate(pair, args)
    target = Target(pair, made, what)
    moves = _pilot(target, how)
    exact = target.unconstrain({name: z.unsqueeze(0) for name, z in latents.items()})
    lower = _forward(target, how, moves).log_evidence
    return Bounds(made, latents, lower, _backward(target, how, moves, exact))


def _simulate(pair: nn.Module, args: Args) -> tuple[dict[str, Tensor], Args]:
    """Return latents and data of the model; a refusal where a density looks at its own datum."""
    latents, made = simulate(pair, args)
    held = hold(latents)(model_of(pair))
    before, after = (sample_sites(poutine.trace(held).get_trace(*x)) for x in (args, made))
    for name, site in after.items():
        density = log_density(before[name], site["value"])
        if not torch.allclose(
            density, log_density(site), rtol=DENSITY_TOLERANCE, atol=DENSITY_TOLERANCE
        ):
            raise RequestError(
                f"data cannot be drawn: the density of site '{name}' depends on the datum itself; "
                "use vaezoo.inference.annealing.annealed_evidence on real data"
            )
    return latents, made


# Particles


@dataclass(frozen=True)
class _Place:
    """Where particles are ``(S, B, L)``, and log f_beta there, which is linear in beta.

    ``terms`` are log f_0 and log f_1 - log f_0, ``(2, S, B)``; ``slopes`` their gradients. With
    both, a particle need not go through the pair again when beta changes.
    """

    position: Tensor
    terms: Tensor
    slopes: Tensor
    beta: float = 0.0

    @property
    def log_density(self) -> Tensor:
        return self.terms[0] + self.beta * self.terms[1]

    @property
    def gradient(self) -> Tensor:
        return self.slopes[0] + self.beta * self.slopes[1]

    def where(self, accepted: Tensor, old: "_Place") -> "_Place":
        return _Place(
            torch.where(accepted[..., None], self.position, old.position),
            torch.where(accepted, self.terms, old.terms),
            torch.where(accepted[..., None], self.slopes, old.slopes),
            self.beta,
        )


class _Population:
    """Particles of each datum, with log weights ``(S, B)`` in float64 on the CPU."""

    def __init__(self, target: Target, how: Annealing, u: Tensor) -> None:
        self.target, self.how = target, how
        self.place = self.at(u)
        self.log_weights = torch.zeros(u.shape[:2], dtype=torch.float64)

    def at(self, u: Tensor, beta: float = 0.0) -> _Place:
        """Return the place of a position; what is not finite has no density."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            if self.how.start == "prior":
                base, ratio = self.target.log_terms(u)
            else:
                base = self.target.log_guide(u)
                ratio = self.target.log_joint(u) - base
            sums = [value.sum() + 0.0 * u.sum() for value in (base, ratio)]
            slopes = [torch.autograd.grad(total, u, retain_graph=True)[0] for total in sums]
        terms = torch.stack([base, ratio]).detach()
        terms = torch.where(terms.isfinite(), terms, -math.inf)
        return _Place(u.detach(), terms, torch.stack(slopes).nan_to_num(0.0, 0.0, 0.0), beta)

    def reweigh(self, difference: float) -> None:
        """Weigh for a change of beta, and resample the data that few particles are left of."""
        self.log_weights = self.log_weights + difference * self.place.terms[1].cpu().double()
        few = effective_share(self.log_weights) < RESAMPLE_BELOW
        if not bool(few.any()):
            return
        number = len(self.log_weights)
        chosen = systematic(self.log_weights, number)
        chosen = torch.where(few, chosen, torch.arange(number).unsqueeze(1))
        self.log_weights = torch.where(few, log_evidence(self.log_weights), self.log_weights)
        rows = chosen.to(self.place.position.device)
        data = torch.arange(len(few), device=rows.device)
        u, terms, slopes = self.place.position, self.place.terms, self.place.slopes
        self.place = _Place(u[rows, data], terms[:, rows, data], slopes[:, rows, data])

    def move(self, beta: float, scale: Tensor, step: Tensor) -> Tensor:
        """Go along one trajectory; return the mean acceptance probability of each datum."""
        stride = step.unsqueeze(-1) * scale
        old = replace(self.place, beta=beta)
        self.place, moved = move(lambda u: self.at(u, beta), old, stride, self.how.max_leapfrog)
        return moved.acceptance.mean(0)


def _first(target: Target, how: Annealing, number: int) -> _Population:
    draw = target.draw_prior if how.start == "prior" else target.draw_guide
    return _Population(target, how, draw(number))


def _pilot(target: Target, how: Annealing) -> Moves:
    """Find the moves: beta from and to, scales ``(B, L)`` and step sizes ``(B,)``.

    Step sizes follow the acceptance from one temperature to the next (Robbins & Monro), and squared
    scales the variances of the particles, smoothed.
    """
    particles = _first(target, how, NUM_PILOT)
    variance = particles.place.position.var(0)
    step = first_step_size(particles.place.position)
    moves = []
    for index, (last, beta) in enumerate(pairwise(how.betas)):
        particles.reweigh(beta - last)
        share = particles.log_weights.softmax(0).to(variance).unsqueeze(-1)
        centred = particles.place.position - (share * particles.place.position).sum(0)
        present = (share * centred.square()).sum(0)
        variance = torch.lerp(variance, present, TRUST).nan_to_num(1.0).clamp(min=1e-12)
        for _ in range(FIRST_MOVES if index == 0 else 1):
            acceptance = particles.move(beta, variance.sqrt(), step)
            step = step * (GAIN * (acceptance - how.target_acceptance)).exp()
            step = step.clamp(SMALLEST_STEP, LARGEST_STEP)
        moves.append((last, beta, variance.sqrt(), step))
    return moves


def _forward(target: Target, how: Annealing, moves: Moves) -> Annealed:
    particles, acceptances = _first(target, how, how.num_particles), []
    for last, beta, scale, step in moves:
        particles.reweigh(beta - last)
        acceptances.append(particles.move(beta, scale, step))
    return Annealed(
        log_evidence(particles.log_weights),
        torch.stack(acceptances).mean(0),
        target.constrain(particles.place.position)[0],
        particles.log_weights,
        particles.place.position,
    )


def _backward(target: Target, how: Annealing, moves: Moves, exact: Tensor) -> Tensor:
    """Return the upper bound ``(B,)`` from exact draws ``(1, B, L)``: the way back."""
    particles = _Population(target, how, exact.expand(how.num_particles, -1, -1))
    for last, beta, scale, step in reversed(moves):
        particles.move(beta, scale, step)
        particles.reweigh(last - beta)
    return -log_evidence(particles.log_weights)
