"""Can the posterior of this sequence be trusted? A particle filter with the guide as proposal.

Importance weights of whole paths get worse with every frame, however good a guide is at each of
them, so that one k-hat for a path says little. A particle filter weighs and resamples frame by
frame, and what it says of the guide is local:

================  ====================  ==============  ============================================
check             good                  bad             of what
================  ====================  ==============  ============================================
``ess``           above 50 %            below 10 %      particles that count, at the median frame
``k_hat``         for 90 % of frames    for less than   k-hat of the weights up to 0.7
                                        half of them
``log_evidence``  differs by less than  by more than    log p(x) by two filters that share nothing
                  1 nat                 3 nats          but the guide (Pitt et al. 2012)
``ancestors``     10 or more            fewer than 3    different first frames among the paths
================  ====================  ==============  ============================================

In between is a caution. A sequence is **trusted** when everything is good. It is **repaired** when
the two filters agree and their paths have enough ancestors: the paths, in ``draws``, are then from
p(z | x) though the guide is a poor proposal. Otherwise it is **not trusted**.

A filter, too, sees only what the guide proposes: a mode that it never proposes stays unseen.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaezoo.diagnostics.grading import VERDICTS, Verdict, grade, verdict
from vaezoo.errors import RequestError
from vaezoo.exact.kalman import KalmanModel
from vaezoo.inference.filtering import Filtered, particle_filter
from vaezoo.inference.importance import largest_good_k, systematic
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args
from vaezoo.sequences.joint import Layout
from vaezoo.sequences.paths import training_form
from vaezoo.sequences.sequence_pair import SequencePair, as_sequence_pair

__all__ = ["SequenceCheck", "check_sequences"]

FEWEST_PARTICLES = 50
DRAWS_OF_ELBO = 16


@dataclass(frozen=True)
class SequenceCheck:
    """What is known of the posterior of each of B sequences.

    Attributes
    ----------
    verdict
        Place in ``VERDICTS``, ``(B,)``.
    grades
        Place in :data:`vaezoo.diagnostics.checking.GRADES` of each check, ``(B,)``.
    num_particles
        K.
    length
        Frames, ``(B,)``.
    elbo, iwae, fivo
        Bounds on log p(x), ``(B,)``, in nats per sequence: of the guide alone, by weighing K
        paths, and by a filter of K particles (the mean of two).
    exact
        log p(x), where the pair knows it, ``(B,)``.
    difference
        Of the two filters in log p(x), ``(B,)``.
    ess
        Share of the particles that count after each frame, ``(B, T)``; NaN behind the end.
    k_hat
        Of the importance weights after each frame, ``(B, T)``.
    log_predictive
        log p(x_t | x_1 ... x_{t-1}), ``(B, T)``.
    ancestors
        Different first frames among the paths, ``(B,)``.
    draws
        Paths from the filters by latent, resampled by importance: ``z (R, B, T, z_dim)``.
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
    exact: Tensor | None
    difference: Tensor
    ess: Tensor
    k_hat: Tensor
    log_predictive: Tensor
    ancestors: Tensor
    draws: Mapping[str, Tensor]
    seconds: float

    @property
    def verdicts(self) -> list[Verdict]:
        """Return the verdict of each sequence in words."""
        return [VERDICTS[i] for i in self.verdict.tolist()]

    @property
    def gap(self) -> Tensor:
        """Return FIVO - ELBO, ``(B,)``, in nats per sequence."""
        return self.fivo - self.elbo


def check_sequences(
    pair: nn.Module, args: Args, *, num_particles: int = 200, seed: int = 0
) -> SequenceCheck:
    """Judge the posterior of each sequence by two particle filters.

    Parameters
    ----------
    pair
        A sequence pair with latents.
    args
        Sequences ``x (B, T, *x_shape)`` and lengths ``(B,)``.
    num_particles
        Particles K of each filter.
    seed
        Seed of everything.

    Raises
    ------
    RequestError
        When the pair is no sequence pair, has no latents, or there are too few particles.
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
        first, second = (
            particle_filter(pair, args, num_particles, keep_paths=True, keep_k_hat=True)
            for _ in range(2)
        )
        apart = particle_filter(pair, args, num_particles, threshold=0.0)
        values = {"elbo": _elbo(pair, args), "iwae": apart.log_evidence.cpu().double()}
        draws, ancestors = _paths(first, second)
        by_name = _by_name(pair, draws)
    values |= {"length": args[1].cpu(), "ancestors": ancestors, **_of_both(first, second)}
    grades = _grades(values, num_particles)
    return SequenceCheck(
        verdict=verdict(grades, ["log_evidence", "ancestors"]),
        grades=grades,
        num_particles=num_particles,
        exact=_exact(pair, args),
        draws=by_name,
        seconds=time.perf_counter() - begun,
        **values,
    )


def _of_both(first: Filtered, second: Filtered) -> dict[str, Tensor]:
    """Return what two filters with as many particles say together."""
    num_particles = first.log_weights.shape[1]
    assert first.k_hat is not None  # it was asked for
    return {
        "fivo": (0.5 * (first.log_evidence + second.log_evidence)).cpu().double(),
        "difference": (first.log_evidence - second.log_evidence).abs().cpu().double(),
        "ess": (0.5 * (first.ess + second.ess) / num_particles).cpu(),
        "k_hat": first.k_hat.cpu(),
        "log_predictive": (0.5 * (first.log_predictive + second.log_predictive)).cpu(),
    }


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


def _paths(first: Filtered, second: Filtered) -> tuple[Tensor, Tensor]:
    """Return equally weighted paths of both ``(2K, B, T, z_dim)``, and their first frames."""
    resampled = []
    for run in (first, second):
        assert run.paths is not None
        chosen = systematic(run.log_weights.T, run.log_weights.shape[1]).T  # (B, K)
        data = torch.arange(len(chosen)).unsqueeze(1)
        resampled.append(run.paths[data, chosen.to(run.paths.device)])
    paths = torch.cat(resampled, 1).transpose(0, 1)
    beginnings = paths[:, :, 0].cpu().unbind(1)
    return paths, torch.tensor([len(torch.unique(z, dim=0)) for z in beginnings])


def _by_name(pair: SequencePair, paths: Tensor) -> dict[str, Tensor]:
    """Return paths by the names of the latents of a step, each ``(2K, B, T, *event)``."""
    layout = pair.latent_layout  # known: the filters went through its steps
    return layout.unpack(paths) if isinstance(layout, Layout) else {"z": paths}


def _grades(values: Mapping[str, Tensor], num_particles: int) -> dict[str, Tensor]:
    limit = largest_good_k(num_particles)
    ess = values["ess"].nanmedian(1).values
    frames = ~values["k_hat"].isnan()
    stable = ((values["k_hat"] <= limit) & frames).sum(1) / frames.sum(1)
    return {
        "ess": grade(ess > 0.5, ess < 0.1),
        "k_hat": grade(stable >= 0.9, stable < 0.5),
        "log_evidence": grade(values["difference"] < 1.0, values["difference"] > 3.0),
        "ancestors": grade(values["ancestors"] >= 10, values["ancestors"] < 3),
    }
