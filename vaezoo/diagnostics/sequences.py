"""Can the posterior of this sequence be trusted? Filters whose proposals are only half the guide's.

Importance weights of whole paths get worse with every frame, however good a guide is at each of
them, so that one k-hat for a path says little. The reference is particle filters that propose from
guide and prior in halves, so that no guide can hide what the prior reaches, with whole paths by
backward simulation (:func:`vaezoo.inference.filtering.draw_paths`):

================  ================  ===============  ==============================================
check             good              bad              of what
================  ================  ===============  ==============================================
``log_evidence``  differs < 0.2     > 0.5 nats       log p(x) by the guide (the higher one of IWAE
                  nats                               and FIVO), and by the reference
``mean_shift``    < 0.25 sd         from 0.5 sd      mean of the guide at the worst frame, of a
                                                     latent or of its change to the next frame
``sd_ratio``      0.8 ... 1.25      beyond 0.67,     sd of the guide over that of the posterior,
                                    1.5              likewise
``filters``       differ < 0.2      > 1 nat          log p(x) by the filters of the reference
                  nats
``ancestors``     100 or more       fewer than 30    draws of the reference that count at the worst
                                                     frame, where one particle is taken often
================  ================  ===============  ==============================================

Where half of the guide's whole paths count, they have less noise than the reference, which then has
to show only that they miss nothing: filters may differ by 0.5 nats, means by 0.4 sd, and deviations
by a factor of 1.35. In between is a caution.

A sequence is **trusted** when everything is good. It is **repaired** when the reference is,
``filters`` and ``ancestors``: its paths, in ``draws``, are then from p(z | x) though those of the
guide are not. Otherwise it is **not trusted**. Where the filters disagree they are run again with
eight times as many particles before that is said.

A mode that neither guide nor prior proposes, or one that only later frames speak for and that all
filters have lost by then, stays unseen.
"""

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaezoo.diagnostics.grading import VERDICTS, Verdict, grade, verdict
from vaezoo.errors import RequestError
from vaezoo.exact.kalman import KalmanModel
from vaezoo.inference.filtering import Filtered, draw_paths, particle_filter
from vaezoo.pairs.accounting import elbo_terms, log_mean_exp
from vaezoo.pairs.lengths import aligned, frame_mask
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args, repeat_rows
from vaezoo.sequences.joint import Layout
from vaezoo.sequences.paths import training_form
from vaezoo.sequences.sequence_pair import SequencePair, as_sequence_pair

__all__ = [
    "CLOSE",
    "GUIDED_PATHS",
    "MORE_PARTICLES",
    "NUM_FILTERS",
    "PATHS_OF_EACH",
    "SequenceCheck",
    "check_sequences",
]

FEWEST_PARTICLES = 50
DRAWS_OF_ELBO = 16
GUIDED_PATHS = 1000
NUM_FILTERS, PATHS_OF_EACH = 4, 100
MORE_PARTICLES = 8
CLOSE, ENOUGH_ANCESTORS = 0.2, 100
# Where the guide's whole paths can be weighed, and elsewhere.
CLOSE_TO_ANOTHER, SHIFTS, LOG_RATIOS = 0.5, (0.4, 0.25), (math.log(1.35), math.log(1.25))


@dataclass(frozen=True)
class SequenceCheck:
    """What is known of the posterior of each of B sequences.

    Attributes
    ----------
    verdict
        Place in ``VERDICTS``, ``(B,)``.
    grades
        Place in :data:`vaezoo.diagnostics.grading.GRADES` of each check, ``(B,)``.
    num_particles
        K.
    length
        Frames, ``(B,)``.
    elbo, iwae, fivo
        Bounds on log p(x), ``(B,)``, in nats per sequence: of the guide alone, by weighing 1,000
        paths of it (K if that is more), and by a filter of K particles with it as proposal.
    log_evidence
        log p(x) by the reference, ``(B,)``.
    exact
        log p(x), where the pair knows it, ``(B,)``.
    difference
        In log p(x), of the filters of the reference that are farthest apart, ``(B,)``.
    mean_shift, sd_ratio
        Of the guide against the reference, at the worst frame, ``(B,)``.
    ancestors
        How many of the draws of the reference count, at the worst frame, ``(B,)``.
    ess
        Share of the guide's particles that count after each frame, ``(B, T)``; NaN behind the end.
    k_hat
        Of the importance weights after each frame, ``(B, T)``.
    log_predictive
        log p(x_t | x_1 ... x_{t-1}), ``(B, T)``.
    draws
        Paths of the reference by latent, equally weighted: ``z (R, B, T, z_dim)``.
    seconds
        What it took.
    """

    verdict: Tensor
    grades: Mapping[str, Tensor]
    num_particles: int
    length: Tensor
    elbo: Tensor
    iwae: Tensor
    fivo: Tensor
    log_evidence: Tensor
    exact: Tensor | None
    difference: Tensor
    mean_shift: Tensor
    sd_ratio: Tensor
    ancestors: Tensor
    ess: Tensor
    k_hat: Tensor
    log_predictive: Tensor
    draws: Mapping[str, Tensor]
    seconds: float

    @property
    def verdicts(self) -> list[Verdict]:
        """Return the verdict of each sequence in words."""
        return [VERDICTS[i] for i in self.verdict.tolist()]

    @property
    def gap(self) -> Tensor:
        """Return log p(x) - ELBO, ``(B,)``, in nats per sequence."""
        return self.log_evidence - self.elbo


def check_sequences(
    pair: nn.Module, args: Args, *, num_particles: int = 500, seed: int = 0
) -> SequenceCheck:
    """Judge the posterior of each sequence by particle filters.

    Parameters
    ----------
    pair
        A sequence pair with latents.
    args
        Sequences ``x (B, T, *x_shape)`` and lengths ``(B,)``.
    num_particles
        Particles K of each filter; eight times as many where these disagree.
    seed
        Seed of everything.

    Raises
    ------
    RequestError
        When the pair is no sequence pair, has no latents, or there are too few particles.

    Examples
    --------
    >>> from vaezoo.models.lgssm import LGSSM
    >>> x, length = torch.zeros(2, 5, 3), torch.tensor([5, 3])
    >>> check = check_sequences(LGSSM(x_shape=(3,)), (x, length))
    >>> bool(((check.log_evidence - check.exact).abs() < 0.3).all())
    True
    """
    pair = as_sequence_pair(pair, "a check of sequences")
    if not pair.has_latents:
        raise RequestError(
            f"a check of sequences needs latents, and {type(pair).__name__} has none, so that its "
            "log p(x) is exact; use `vaezoo.evaluate(run)`"
        )
    if num_particles < FEWEST_PARTICLES:
        raise RequestError(
            f"a verdict takes {FEWEST_PARTICLES} particles or more, got {num_particles}"
        )
    begun = time.perf_counter()
    with probing(pair, args[0].device, seed=seed):
        guided = particle_filter(pair, args, num_particles, keep_k_hat=True)
        number = max(GUIDED_PATHS, num_particles)  # fewer are noise at some of many frames
        apart = particle_filter(pair, args, number, threshold=0.0, keep_paths=True)
        reference = _refer(pair, args, num_particles, _by_whole_paths(apart))
        values = {"elbo": _elbo(pair, args), **_of_guide(guided, apart), **reference.values}
        assert apart.paths is not None
        values |= _compare(apart.paths.transpose(0, 1), reference.paths, args[1])
        by_name = _by_name(pair, reference.paths)
    grades = _grades(values, _by_whole_paths(apart))
    return SequenceCheck(
        verdict=verdict(grades, ["filters", "ancestors"]),
        grades=grades,
        num_particles=num_particles,
        length=args[1].cpu(),
        exact=_exact(pair, args),
        draws=by_name,
        seconds=time.perf_counter() - begun,
        **values,
    )


def _of_guide(guided: Filtered, apart: Filtered) -> dict[str, Tensor]:
    """Return what filters with the guide as proposal say."""
    assert guided.k_hat is not None  # it was asked for
    return {
        "fivo": guided.log_evidence.cpu().double(),
        "iwae": apart.log_evidence.cpu().double(),
        "ess": (guided.ess / guided.log_weights.shape[1]).cpu(),
        "k_hat": guided.k_hat.cpu(),
        "log_predictive": guided.log_predictive.cpu(),
    }


def _by_whole_paths(apart: Filtered) -> Tensor:
    """Return log p(x) where half of the guide's whole paths count, and NaN elsewhere, ``(B,)``."""
    share = (-(2 * apart.log_weights).logsumexp(1)).exp() / apart.log_weights.shape[1]
    return torch.where(share >= 0.5, apart.log_evidence, torch.nan).cpu().double()


def _elbo(pair: SequencePair, args: Args) -> Tensor:
    form = training_form(pair)
    draws = [elbo_terms(form, args).elbo for _ in range(DRAWS_OF_ELBO)]
    return torch.stack(draws).mean(0).cpu().double()


def _exact(pair: SequencePair, args: Args) -> Tensor | None:
    """Return log p(x) of a pair whose ``exact()`` is a Kalman model."""
    model = getattr(pair, "exact", lambda: None)()
    if not isinstance(model, KalmanModel):
        return None
    x, length = args
    return model.log_evidence(x.flatten(2).cpu().double(), length.cpu())


@dataclass(frozen=True)
class _Reference:
    """Paths ``(R, B, T, L)``, and ``log_evidence``, ``difference`` and ``ancestors``, ``(B,)``."""

    paths: Tensor
    values: Mapping[str, Tensor]


def _refer(pair: SequencePair, args: Args, num_particles: int, by_paths: Tensor) -> _Reference:
    """Filter all sequences, and those that are not settled again with more particles."""
    first = _filtered(pair, args, num_particles)
    settled = _agree(first.values, by_paths) & (first.values["ancestors"] >= ENOUGH_ANCESTORS)
    if bool(settled.all()):
        return first
    rows = (~settled).nonzero().flatten()
    some = tuple(arg[rows.to(arg.device)] for arg in args)
    second = _filtered(pair, some, MORE_PARTICLES * num_particles)
    values = {
        name: value.index_put((rows,), second.values[name]) for name, value in first.values.items()
    }
    paths = first.paths.clone()
    paths[:, rows.to(paths.device), : second.paths.shape[2]] = second.paths
    return _Reference(paths, values)


def _filtered(pair: SequencePair, args: Args, num_particles: int) -> _Reference:
    """Run filters that share nothing but the pair."""
    many = repeat_rows(args, NUM_FILTERS)
    log_z, paths, places = draw_paths(pair, many, num_particles, PATHS_OF_EACH)
    log_z = log_z.cpu().double().unflatten(0, (-1, NUM_FILTERS))
    paths = paths.unflatten(1, (-1, NUM_FILTERS)).transpose(1, 2).flatten(0, 1)
    filters = num_particles * torch.arange(NUM_FILTERS, device=paths.device).double()
    places = places.unflatten(1, (-1, NUM_FILTERS)) + filters[:, None]
    values = {
        "log_evidence": log_mean_exp(log_z.T),
        "difference": log_z.max(1).values - log_z.min(1).values,
        "ancestors": _effective(places.transpose(1, 2).flatten(0, 1), args[1]).cpu(),
    }
    return _Reference(paths, values)


def _effective(places: Tensor, length: Tensor) -> Tensor:
    """Return how many of R draws count at the worst frame, ``(B,)``: 1 / sum of squared shares.

    ``places (R, B, T)`` are of particles.
    """
    ordered = places.nan_to_num().sort(0).values
    # A run of n equal draws has n^2 ordered pairs of equals.
    below, above = (
        torch.searchsorted(ordered.permute(1, 2, 0).contiguous(), at, side=side)
        for at in [ordered.permute(1, 2, 0).contiguous()]
        for side in ("left", "right")
    )
    number = len(places) ** 2 / (above - below).sum(-1).double()
    return number.masked_fill(~frame_mask(length, number.shape[1]), math.inf).min(1).values


def _agree(values: Mapping[str, Tensor], by_paths: Tensor) -> Tensor:
    """Return where filters are close to each other, or all to whole paths of the guide, ``(B,)``.

    Whole paths of a guide that is nearly right have less noise than any filter, and need no more
    than that the filters have not seen what it misses.
    """
    apart, missed = values["difference"], (values["log_evidence"] - by_paths).abs()
    return (apart < CLOSE) | ((apart < CLOSE_TO_ANOTHER) & (missed < CLOSE))


def _compare(guide: Tensor, reference: Tensor, length: Tensor) -> dict[str, Tensor]:
    """Return how far paths ``(S, B, T, L)`` of the guide are off at the worst frame, ``(B,)``."""
    mask = frame_mask(length, guide.shape[2])
    shift, log_ratio = [], []
    for lag in (0, 1):
        # What there is of a frame and the next one, of latents and of their change.
        ours, theirs = (
            (z[:, :, lag:] - lag * z[:, :, : z.shape[2] - lag]).double() for z in (guide, reference)
        )
        inside = aligned(mask[:, lag:], ours[0])
        mean, sd = theirs.mean(0), theirs.std(0).clamp(min=1e-12)
        off = ((ours.mean(0) - mean) / sd).abs()
        ratio = (ours.std(0).clamp(min=1e-12) / sd).log()
        shift.append(torch.where(inside, off, 0.0).flatten(1))
        log_ratio.append(torch.where(inside, ratio, 0.0).flatten(1))
    ratios = torch.cat(log_ratio, 1)
    worst = ratios.gather(1, ratios.abs().argmax(1, keepdim=True)).squeeze(1)
    return {"mean_shift": torch.cat(shift, 1).amax(1).cpu(), "sd_ratio": worst.exp().cpu()}


def _by_name(pair: SequencePair, paths: Tensor) -> dict[str, Tensor]:
    """Return paths by the names of the latents of a step, each ``(R, B, T, *event)``."""
    layout = pair.latent_layout  # known: the filters went through its steps
    return layout.unpack(paths) if isinstance(layout, Layout) else {"z": paths}


def _grades(values: Mapping[str, Tensor], by_paths: Tensor) -> dict[str, Tensor]:
    weighed = ~by_paths.isnan()
    of_guide = torch.where(weighed, by_paths, torch.maximum(values["iwae"], values["fivo"]))
    missed = (of_guide - values["log_evidence"]).abs()
    shift, log_ratio = values["mean_shift"], values["sd_ratio"].log().abs()
    most_shift, most_ratio = (torch.where(weighed, *limits) for limits in (SHIFTS, LOG_RATIOS))
    apart, ancestors = values["difference"], values["ancestors"]
    return {
        "log_evidence": grade(missed < CLOSE, missed > 0.5),
        "mean_shift": grade(shift < most_shift, shift >= 0.5),
        "sd_ratio": grade(log_ratio <= most_ratio, log_ratio > math.log(1.5)),
        "filters": grade(_agree(values, by_paths), apart > 1.0),
        "ancestors": grade(ancestors >= ENOUGH_ANCESTORS, ancestors < 30),
    }
