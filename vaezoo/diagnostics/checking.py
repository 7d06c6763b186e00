"""Can the posterior of this datum be trusted? A verdict for each datum, and draws that are right.

Importance weights of draws from a guide cannot tell what it missed. So every datum gets a second
opinion that does not rest on the guide: scouts (:mod:`vaezoo.inference.scouts`), and importance
weights of a mixture of the modes that they found, guide and prior
(:mod:`vaezoo.inference.proposals`). Guide and mixture are
then compared (:mod:`vaezoo.diagnostics.grading`).

All of this is about q(z | x) given the parameters of the networks; it says nothing about those. A
mode that fewer than one draw in 64 from the prior leads to is not looked for.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaezoo.diagnostics.grading import (
    GRADES,
    VERDICTS,
    WORDS,
    Verdict,
    compare,
    grades_of,
    summary_of_mixture,
    verdict,
)
from vaezoo.errors import RequestError
from vaezoo.inference.importance import pareto_smooth, resample, summary
from vaezoo.inference.local_fits import best_elbo
from vaezoo.inference.proposals import proposal, weigh
from vaezoo.inference.scouts import ScoutSettings, send_scouts
from vaezoo.inference.target import Target, precise, trial_target
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import in_pieces, join, numbered_rows
from vaezoo.pairs.sites import Args

__all__ = [
    "PosteriorCheck",
    "check_posteriors",
]

WHAT = "a check of posteriors"
FEWEST_DRAWS = 1000
DATA_DIM = {"draws": 1, "scouts": 1, "mode": 1}  # of the fields of a check


@dataclass(frozen=True)
class PosteriorCheck:
    """What is known of the posterior of each of B data; see :mod:`vaezoo.diagnostics.checking`.

    Attributes
    ----------
    verdict
        Place in ``VERDICTS``, ``(B,)``.
    grades
        Place in ``GRADES`` of each check, ``(B,)``.
    elbo, iwae, psis
        Of the guide, ``(B,)``, in nats: the mean log weight, the log mean weight, and the latter of
        smoothed weights.
    log_evidence, standard_error
        log p(x) by the mixture, and its error, ``(B,)``, in nats.
    k_hat, ess
        Of the weights of the guide, ``(B,)``; the effective sample size is a share of the draws.
    reference_k_hat, reference_ess, largest_share
        Of the weights of the mixture, ``(B,)``; the last is the share of its largest weight.
    mean_shift, sd_ratio, distribution
        Of the guide against the mixture, for the worst latent, ``(B,)``; the last is the largest
        difference of distribution functions.
    num_modes
        Modes that scouts found, ``(B,)``.
    unconfirmed
        Share of the posterior in those that fewer than two starts from the prior found, ``(B,)``.
    local_elbo
        ELBO of the best diagonal Gaussian, ``(B,)``, in nats; None unless asked for, and where the
        guide has another form, in which the best one is not known.
    draws
        Draws from the mixture, resampled by their smoothed weights: by site, ``(R, B, *event)``.
        Draws from the posterior for data that are trusted or repaired.
    scouts, mode
        Where scouts ended, by site ``(N, B, *event)``, and in which mode, ``(N, B)``: 0 for the
        largest, -1 for one that did not arrive in any.
    seconds
        What it took.
    """

    verdict: Tensor
    grades: Mapping[str, Tensor]
    elbo: Tensor
    iwae: Tensor
    psis: Tensor
    log_evidence: Tensor
    standard_error: Tensor
    k_hat: Tensor
    ess: Tensor
    reference_k_hat: Tensor
    reference_ess: Tensor
    largest_share: Tensor
    mean_shift: Tensor
    sd_ratio: Tensor
    distribution: Tensor
    num_modes: Tensor
    unconfirmed: Tensor
    local_elbo: Tensor | None
    draws: Mapping[str, Tensor]
    scouts: Mapping[str, Tensor]
    mode: Tensor
    seconds: float

    @property
    def verdicts(self) -> list[Verdict]:
        """Return the verdict of each datum in words."""
        return [VERDICTS[i] for i in self.verdict.tolist()]

    @property
    def counts(self) -> dict[str, int]:
        """Number of data of each verdict."""
        return {name: int((self.verdict == i).sum()) for i, name in enumerate(VERDICTS)}

    def explain(self, index: int) -> str:
        """Return one line on a datum: its verdict, and what is not good."""
        wrong = [
            f"{WORDS[name]} ({GRADES[places[index]]} {name})"
            for name, places in self.grades.items()
            if places[index]
        ]
        return f"{self.verdicts[index]}: {'; '.join(wrong) or 'all checks are good'}"

    @property
    def gap(self) -> Tensor:
        """log p(x) - ELBO = KL(q || p), ``(B,)``, in nats."""
        return self.log_evidence - self.elbo

    @property
    def approximation_gap(self) -> Tensor | None:
        """What no encoder could recover: log p(x) - ELBO of the best Gaussian, ``(B,)``."""
        return None if self.local_elbo is None else self.log_evidence - self.local_elbo

    @property
    def amortisation_gap(self) -> Tensor | None:
        """What a better encoder would recover: ELBO of the best Gaussian - ELBO, ``(B,)``."""
        return None if self.local_elbo is None else self.local_elbo - self.elbo


def check_posteriors(
    pair: nn.Module,
    args: Args,
    *,
    num_samples: int = 4000,
    num_resampled: int = 1000,
    split_gap: bool = True,
    scouting: ScoutSettings | None = None,
    seed: int = 0,
    max_data: int = 256,
) -> PosteriorCheck:
    """Judge the posterior of each datum, and repair it where the guide is not good enough.

    Parameters
    ----------
    pair
        Any pair whose latents are continuous.
    args
        A batch, tensors of ``(B, ...)``.
    num_samples
        Draws S from the guide, and as many from the mixture.
    num_resampled
        Draws R from the posterior that are returned.
    split_gap
        Whether the gap of inference is split into approximation and amortisation gap, where the
        guide is a diagonal Gaussian.
    scouting
        How many scouts are sent for each datum, and how far.
    seed
        Seed of everything.
    max_data
        Data that are worked on at a time.

    Raises
    ------
    RequestError
        For sequences, discrete latents, autoencoders and pairs without latents, or when there are
        too few draws for a verdict.

    Examples
    --------
    A guide that is three times too narrow.

    >>> from vaezoo.testing.pairs import LinearPair
    >>> pair, x = LinearPair(scale=1 / 3), torch.zeros(2, 4)
    >>> check_posteriors(pair, (x,), num_samples=1000, split_gap=False).verdicts
    ['repaired', 'repaired']
    """
    if num_samples < FEWEST_DRAWS:
        raise RequestError(
            f"a verdict takes {FEWEST_DRAWS} draws for each datum or more, got {num_samples}"
        )
    if not 1 <= num_resampled <= num_samples:
        raise RequestError(f"num_resampled lies between 1 and {num_samples}, got {num_resampled}")
    parts, sizes = [], (num_samples, num_resampled, split_gap)
    scouting = scouting or ScoutSettings()
    with precise(pair, args, WHAT) as (pair, args):
        at_once = min(max_data, scouting.data_at_once(trial_target(pair, args, WHAT).num_latents))
        for first, part in numbered_rows(args, at_once):
            with probing(pair, args[0].device, seed=seed + first):
                target = Target(pair, part, WHAT)
                parts.append(_check(target, *sizes, scouting, seed + first))
    return join(parts, dims=DATA_DIM)


def _check(
    target: Target,
    num_samples: int,
    num_resampled: int,
    split_gap: bool,
    scouting: ScoutSettings,
    seed: int,
) -> PosteriorCheck:
    begun = time.perf_counter()
    guide_draws = target.draw_guide(num_samples)
    of_guide = _log_weights_of_guide(target, guide_draws)
    scouts = send_scouts(target, scouting)
    mixture = proposal(target, scouts.clusters)
    u, of_mixture = weigh(target, mixture, num_samples)
    smoothed = pareto_smooth(of_mixture.cpu().double())
    local = best_elbo(target).cpu().double() if split_gap else None
    label = scouts.clusters.label
    values = {
        **summary(of_guide, pareto_smooth(of_guide)),
        **summary_of_mixture(of_mixture, smoothed, mixture.masses(u, smoothed.log_weights), scouts),
        **compare(target, guide_draws, u, smoothed.log_weights),
    }
    elbo = values["elbo"] if local is None else torch.maximum(values["elbo"], local)
    grades = grades_of(values, num_samples, of_guide.softmax(0).max(0).values, elbo)
    kept = resample({"u": u}, smoothed.log_weights, num_resampled, seed=seed)["u"]
    return PosteriorCheck(
        verdict=verdict(grades, ["reference", "modes"]),
        grades=grades,
        **values,
        num_modes=(scouts.clusters.size > 0).sum(0).cpu(),
        local_elbo=local if target.has_diagonal_guide else None,
        draws=target.constrain(kept)[0],
        scouts=target.constrain(scouts.draws[-1])[0],
        mode=label.masked_fill(label == len(scouts.found), -1).cpu(),
        seconds=time.perf_counter() - begun,
    )


def _log_weights_of_guide(target: Target, u: Tensor) -> Tensor:
    """Return log p(x, u) - log q(u | x) of draws from the guide ``(S, B, L)``, ``(S, B)``."""
    log_weights = in_pieces(
        lambda some: target.log_joint(some) - target.log_guide(some), u, target.rows_at_once()
    )
    return log_weights.cpu().double()
