"""From comparisons of a guide with its posterior to grades, and to a verdict on each datum.

==================  ======================  ===============  =======================================
check               good                    bad              of what
==================  ======================  ===============  =======================================
``k_hat``           up to 0.7, or bounded   above 1          weights of the guide (PSIS)
                    weights
``ess``             10 %, and 400 draws     below 1 %        weights of the guide
``log_evidence``    differs by < 0.2 nats   by > 0.5 nats    log p(x) by the guide, by the mixture
``mean_shift``      < 0.25 sd               from 0.5 sd      mean of the guide, worst latent
``sd_ratio``        0.8 ... 1.25            beyond 0.67,     sd of the guide over that of the
                                            1.5              posterior, worst latent
``distribution``    < 0.1                   > 0.2            distribution functions of the guide and
                                                             the posterior, worst latent
``reference``       200 effective draws,    otherwise        weights of the mixture; and no ELBO
                    k-hat up to 0.7 or                       lies 0.2 nats above its log p(x), which
                    bounded weights                          is impossible
``modes``           < 20 %                  20 %             share of the posterior in modes that
                                                             fewer than two starts from the prior
                                                             have found: a finding of luck
``exam``            passed                  failed           the run: exact draws of data that the
                                                             model made
                                                             (:mod:`vaezoo.diagnostics.exam`)
==================  ======================  ===============  =======================================

Means and deviations are compared on the scale of the latents, and on that of the reals that carry
them. In between is a caution. A datum is **trusted** when everything is good, **repaired** when
reference and modes are good and something else is not, so that the resampled draws of the mixture
are right though the guide is not, and **not trusted** when the reference itself is not good.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from vaezoo.inference.importance import (
    Smoothed,
    effective_share,
    largest_good_k,
    log_evidence,
    log_evidence_error,
)
from vaezoo.inference.scouts import Scouts
from vaezoo.inference.target import Target
from vaezoo.pairs.pieces import in_pieces

__all__ = [
    "GRADES",
    "VERDICTS",
    "WORDS",
    "Verdict",
    "compare",
    "grade",
    "grade_guide",
    "grade_mixture",
    "grades_of",
    "summary_of_mixture",
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
    "distribution": "the guide has another shape",
    "reference": "the mixture does not cover the posterior either",
    "modes": "a mode that counts was found by luck",
    "exam": "the mixture missed parts of posteriors of data that the model made",
}

ENOUGH_EFFECTIVE, FEWEST_EFFECTIVE = 400, 200
LARGEST_SHARE = 0.01
BOUNDED_ESS = {"guide": 0.5, "mixture": 0.1}
MOST_UNCONFIRMED, FEWEST_STARTS = 0.2, 2
QUANTILES = torch.linspace(0.05, 0.95, 19, dtype=torch.float64)


def compare(
    target: Target, guide_draws: Tensor, u: Tensor, log_weights: Tensor
) -> dict[str, Tensor]:
    """Return how far the guide is off in the worst latent: see the fields of a check, ``(B,)``.

    ``u`` are draws from the mixture, with their log importance weights.
    """
    shares = log_weights.softmax(0).unsqueeze(-1)
    guide_draws, u = guide_draws.cpu(), u.cpu()
    shift, log_ratio = _compare_moments(guide_draws, u, shares)
    if not target.is_unconstrained:
        guide_z, z = (_constrained(target, draws) for draws in (guide_draws, u))
        of_z, log_ratio_of_z = _compare_moments(guide_z, z, shares)
        shift = torch.maximum(shift, of_z)
        log_ratio = torch.where(log_ratio.abs() > log_ratio_of_z.abs(), log_ratio, log_ratio_of_z)
    return {
        "mean_shift": shift,
        "sd_ratio": log_ratio.exp(),
        "distribution": _compare_distributions(guide_draws, u, shares),
    }


def summary_of_mixture(
    log_weights: Tensor, smoothed: Smoothed, masses: Tensor, scouts: Scouts
) -> dict[str, Tensor]:
    """Return what the weights of the mixture ``(S, B)`` say: see the fields of a check, ``(B,)``.

    ``masses`` are the shares of the posterior in each mode, ``(K, B)``.
    """
    log_weights = log_weights.cpu().double()
    return {
        "log_evidence": log_evidence(log_weights),
        "standard_error": log_evidence_error(log_weights),
        "reference_k_hat": smoothed.k_hat,
        "reference_ess": effective_share(log_weights),
        "largest_share": log_weights.softmax(0).max(0).values,
        "unconfirmed": (masses * (scouts.found < FEWEST_STARTS)).sum(0).cpu(),
    }


def _constrained(target: Target, u: Tensor) -> Tensor:
    """Return the latents as they are, ``(S, B, elements)``."""

    def flat(part: Tensor) -> Tensor:
        return torch.cat([z.flatten(2) for z in target.constrain(part)[0].values()], -1)

    return in_pieces(flat, u, target.rows_at_once())


def _compare_moments(guide_draws: Tensor, u: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
    """Return the shift of the mean, in sds, and the log ratio of sds, of the worst, ``(B,)``."""
    guide_draws, u = guide_draws.double(), u.double()
    mean = (shares * u).sum(0)
    sd = (shares * (u - mean).square()).sum(0).sqrt().clamp(min=1e-12)
    shift = ((guide_draws.mean(0) - mean) / sd).abs().max(-1).values
    log_ratio = (guide_draws.std(0).clamp(min=1e-12) / sd).log()
    worst = log_ratio.abs().argmax(-1, keepdim=True)
    return shift, log_ratio.gather(-1, worst).squeeze(-1)


def _compare_distributions(guide_draws: Tensor, u: Tensor, shares: Tensor) -> Tensor:
    """Return how far distribution functions differ at quantiles of the guide, ``(B,)``.

    ``shares`` are those of the draws ``u``, ``(S, B, 1)``.
    """
    ordered = guide_draws.permute(1, 2, 0).contiguous().sort().values
    places = (QUANTILES * (len(guide_draws) - 1)).round().long()
    # between which quantiles each draw lies, and what share of all draws lies there
    draws = u.permute(1, 2, 0).contiguous()
    between = torch.searchsorted(ordered[..., places].contiguous(), draws)
    mass = shares.new_zeros(*between.shape[:2], len(places) + 1)
    mass.scatter_add_(2, between, shares.permute(1, 2, 0).expand(between.shape))
    below = mass.cumsum(2)[..., :-1]
    return (below - (places + 1) / len(guide_draws)).abs().amax((1, 2))


def grades_of(
    values: Mapping[str, Tensor], num_samples: int, largest_of_guide: Tensor, highest_elbo: Tensor
) -> dict[str, Tensor]:
    """Return the place in GRADES of each check.

    ``largest_of_guide`` is the share of its largest weight, ``(B,)``, and ``highest_elbo`` the best
    bound of log p(x) that has little noise, in nats.
    """
    difference = (values["log_evidence"] - values["iwae"]).abs()
    log_ratio = values["sd_ratio"].log().abs()
    distribution = grade(values["distribution"] < 0.1, values["distribution"] > 0.2)
    grades = {
        **grade_guide(values["k_hat"], values["ess"], num_samples),
        "log_evidence": grade(difference < 0.2, difference > 0.5),
        "mean_shift": grade(values["mean_shift"] < 0.25, values["mean_shift"] >= 0.5),
        "sd_ratio": grade(log_ratio <= math.log(1.25), log_ratio > math.log(1.5)),
        "distribution": distribution,
    }
    # k-hat is then of a tail that does not matter.
    bounded = _are_bounded(values["ess"], largest_of_guide, "guide") & (distribution == 0)
    grades["k_hat"] = grades["k_hat"].masked_fill(bounded, 0)
    of_mixture = grade_mixture(values, num_samples)
    too_low = (highest_elbo > values["log_evidence"] + 0.2 + 3 * values["standard_error"]).long()
    of_mixture["reference"] = torch.maximum(of_mixture["reference"], 2 * too_low)
    return {**grades, **of_mixture}


def grade_mixture(values: Mapping[str, Tensor], num_samples: int) -> dict[str, Tensor]:
    """Return the place in GRADES of what :func:`summary_of_mixture` says."""
    bounded = _are_bounded(values["reference_ess"], values["largest_share"], "mixture")
    low = values["reference_k_hat"] <= largest_good_k(num_samples)
    enough = num_samples * values["reference_ess"] >= FEWEST_EFFECTIVE
    return {
        "reference": _good_or_bad(enough & (low | bounded)),
        "modes": _good_or_bad(values["unconfirmed"] < MOST_UNCONFIRMED),
    }


def _are_bounded(ess: Tensor, largest_share: Tensor, of: str) -> Tensor:
    return (ess >= BOUNDED_ESS[of]) & (largest_share <= LARGEST_SHARE)


def _good_or_bad(good: Tensor) -> Tensor:
    return grade(good, ~good)


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
