"""Can the posterior of this datum be trusted? A verdict for each datum, and draws that are right.

Importance weights of draws from a guide cannot tell what it missed. So every datum gets a second
opinion that does not rest on the guide: short HMC chains, and importance weights of a mixture of
chains, guide and prior (:mod:`vaezoo.inference.proposals`). Guide and mixture are then compared:

==================  ======================  ===============  =======================================
check               good                    bad              of what
==================  ======================  ===============  =======================================
``k_hat``           up to 0.7               above 1          weights of the guide (PSIS)
``ess``             10 %, and 400 draws     below 1 %        weights of the guide
``log_evidence``    differs by < 0.2 nats   by > 0.5 nats    log p(x) by the guide, by the mixture
``mean_shift``      < 0.25 sd               from 0.5 sd      mean of the guide, worst latent
``sd_ratio``        0.8 ... 1.25            beyond 0.67,     sd of the guide over that of the
                                            1.5              posterior, worst latent
``reference``       k-hat up to 0.7, or     neither          weights of the mixture
                    bounded weights
==================  ======================  ===============  =======================================

In between is a caution. A datum is **trusted** when everything is good, **repaired** when the
reference is good and something else is not, so that the resampled draws of the mixture are right
though the guide is not, and **not trusted** when the reference itself is not good.

All of this is about q(z | x) given the parameters of the networks; it says nothing about those.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.inference.hmc import ChainSettings, largest_r_hat
from vaezoo.inference.importance import (
    Smoothed,
    effective_share,
    largest_good_k,
    log_evidence,
    log_evidence_error,
    pareto_smooth,
    resample,
    summary,
)
from vaezoo.inference.local_fits import best_elbo
from vaezoo.inference.proposals import StudentTMixture, run_short_chains, weigh
from vaezoo.inference.target import Target
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import in_pieces, join, numbered_rows
from vaezoo.pairs.sites import Args

__all__ = [
    "CHAINS",
    "GRADES",
    "SHORT",
    "VERDICTS",
    "PosteriorCheck",
    "Verdict",
    "check_posteriors",
    "grade",
    "grade_guide",
    "verdict",
]

Verdict = Literal["trusted", "repaired", "not trusted"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
GRADES = ("good", "caution", "bad")

WORDS = {
    "k_hat": "importance weights of the guide are noise",
    "ess": "few draws of the guide count",
    "log_evidence": "the guide misses part of the posterior, or its importance weights are noise",
    "mean_shift": "the guide is shifted",
    "sd_ratio": "the guide is too narrow or too wide",
    "reference": "the mixture does not cover the posterior either",
}

FEWEST_DRAWS = 1000
ENOUGH_EFFECTIVE, FEWEST_EFFECTIVE = 400, 100
LARGEST_SHARE = 0.01
DATA_DIM = {"draws": 1, "chains": 2, "chain_log_joint": 2}  # of the fields of a check
CHAINS, SHORT = 4, ChainSettings(num_samples=100, num_warmup=150)


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
    mean_shift, sd_ratio
        Of the guide against the mixture, for the worst unconstrained latent, ``(B,)``.
    r_hat, divergences
        Of the short chains, ``(B,)``. R-hat above 1.05 is a sign of several modes, and no fault of
        the mixture, which weighs them.
    local_elbo
        ELBO of the best diagonal Gaussian, ``(B,)``, in nats; None unless asked for.
    draws
        Draws from the mixture, resampled by their smoothed weights: by site, ``(R, B, *event)``.
        Draws from the posterior for data that are trusted or repaired.
    chains, chain_log_joint
        The short chains, by site ``(C, S, B, *event)``, and log p(x, z) of them ``(C, S, B)``.
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
    r_hat: Tensor
    divergences: Tensor
    local_elbo: Tensor | None
    draws: Mapping[str, Tensor]
    chains: Mapping[str, Tensor]
    chain_log_joint: Tensor
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
        Whether the gap of inference is split into approximation and amortisation gap.
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
    parts = []
    for first, part in numbered_rows(args, max_data):
        with probing(pair, args[0].device, seed=seed + first):
            target = Target(pair, part, "a check of posteriors")
            parts.append(_check(target, num_samples, num_resampled, split_gap, seed + first))
    return join(parts, dims=DATA_DIM)


def _check(
    target: Target, num_samples: int, num_resampled: int, split_gap: bool, seed: int
) -> PosteriorCheck:
    begun = time.perf_counter()
    guide_draws = target.draw_guide(num_samples)
    of_guide = _log_weights_of_guide(target, guide_draws)
    chains = run_short_chains(target, CHAINS, SHORT)
    mixture = StudentTMixture.fit(chains.unconstrained, chains.start)
    u, of_mixture = weigh(target, mixture, num_samples)
    of_mixture = of_mixture.cpu().double()
    smoothed = pareto_smooth(of_mixture)
    local = best_elbo(target).cpu().double() if split_gap else None
    values = {
        **summary(of_guide, pareto_smooth(of_guide)),
        **_summary_of_mixture(of_mixture, smoothed),
        **_compare(guide_draws, u, smoothed.log_weights),
    }
    grades = _grades(values, num_samples)
    kept = resample({"u": u}, smoothed.log_weights, num_resampled, seed=seed)["u"]
    return PosteriorCheck(
        verdict=verdict(grades, ["reference"]),
        grades=grades,
        **values,
        r_hat=largest_r_hat(chains),
        divergences=chains.divergences.cpu(),
        local_elbo=local,
        draws=target.constrain(kept)[0],
        chains=chains.latents,
        chain_log_joint=chains.log_joint,
        seconds=time.perf_counter() - begun,
    )


def _log_weights_of_guide(target: Target, u: Tensor) -> Tensor:
    """Return log p(x, u) - log q(u | x) of draws from the guide ``(S, B, L)``, ``(S, B)``."""
    log_weights = in_pieces(
        lambda some: target.log_joint(some) - target.log_guide(some), u, target.rows_at_once()
    )
    return log_weights.cpu().double()


def _summary_of_mixture(log_weights: Tensor, smoothed: Smoothed) -> dict[str, Tensor]:
    return {
        "log_evidence": log_evidence(log_weights),
        "standard_error": log_evidence_error(log_weights),
        "reference_k_hat": smoothed.k_hat,
        "reference_ess": effective_share(log_weights),
        "largest_share": log_weights.softmax(0).max(0).values,
    }


def _compare(guide_draws: Tensor, u: Tensor, log_weights: Tensor) -> dict[str, Tensor]:
    """Return the shift of the mean, and the ratio of sds, of the worst latent, each ``(B,)``.

    ``u`` are draws from the mixture, with their log importance weights.
    """
    guide_draws, u = guide_draws.cpu().double(), u.cpu().double()
    share = log_weights.softmax(0).unsqueeze(-1)
    mean = (share * u).sum(0)
    sd = (share * (u - mean).square()).sum(0).sqrt().clamp(min=1e-12)
    shift = ((guide_draws.mean(0) - mean) / sd).abs().max(-1).values
    log_ratio = (guide_draws.std(0).clamp(min=1e-12) / sd).log()
    worst = log_ratio.abs().argmax(-1, keepdim=True)
    return {"mean_shift": shift, "sd_ratio": log_ratio.gather(-1, worst).squeeze(-1).exp()}


def _grades(values: Mapping[str, Tensor], num_samples: int) -> dict[str, Tensor]:
    """Return the place in GRADES of each check."""
    limit = largest_good_k(num_samples)
    difference = (values["log_evidence"] - values["iwae"]).abs()
    log_ratio = values["sd_ratio"].log().abs()
    bounded = (values["reference_ess"] >= 0.1) & (values["largest_share"] <= LARGEST_SHARE)
    enough = num_samples * values["reference_ess"] >= FEWEST_EFFECTIVE
    reference = enough & ((values["reference_k_hat"] <= limit) | bounded)
    return {
        **grade_guide(values["k_hat"], values["ess"], num_samples),
        "log_evidence": grade(difference < 0.2, difference > 0.5),
        "mean_shift": grade(values["mean_shift"] < 0.25, values["mean_shift"] >= 0.5),
        "sd_ratio": grade(log_ratio <= math.log(1.25), log_ratio > math.log(1.5)),
        "reference": grade(reference, ~reference),
    }


def grade_guide(k_hat: Tensor, ess: Tensor, num_samples: int) -> dict[str, Tensor]:
    """Return the place in GRADES of what the weights of the guide say by themselves.

    Examples
    --------
    >>> grade_guide(torch.tensor([0.2, 1.2]), torch.tensor([0.9, 0.005]), 4000)
    {'k_hat': tensor([0, 2]), 'ess': tensor([0, 2])}
    """
    enough = (ess >= 0.1) & (num_samples * ess >= ENOUGH_EFFECTIVE)
    return {
        "k_hat": grade(k_hat <= largest_good_k(num_samples), k_hat > 1),
        "ess": grade(enough, ess < 0.01),
    }


def grade(good: Tensor, bad: Tensor) -> Tensor:
    """Return 0, 1 or 2; what is not a number is bad.

    Examples
    --------
    >>> grade(torch.tensor([True, False, False]), torch.tensor([False, False, True]))
    tensor([0, 1, 2])
    """
    return torch.where(good, 0, torch.where(bad, 2, 1))


def verdict(grades: Mapping[str, Tensor], of_repair: Sequence[str]) -> Tensor:
    """Return the place in VERDICTS, given which checks are those of the repaired draws.

    Examples
    --------
    >>> grades = {"k_hat": torch.tensor([0, 2, 2]), "reference": torch.tensor([0, 0, 1])}
    >>> [VERDICTS[place] for place in verdict(grades, ["reference"])]
    ['trusted', 'repaired', 'not trusted']
    """
    all_good, repaired = (
        torch.stack([grades[name] for name in names]).max(0).values == 0
        for names in (grades, of_repair)
    )
    return torch.where(all_good, 0, torch.where(repaired, 1, 2))
