"""How good a trained pair is: ELBO, importance-weighted log-likelihood, latents in use.

Sequences also have the bounds of particle filters, and how well the model runs by itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from vaezoo.data import DataLike
from vaezoo.data.batches import Batches
from vaezoo.errors import RequestError, require_whole
from vaezoo.pairs.accounting import units_per_row
from vaezoo.pairs.admission import shared_site
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import is_autoencoder, takes_lengths, trace_pair
from vaezoo.predict.bounds import (
    Bound,
    FreeRunning,
    Progress,
    filter_bounds,
    iwae_bounds,
    run_freely,
)
from vaezoo.predict.floors import floors_of
from vaezoo.predict.information import MOST_DATA, mutual_information
from vaezoo.runs import RunLike, as_run
from vaezoo.runs.conditions import Given
from vaezoo.runtime.device import seeded
from vaezoo.sequences.missing import pair_for
from vaezoo.sequences.particles import require_sequences
from vaezoo.sequences.paths import training_form
from vaezoo.training.metrics import Metrics, measure

__all__ = ["Evaluation", "evaluate", "evaluate_on"]

PARTICLES_RUNNING_FREE = 100
NO_DENSITY = (
    "ELBO, IWAE, bits per dim, information: the guide gives each latent one value, as an "
    "autoencoder does, so that there is no density to measure; `vaezoo.reconstruct(run)` and "
    "`vaezoo.encode(run)` work"
)


@dataclass(frozen=True)
class Evaluation:
    """Estimates on held-out data, in nats per datum (per frame for sequences).

    Attributes
    ----------
    split, num_rows
        What was evaluated.
    metrics
        ELBO, its terms, KL and activity per latent.
    iwae
        Bounds on log p(x), one for each K, from the same draws.
    information
        Estimate of the mutual information of z and x under the guide, at most log N for
        ``information_rows = N`` data (Hoffman & Johnson 2016); None where the guide does not allow
        it.
    num_frames
        Frames of the sequences; None for other data.
    fivo, predictive
        Bounds on log p(x) of sequences by particle filters, one for each K: with the guide as
        proposal (FIVO), which sees a frame before it is weighed, and with the prior, which does
        not.
    free_running
        How well the model predicts by itself, if that was asked for.
    left_out
        What the pair does not allow, and why, a line each. An autoencoder has a
        reconstruction only.
    floors
        log p(x) of the same rows under simple models that were fitted to the training rows, where
        the data have them: ``independent`` elements, and ``linear``, probabilistic PCA with as many
        latents (:func:`vaezoo.predict.floors.floors_of`).
    """

    split: str
    num_rows: int
    metrics: Metrics
    iwae: tuple[Bound, ...]
    information: float | None
    information_rows: int
    num_frames: int | None = None
    fivo: tuple[Bound, ...] = ()
    predictive: tuple[Bound, ...] = ()
    free_running: FreeRunning | None = None
    left_out: tuple[str, ...] = ()
    floors: Mapping[str, float] = field(default_factory=dict)

    @property
    def elbo_per_sequence(self) -> float | None:
        """Mean of the ELBO over sequences; None for other data."""
        frames = self.num_frames
        if frames is None or self.metrics.is_autoencoder:
            return None
        return self.metrics.elbo * frames / self.num_rows

    def to_dict(self) -> dict[str, Any]:
        metrics = self.metrics.to_dict()
        return {**asdict(self), "metrics": metrics, "elbo_per_sequence": self.elbo_per_sequence}


def evaluate(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    iwae: Sequence[int] = (1, 10, 100),
    fivo: Sequence[int] = (),
    free_running: int | None = None,
    limit: int | None = None,
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate a run on a split of its data, or of other data of the same shape.

    Parameters
    ----------
    run
        A trained run, or its folder.
    data
        In any form that :func:`fit` takes, in units of the run's data; by default those.
    split
        ``test``, ``validation`` or ``train``; of values in memory all rows are taken.
    iwae
        Numbers of draws K of the importance-weighted bound (Burda et al. 2016, arXiv:1509.00519,
        eq. 8).
    fivo
        Numbers of particles of the bounds by particle filters, for sequences.
    free_running
        Predict sequences from their first so many frames, running freely, with as many particles as
        the largest number of ``fivo``, or 100.
    limit
        Only the first so many rows.
    given
        Other conditions than those of the data, by name: a value for all rows, or for each.
    seed
        Seed of the draws.
    data_dir
        Where original data files lie.
    progress
        Is told how many rows are done, and of how many.

    Raises
    ------
    RequestError
        When the data do not fit the run, or a K is not positive, or something for sequences is
        asked of another pair, or what is given is no condition.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", training={"steps": 5})
    >>> result = vaezoo.evaluate(run, iwae=(1, 10))
    >>> result.num_rows, [bound.num_samples for bound in result.iwae]
    (180, [1, 10])
    >>> x = vaezoo.load_data("digits").x
    >>> vaezoo.evaluate(run, x[:20]).num_rows  # all rows of an array
    20
    """
    run = as_run(run)
    _check_request(run.pair, iwae, fivo, free_running)
    return evaluate_on(
        run.pair,
        run.batches(data, data_dir=data_dir, given=given, split=split, limit=limit),
        split=split,
        iwae=iwae,
        fivo=fivo,
        free_running=free_running,
        limit=limit,
        seed=seed,
        num_data=run.info.get("num_units"),
        progress=progress,
    )


def _check_request(
    pair: nn.Module, iwae: Sequence[int], fivo: Sequence[int], free_running: int | None
) -> None:
    if not _are_positive(iwae) or not iwae:
        raise RequestError("give positive numbers of draws, as `iwae=[1, 10, 100]`")
    if not _are_positive(fivo):
        raise RequestError("give positive numbers of particles, as `fivo=[5, 100]`")
    require_whole("free_running", free_running)
    if free_running is not None and free_running < 0:
        raise RequestError("`free_running` takes the number of frames that are given, 0 or more")
    if fivo:
        require_sequences(pair, "`fivo`")
    if free_running is not None:
        require_sequences(pair, "`free_running`")


def _are_positive(numbers: object) -> bool:
    return isinstance(numbers, Sequence) and all(
        isinstance(number, int) and number > 0 for number in numbers
    )


def evaluate_on(
    pair: nn.Module,
    batches: Batches,
    *,
    split: str = "test",
    iwae: Sequence[int] = (1, 10, 100),
    fivo: Sequence[int] = (),
    free_running: int | None = None,
    limit: int | None = None,
    seed: int = 0,
    num_data: float | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate any pair on batches, as :func:`evaluate` does a run.

    ``num_data`` is the number of data, or of frames, by which it was trained: what all of them
    share counts 1 / N in each.
    """
    _check_request(pair, iwae, fivo, free_running)
    pair = pair_for(pair.eval(), batches)
    whole = training_form(pair)
    rows = batches.size(split, limit)
    with seeded(seed, batches.device):
        fixed = batches.fixed(split, limit=limit)
        metrics = measure(whole, fixed, batches.transform, num_data=num_data)
        bounds, left_out = _bounds(whole, batches, split, iwae, limit, progress)
        information, information_rows = None, 0
        if not metrics.is_autoencoder:
            information, information_rows = _information(whole, batches, split, limit)
        filtered = partial(
            filter_bounds, pair, batches, split, sorted(set(fivo)), limit=limit, progress=progress
        )
        by_guide, by_prior = filtered("posterior"), filtered("prior")
        alone = None
        if free_running is not None:
            particles = max(fivo, default=PARTICLES_RUNNING_FREE)
            alone = run_freely(pair, batches.fixed(split, limit=limit), particles, free_running)
    return Evaluation(
        "all" if batches.data.is_whole else split,
        rows,
        metrics,
        bounds,
        information,
        information_rows,
        num_frames=_num_frames(pair, batches, split, limit),
        fivo=by_guide,
        predictive=by_prior,
        free_running=alone,
        left_out=left_out,
        floors=_floors(whole, batches, split, metrics, limit),
    )


def _floors(
    pair: nn.Module, batches: Batches, split: str, metrics: Metrics, limit: int | None
) -> dict[str, float]:
    """Return what simple models have; an autoencoder has no number to stand beside them."""
    if metrics.is_autoencoder:
        return {}
    num_latents = sum(len(values) for values in metrics.kl_per_latent.values())
    return floors_of(pair, batches, split, num_latents=num_latents, limit=limit)


def _bounds(
    pair: nn.Module,
    batches: Batches,
    split: str,
    iwae: Sequence[int],
    limit: int | None,
    progress: Progress | None,
) -> tuple[tuple[Bound, ...], tuple[str, ...]]:
    """Return importance-weighted bounds, or why there are none."""
    few = next(batches.fixed(split, limit=2))
    with probing(pair, batches.device):
        trace = trace_pair(pair, few)
    if is_autoencoder(trace):
        return (), (NO_DENSITY,)
    shared = shared_site(trace, len(few[0]))
    if shared is not None:
        return (), (f"IWAE, because all data share site '{shared}': a datum has no weights",)
    ks = sorted(set(iwae))
    return iwae_bounds(pair, batches, split, ks, limit=limit, progress=progress), ()


def _num_frames(pair: nn.Module, batches: Batches, split: str, limit: int | None) -> int | None:
    if not takes_lengths(pair):
        return None
    fixed = batches.fixed(split, limit=limit)
    return sum(int(units_per_row(pair, args).sum()) for args in fixed)


def _information(
    pair: nn.Module, batches: Batches, split: str, limit: int | None
) -> tuple[float | None, int]:
    if takes_lengths(pair):
        return None, 0
    rows = min(batches.size(split, limit), MOST_DATA)
    return mutual_information(pair, batches.whole(split, limit=rows)), rows
