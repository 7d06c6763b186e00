"""What an analysis will take on this machine: measured on the pair before it begins."""

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import get_args

import torch
from torch import Tensor, nn

from vaezoo.diagnostics.sequences import GUIDED_PATHS, MORE_PARTICLES, NUM_FILTERS, PATHS_OF_EACH
from vaezoo.errors import RequestError
from vaezoo.inference.annealing import Annealing
from vaezoo.inference.filtering import draw_paths, particle_filter
from vaezoo.inference.hmc import ChainSettings
from vaezoo.inference.importance import importance_weights
from vaezoo.inference.local_fits import NUM_DRAWS, NUM_STEPS
from vaezoo.inference.scouts import THOROUGH, ScoutSettings
from vaezoo.inference.target import Target
from vaezoo.options import Level
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args
from vaezoo.sequences.sequence_pair import SequencePair

__all__ = ["CHAINS", "LEVELS", "LONG", "SHARE_ANNEALED", "AnalysisPlan", "plan_analysis"]

LEVELS: tuple[Level, ...] = get_args(Level)
CHAINS, LONG = 4, ChainSettings(num_samples=1000, num_warmup=300)
SHARE_ANNEALED = 0.1
FEWEST_DATA, FEWEST_SEQUENCES = 10, 2
ROWS_OF_TRIAL = 2000
RANKED = 4.0  # what a path of the calibration costs, in those of a filter
AGAIN = 0.5  # of the sequences, perhaps, that are filtered with more particles


@dataclass(frozen=True)
class AnalysisPlan:
    """How much is done.

    Attributes
    ----------
    level
        ``quick``: draws of the guide only. ``standard``: each posterior is checked by scouts
        and a mixture. ``full``: more scouts, long chains, annealing and classifiers besides.
    num_data
        Data whose posteriors are looked at.
    num_samples
        Draws for each, of guide and of mixture.
    num_kept
        Draws for each that are written, of the guide and of the posterior, if they are not too big.
    num_particles
        Particles for each sequence.
    num_simulations, num_ranked
        Simulations of the calibration, and draws for each.
    num_bidirectional
        Simulations with bounds from both sides.
    num_examined
        Data of the model whose checks are held against an exact draw.
    seconds
        What that takes here, as measured.
    """

    level: Level
    num_data: int
    num_samples: int = 4000
    num_kept: int = 1000
    num_particles: int = 100
    num_simulations: int = 1000
    num_ranked: int = 250
    num_bidirectional: int = 0
    num_examined: int = 0
    seconds: float = 0.0

    @property
    def scouting(self) -> ScoutSettings:
        """How many scouts are sent for each datum."""
        return THOROUGH if self.level == "full" else ScoutSettings()


@dataclass(frozen=True)
class _Costs:
    """Seconds: of a gradient for one draw, of the densities of one; of sequences, of a particle,
    and of a path that is drawn backwards.
    """

    gradient: float = 0.0
    density: float = 0.0
    particle: float = 0.0
    path: float = 0.0

    def of(self, plan: AnalysisPlan) -> float:
        """Return the seconds of a plan."""
        if self.particle:
            filters = 1 + NUM_FILTERS * (1 + AGAIN * MORE_PARTICLES)
            passes = plan.num_kept + GUIDED_PATHS + filters * plan.num_particles
            ranked = RANKED * plan.num_simulations * plan.num_ranked
            backward = NUM_FILTERS * PATHS_OF_EACH * (1 + AGAIN) * self.path
            return self.particle * (passes * plan.num_data + ranked) + backward * plan.num_data
        ranked = plan.num_simulations * plan.num_ranked
        weighed = (1 if plan.level == "quick" else 2.75) * plan.num_samples * plan.num_data
        weighed += 1.75 * plan.num_samples * plan.num_examined
        gradients = plan.scouting.num_gradients * plan.num_examined / plan.num_data
        if plan.level != "quick":
            gradients += plan.scouting.num_gradients + NUM_STEPS * NUM_DRAWS
        if plan.level == "full":
            gradients += _gradients(LONG) * CHAINS + SHARE_ANNEALED * _annealing()
            gradients += 2 * _annealing() * plan.num_bidirectional / plan.num_data
        return self.density * (ranked + weighed) + self.gradient * gradients * plan.num_data


def _gradients(settings: ChainSettings) -> float:
    return (settings.num_warmup + settings.num_samples) * (1 + settings.max_leapfrog) / 2


def _annealing() -> float:
    how = Annealing()
    return how.num_particles * how.num_temperatures * (1 + how.max_leapfrog) / 2


def plan_analysis(
    pair: nn.Module, args: Args, total: int, level: Level, num_data: int, budget: float | None
) -> AnalysisPlan:
    """Say what an analysis does and takes.

    Parameters
    ----------
    pair
        Any pair.
    args
        A batch to time it on.
    total
        How many data there are.
    level
        One of ``LEVELS``.
    num_data
        Data that are asked for.
    budget
        Seconds that it may take: fewer data are looked at, if need be.

    Raises
    ------
    RequestError
        When the budget is too short for a few data.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> plan = plan_analysis(LinearPair(), (torch.zeros(2, 4),), 100, "quick", 50, None)
    >>> plan.num_data, plan.num_samples
    (50, 4000)
    """
    costs, num_data = _measure(pair, args), min(num_data, total)
    is_sequence = isinstance(pair, SequencePair)
    if is_sequence:
        particles = {"quick": 100, "standard": 250, "full": 1000}[level]
        plan = AnalysisPlan(level, num_data, 4000, 200, particles, 200, 50)
    else:
        two_sided, examined = {"quick": (0, 0), "standard": (0, 32), "full": (20, 100)}[level]
        plan = AnalysisPlan(level, num_data, num_bidirectional=two_sided, num_examined=examined)
    if budget is not None:
        plan = _within(plan, costs, budget, FEWEST_SEQUENCES if is_sequence else FEWEST_DATA)
    return replace(plan, seconds=costs.of(plan))


def _within(plan: AnalysisPlan, costs: _Costs, budget: float, fewest: int) -> AnalysisPlan:
    """Take fewer simulations first, then fewer data."""
    if costs.of(plan) <= budget:
        return plan
    plan = replace(plan, num_simulations=max(100, plan.num_simulations // 4), num_ranked=50)
    plan = replace(plan, num_examined=plan.num_examined // 4)
    least = replace(plan, num_data=min(fewest, plan.num_data))
    per_datum = costs.of(replace(least, num_data=least.num_data + 1)) - costs.of(least)
    shortest = costs.of(least)
    if shortest > budget:
        quick, lower = ", or use `level='quick'`", ", or a lower `level`"
        cheaper = {"quick": "", "standard": quick, "full": lower}
        raise RequestError(
            f"`budget={budget:g}` is too short: {least.num_data} data at level {plan.level} take "
            f"about {shortest:.2g} s; raise it{cheaper[plan.level]}"
        )
    more = int((budget - shortest) / per_datum) if per_datum > 0 else plan.num_data
    return replace(plan, num_data=min(plan.num_data, least.num_data + more))


def _measure(pair: nn.Module, args: Args) -> _Costs:
    if isinstance(pair, SequencePair):
        return _of_sequences(pair, args)
    try:
        return _of_real_latents(pair, args)
    except RequestError:
        return _of_any(pair, args)


def _of_real_latents(pair: nn.Module, args: Args) -> _Costs:
    with probing(pair, args[0].device):
        target = Target(pair, args, "an analysis")
        scouts = target.draw_guide(ScoutSettings().number)
        many = target.draw_guide(max(1, ROWS_OF_TRIAL // target.num_data))
        gradient = _fastest(lambda: _differentiate(target, scouts))
        density = _fastest(lambda: target.log_joint(many).sum() + target.log_guide(many).sum())
    return _Costs(gradient / scouts[..., 0].numel(), density / many[..., 0].numel())


def _of_any(pair: nn.Module, args: Args) -> _Costs:
    try:
        draws = max(1, ROWS_OF_TRIAL // len(args[0]))
        seconds = _fastest(lambda: importance_weights(pair, args, draws).log_weights.sum())
    except RequestError:  # no latents, or points for latents: there is little to do
        return _Costs()
    return _Costs(density=seconds / (draws * len(args[0])))


def _of_sequences(pair: SequencePair, args: Args) -> _Costs:
    few = tuple(arg[:4] for arg in args)
    share = float(args[1].double().mean() / few[1].max()) / len(few[0])
    with probing(pair, args[0].device):
        forward = _fastest(lambda: particle_filter(pair, few, 200).log_evidence.sum(), times=1)
        both = forward
        if pair.has_latents:
            both = _fastest(lambda: draw_paths(pair, few, 200, 20)[0].sum(), times=1)
    return _Costs(particle=forward * share / 200, path=max(0.0, both - forward) * share / 20)


def _differentiate(target: Target, u: Tensor) -> Tensor:
    with torch.enable_grad():
        u = u.requires_grad_()
        (gradient,) = torch.autograd.grad(target.log_joint(u).sum(), u)
    return gradient.sum()


def _fastest(fn: Callable[[], Tensor], times: int = 3) -> float:
    """Return the seconds of the fastest of some calls, after one that is not counted."""
    seconds = []
    for _ in range(times + 1):
        begun = time.perf_counter()
        float(fn())
        seconds.append(time.perf_counter() - begun)
    return min(seconds[1:])
