"""The exam: do checks miss parts of posteriors? On data that the model made, one draw is known.

The latents that made a datum are an exact draw from its posterior. If the mixture that checks it
covers the posterior, this draw weighs about as much as those of the mixture; one that outweighs all
of them together lies where the mixture does not go, in a part that scouts, guide and prior missed.
That is so by chance for less than one in as many draws as count.

What few starts from the prior lead to, scouts cannot see, and they do not know it; the exam does.
It speaks for a run, not for a datum, and for data of the model: a mode that the model hardly ever
draws from is in no exam.
"""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from vaezoo.diagnostics.checking import PosteriorCheck
from vaezoo.diagnostics.grading import grade_mixture, summary_of_mixture
from vaezoo.errors import RequestError
from vaezoo.inference.importance import pareto_smooth
from vaezoo.inference.proposals import log_weights_at, proposal, weigh
from vaezoo.inference.scouts import ScoutSettings, send_scouts
from vaezoo.inference.target import Target, precise, trial_target
from vaezoo.observations.simulation import simulate
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import join, slices
from vaezoo.pairs.sites import Args

__all__ = ["Exam", "examine", "with_exam"]

WHAT = "an exam of checks"
MOST_MISSED = 0.02  # of the posteriors; more, for sure, is a failure
CONFIDENCE = 0.95


@dataclass(frozen=True)
class Exam:
    """Of N data that the model made, what their exact draws say.

    Attributes
    ----------
    excess
        Log weight of the exact draw less log p(x), ``(N,)``, in nats.
    judged
        Whether the mixture would have been relied on, ``(N,)``.
    num_samples
        Draws of the mixture for each.
    """

    excess: Tensor
    judged: Tensor
    num_samples: int

    @property
    def missed(self) -> Tensor:
        """Whether the exact draw outweighs the mixture though that was relied on, ``(N,)``."""
        return self.judged & (self.excess > math.log(self.num_samples))

    @property
    def num_judged(self) -> int:
        return int(self.judged.sum())

    @property
    def num_missed(self) -> int:
        return int(self.missed.sum())

    @property
    def most_missed(self) -> float:
        """The share of posteriors' mass that may be missed at most, with 95 % confidence."""
        return _upper(self.num_missed, self.num_judged)

    @property
    def passed(self) -> bool:
        """Whether no more than 2 % need to be missed to explain what was seen."""
        number = self.num_judged
        least = 1 - _upper(number - self.num_missed, number) if number else 0.0
        return least <= MOST_MISSED

    def explain(self) -> str:
        """Return one line on it, with the share that 95 % confidence allows.

        Examples
        --------
        >>> Exam(torch.zeros(59), torch.ones(59, dtype=torch.bool), 4000).explain()
        'passed: of 59 exact draws, the mixture missed 0; at most 5 % of posteriors'
        """
        number, total = self.num_judged, len(self.judged)
        if not number:
            return f"none of {total} data that the model made could be judged"
        word = "passed" if self.passed else "failed"
        return (
            f"{word}: of {number} exact draws, the mixture missed {self.num_missed}; "
            f"at most {100 * self.most_missed:.0f} % of posteriors"
        )


def examine(
    pair: nn.Module,
    args: Args,
    num_data: int = 32,
    *,
    num_samples: int = 4000,
    scouting: ScoutSettings | None = None,
    seed: int = 0,
) -> Exam:
    """Check posteriors of data that the model made, of which exact draws are known.

    Parameters
    ----------
    pair
        Any pair whose latents are continuous.
    args
        A batch, tensors of ``(B, ...)``; what the model does not draw comes from its rows.
    num_data
        Data N that the model makes.
    num_samples
        Draws from the mixture for each.
    scouting
        How many scouts are sent for each, and how far.
    seed
        Seed of everything.

    Raises
    ------
    RequestError
        As a check of posteriors, and when there is nothing to examine.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> examine(LinearPair(scale=1 / 3), (torch.zeros(3, 4),), 8).passed  # guides do not matter
    True
    """
    if num_data < 1:
        raise RequestError(f"an exam takes 1 datum or more, got {num_data}")
    scouting, parts = scouting or ScoutSettings(), []
    with precise(pair, args, WHAT) as (pair, args):
        at_once = scouting.data_at_once(trial_target(pair, args, WHAT).num_latents)
        with probing(pair, args[0].device, seed=seed):
            latents, made = simulate(pair, args, num_data)
            for some in slices(num_data, at_once):
                target = Target(pair, tuple(arg[some] for arg in made), WHAT)
                truth = target.unconstrain({name: z[None, some] for name, z in latents.items()})
                parts.append(_examine(target, truth, num_samples, scouting))
    excess, judged = join(parts)
    return Exam(excess, judged, num_samples)


def with_exam(check: PosteriorCheck, exam: Exam) -> PosteriorCheck:
    """Return a check whose verdicts take the exam of its run into account."""
    failed = not exam.passed
    place = torch.full_like(check.verdict, 2 * failed)
    grades = {**check.grades, "exam": place}
    return replace(check, grades=grades, verdict=torch.maximum(check.verdict, place))


def _examine(
    target: Target, truth: Tensor, num_samples: int, scouting: ScoutSettings
) -> tuple[Tensor, Tensor]:
    """Return the excess of exact draws ``(1, B, L)``, and whether each is judged, ``(B,)``."""
    scouts = send_scouts(target, scouting)
    mixture = proposal(target, scouts.clusters)
    u, log_weights = weigh(target, mixture, num_samples)
    smoothed = pareto_smooth(log_weights.cpu().double())
    masses = mixture.masses(u, smoothed.log_weights)
    values = summary_of_mixture(log_weights, smoothed, masses, scouts)
    grades = torch.stack([*grade_mixture(values, num_samples).values()])
    of_truth = log_weights_at(target, mixture, truth)[0].cpu().double()
    return of_truth - values["log_evidence"], grades.max(0).values == 0


def _upper(number: int, total: int) -> float:
    """Return the upper limit of a share of which ``number`` of ``total`` were seen.

    The limit of Clopper & Pearson 1934, by halving.
    """
    if number >= total:
        return 1.0
    trials = torch.arange(number + 1, dtype=torch.float64)
    log_ways = math.lgamma(total + 1) - torch.lgamma(trials + 1) - torch.lgamma(total - trials + 1)
    low, high = 0.0, 1.0
    for _ in range(60):
        p = (low + high) / 2
        log_p = log_ways + trials * math.log(p) + (total - trials) * math.log1p(-p)
        low, high = (p, high) if float(log_p.logsumexp(0).exp()) > 1 - CONFIDENCE else (low, p)
    return high
