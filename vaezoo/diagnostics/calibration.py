"""Calibration: does a guide know how little it knows? Tested on data that the model itself made.

The model draws latents and data (z*, x*); to the posterior p(z | x*) the truth z* is one draw more.
So the rank of z* among draws from an exact guide is uniform, and a region that holds 90 % of the
draws holds z* in 90 % of the simulations (simulation-based calibration, Talts et al. 2018,
arXiv:1804.06788). Ranks are made continuous at random, and are then called PIT, in 0 ... 1. They
are taken of each element of the latents, and of the densities log p(x, z), log p(x | z) and
log q(z | x), which see how the elements go together and whether the data are used (Modrak et al.
2023, arXiv:2211.02383). Where q is highest are the regions of the guide (Hyndman 1996), where
p(x, z) is highest those of repaired draws.

Their ECDF has a simultaneous band (Sailynoja et al. 2022, arXiv:2103.10522): **good** is inside the
band of 95 %, **caution** inside that of 99 %, **bad** outside. Of 20 good quantities one is a
caution by chance. How the PIT of a latent are distributed says what is wrong:

==================  =========  =================================================================
word                histogram  the guide
==================  =========  =================================================================
``overconfident``   U          is too narrow: the truth lies outside too often
``underconfident``  hump       is too wide
``shifted down``    rising     has its draws below the truth
``shifted up``      falling    has its draws above the truth
``misshapen``       other      has the right place and width, and another form
==================  =========  =================================================================

All of this is an average over data of the model, not over those that a person has, and says nothing
about the parameters of the networks.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vaezoo.diagnostics.collapse import element_names
from vaezoo.diagnostics.uniformity import grade_of, uniform_p_value
from vaezoo.errors import RequestError, nearest
from vaezoo.inference.importance import Weighted, pareto_smooth
from vaezoo.inference.proposals import mixture_weights, scout
from vaezoo.inference.scouts import ScoutSettings
from vaezoo.inference.target import Target, trial_target
from vaezoo.observations.simulation import simulate
from vaezoo.pairs.accounting import log_joint
from vaezoo.pairs.admission import DENSITY, ONE_SIDED, UNCOUNTED, admit
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.particles import Particles, choose_particles, probing
from vaezoo.pairs.pieces import data_at_once, join, numbered_rows, slices, trial_rows
from vaezoo.pairs.plates import total_log_density
from vaezoo.pairs.sites import (
    Args,
    guide_of,
    lengths_of,
    model_of,
    sample_sites,
    takes_lengths,
    trace_pair,
)
from vaezoo.sequences.paths import training_form
from vaezoo.sequences.sequence_pair import as_sequence_pair

__all__ = ["COVERAGE_LEVELS", "Calibration", "Ranks", "Repair", "calibrate"]

Repair = Literal["none", "psis", "mixture"]
REPAIRS = get_args(Repair)
COVERAGE_LEVELS = (0.5, 0.8, 0.9, 0.95)
JOINT, LIKELIHOOD, GUIDE = "log p(x, z)", "log p(x | z)", "log q(z | x)"
DENSITIES = (JOINT, LIKELIHOOD, GUIDE)
FEWEST_SIMULATIONS, FEWEST_SAMPLES = 100, 20
DATA_AT_ONCE = 256
ROUNDING = 1e-5  # of a log-density: closer ones are equal, as those of one discrete latent are


@dataclass(frozen=True)
class Ranks:
    """PIT of N simulations, of Q quantities: the elements of the latents, and the densities.

    Attributes
    ----------
    names
        Of the quantities, as ``z[0]`` and ``log p(x, z)``.
    pit
        Share of the draws that lie below the truth, ``(N, Q)``.
    density
        Name of the quantity whose highest values make regions.
    """

    names: tuple[str, ...]
    pit: Tensor
    density: str

    @property
    def latents(self) -> tuple[str, ...]:
        return self.names[: -len(DENSITIES)]

    @cached_property
    def p_values(self) -> dict[str, float]:
        """Probability that exact draws leave the band as much or more, by name."""
        return {name: uniform_p_value(self.of(name)) for name in self.names}

    @property
    def grades(self) -> dict[str, str]:
        """``good``, ``caution`` or ``bad``, by name."""
        return {name: grade_of(p) for name, p in self.p_values.items()}

    @property
    def words(self) -> dict[str, str]:
        """What is wrong with the latents that are not good, by name."""
        grades = self.grades
        return {name: _word(self.of(name)) for name in self.latents if grades[name] != "good"}

    @property
    def coverage(self) -> dict[float, float]:
        """Share of simulations whose truth lies in the region of each of ``COVERAGE_LEVELS``."""
        level = 1 - self.of(self.density)
        return {alpha: float((level <= alpha).double().mean()) for alpha in COVERAGE_LEVELS}

    def of(self, name: str) -> Tensor:
        """Return the PIT of one quantity, ``(N,)``."""
        if name not in self.names:
            raise RequestError(f"no quantity '{name}' was ranked; {nearest(name, self.names)}")
        return self.pit[:, self.names.index(name)]


@dataclass(frozen=True)
class Calibration:
    """How well a guide is calibrated, and its draws once they are repaired.

    Attributes
    ----------
    guide
        Ranks among draws from the guide.
    repaired
        Ranks among draws that have importance weights; None without a repair.
    repair
        What gave them.
    k_hat
        Of those weights, ``(N,)``: up to 0.7 the repair is reliable; None without one.
    num_samples
        Draws S for each simulation.
    """

    guide: Ranks
    repaired: Ranks | None
    repair: Repair
    k_hat: Tensor | None
    num_samples: int

    def explain(self) -> str:
        """Return one line on the regions of 90 %."""
        share = self.guide.coverage[0.9]
        word = "overconfident" if share < 0.9 else "underconfident"
        word = "calibrated" if self.guide.grades[GUIDE] == "good" else word
        after = f"; after repair {100 * self.repaired.coverage[0.9]:.0f} %" if self.repaired else ""
        return f"90 % regions of q hold {100 * share:.0f} %: {word}{after}"


def calibrate(
    pair: nn.Module,
    args: Args,
    num_simulations: int = 1000,
    num_samples: int = 250,
    *,
    repair: Repair = "psis",
    seed: int = 0,
) -> Calibration:
    """Rank the truth of simulations among draws from the guide.

    Parameters
    ----------
    pair
        Any pair whose latents are the same on both sides, continuous or discrete. Of a sequence
        pair one frame of each simulation is ranked, taken at random, since the frames of a sequence
        go together; densities are those of whole paths.
    args
        A batch, tensors of ``(B, ...)``. What the model does not draw, as labels and lengths, comes
        from its rows, one after the other, and from the first again.
    num_simulations
        N.
    num_samples
        Draws S for each simulation.
    repair
        What weighs the draws: ``psis``, smoothed importance weights of the guide, which cannot
        bring back what it misses; ``mixture``, that of :mod:`vaezoo.inference.proposals`, for
        continuous latents without time, slower; ``none``.
    seed
        Seed of everything.

    Raises
    ------
    RequestError
        When the pair has no latents, others on one side, or data that cannot be put in the place
        of the batch.

    Examples
    --------
    A guide that is three times too narrow.

    >>> from vaezoo.testing.pairs import LinearPair
    >>> calibration = calibrate(LinearPair(scale=1 / 3), (torch.zeros(10, 4),), 200, 50)
    >>> calibration.guide.words
    {'z[0]': 'overconfident', 'z[1]': 'overconfident'}
    """
    _refuse_numbers(num_simulations, num_samples)
    if repair not in REPAIRS:
        raise RequestError(f"there is no repair '{repair}'; {nearest(repair, REPAIRS)}")
    whole = training_form(pair)
    with probing(pair, args[0].device, seed=seed):
        few = trial_rows(args)
        _refuse(pair, whole, few, repair)
        trial = choose_particles(whole, few, 2)
        truth, simulated = simulate(pair, args, num_simulations)
        particles = Particles(num_samples, trial.in_plate)
        mixture = _weigh(pair, simulated, num_samples, seed) if repair == "mixture" else None
        rankings = []
        at_once = data_at_once(whole, simulated, num_samples)
        for some in slices(num_simulations, at_once):
            part = tuple(arg[some] for arg in simulated)
            ranking = _Ranking(whole, part, {n: z[some] for n, z in truth.items()})
            rankings.append(ranking.run(particles, mixture and _some(mixture, some)))
    pit, of_repaired, k_hat = join(rankings)
    names = (*(n for name, z in truth.items() for n in _names(whole, name, z)), *DENSITIES)
    guide = Ranks(names, pit, GUIDE)
    if repair == "none":
        return Calibration(guide, None, repair, None, num_samples)
    return Calibration(guide, Ranks(names, of_repaired, JOINT), repair, k_hat, num_samples)


def _refuse_numbers(num_simulations: int, num_samples: int) -> None:
    if num_simulations < FEWEST_SIMULATIONS or num_samples < FEWEST_SAMPLES:
        raise RequestError(
            f"calibration takes {FEWEST_SIMULATIONS} simulations and {FEWEST_SAMPLES} draws or "
            f"more, got {num_simulations} and {num_samples}"
        )


def _refuse(pair: nn.Module, whole: nn.Module, few: Args, repair: Repair) -> None:
    """Refuse a pair, whose training form is ``whole``, that cannot be calibrated or repaired."""
    if takes_lengths(pair):
        inputs = as_sequence_pair(pair, "calibration of sequences").inputs
        if inputs:
            raise RequestError(
                f"calibration of sequences makes up x and length, and the conditionals of "
                f"{type(pair).__name__} take {', '.join(inputs)}, too"
            )
    trace, kinds = trace_pair(whole, few), (*DENSITY, "rounded", *ONE_SIDED, *UNCOUNTED, "shared")
    admit(whole, trace, "calibration", kinds, num_rows=len(few[0]))
    if repair == "mixture":
        Target(pair, few, "the repair by a mixture")


def _names(pair: nn.Module, name: str, z: Tensor) -> tuple[str, ...]:
    return element_names(name, z.shape[2:] if takes_lengths(pair) else z.shape[1:])


# Ranks


def _weigh(pair: nn.Module, args: Args, num_samples: int, seed: int) -> Weighted:
    """Return draws of the mixture of :mod:`vaezoo.inference.proposals` for each datum."""
    parts = []
    num_latents = trial_target(pair, args, "a repair by the mixture").num_latents
    at_once = min(DATA_AT_ONCE, ScoutSettings().data_at_once(num_latents))
    for first, part in numbered_rows(args, at_once):
        scouts = scout(pair, part, seed=seed + first)
        parts.append(mixture_weights(pair, part, scouts, num_samples, seed=seed + first))
    return join(parts, 1)


def _some(weighted: Weighted, data: slice) -> Weighted:
    latents = {name: z[:, data] for name, z in weighted.latents.items()}
    return Weighted(latents, weighted.log_weights[:, data])


class _Ranking:
    """Some simulations: their data and their truth by site, ``(n, *event)``."""

    def __init__(self, pair: nn.Module, args: Args, truth: Mapping[str, Tensor]) -> None:
        self.pair, self.args = pair, args
        self.frame = self._frames()
        held = {name: z.unsqueeze(0) for name, z in truth.items()}
        self.truth, _ = self._quantities(Particles(1), held)
        num_latents = self.truth.shape[-1] - len(DENSITIES)
        rounding = ROUNDING * self.truth.abs().clamp(min=1)
        rounding[..., :num_latents] = 0
        self.rounding = rounding

    def run(self, particles: Particles, mixture: Weighted | None) -> tuple[Tensor, Tensor, Tensor]:
        """Return the PIT of draws of the guide and of repaired ones, ``(n, Q)``, and k-hat.

        Draws of a mixture are the repaired ones, or else those of the guide, weighed.
        """
        draws, log_weights = self._quantities(particles, None)
        of_guide = self._pit(draws, torch.zeros_like(log_weights))
        if mixture is not None:
            draws, _ = self._quantities(particles, mixture.latents)
            log_weights = mixture.log_weights
        smoothed = pareto_smooth(log_weights)
        return of_guide, self._pit(draws, smoothed.log_weights), smoothed.k_hat

    def _quantities(
        self, particles: Particles, latents: Mapping[str, Tensor] | None
    ) -> tuple[Tensor, Tensor]:
        """Return what is ranked ``(S, n, Q)``, and log p(x, z) - log q(z | x), ``(S, n)``.

        Latents are ``(S, n, *event)``, by default draws from the guide.
        """
        held = {name: particles.by_row(z) for name, z in (latents or {}).items()}
        guide = hold(held)(guide_of(self.pair))
        trace = particles.trace(model_of(self.pair), guide, self.args)
        log_q = particles.by_datum(total_log_density(sample_sites(trace.guide).values()))
        log_p = particles.by_datum(log_joint(trace.model))
        log_likelihood = particles.by_datum(total_log_density(trace.observed.values()))
        draws = [particles.by_datum(q["value"]) for _, q in trace.latents.values()]
        elements = [self._at_frame(z).flatten(2) if z.dim() > 2 else z[..., None] for z in draws]
        densities = torch.stack([log_p, log_likelihood, log_q], -1).cpu().double()
        ranked = torch.cat([*[z.cpu().double() for z in elements], densities], -1)
        return ranked, log_p - log_q

    def _frames(self) -> Tensor | None:
        """Return one frame of each sequence, at random, ``(n,)``; None where there is no time."""
        length = lengths_of(self.pair, self.args)
        if length is None:
            return None
        return (torch.rand(len(length), device=length.device) * length).long()

    def _at_frame(self, z: Tensor) -> Tensor:
        if self.frame is None:
            return z
        return z[:, torch.arange(z.shape[1], device=z.device), self.frame]

    def _pit(self, draws: Tensor, log_weights: Tensor) -> Tensor:
        """Return the share of draws below the truth, ties broken at random, ``(n, Q)``."""
        number, truth = len(draws), self.truth[0]
        share = log_weights.cpu().double().softmax(0).unsqueeze(-1)
        below = (share * (draws < truth - self.rounding[0])).sum(0)
        up_to = (share * (draws <= truth + self.rounding[0])).sum(0)
        noise = torch.rand(truth.shape, dtype=truth.dtype)
        return (number * below + noise * (number * (up_to - below) + 1)) / (number + 1)


def _word(pit: Tensor) -> str:
    """Return what is wrong, by the mean and the variance of PIT ``(N,)`` in standard errors."""
    number = len(pit)
    slope = float(pit.mean() - 0.5) * math.sqrt(12 * number)
    width = float(pit.var() - 1 / 12) * math.sqrt(180 * number)
    if max(abs(slope), abs(width)) < 2:
        return "misshapen"
    if abs(slope) >= abs(width):
        return "shifted down" if slope > 0 else "shifted up"
    return "overconfident" if width > 0 else "underconfident"
