"""How good a trained pair is: ELBO, importance-weighted log-likelihood, latents in use.

Sequences also have the bounds of particle filters, and how well the model runs by itself.
"""

import hashlib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from vaezoo.data import DataLike
from vaezoo.data.batches import Batches
from vaezoo.engine.precision import check_precision
from vaezoo.errors import RequestError, VaezooError, require_whole
from vaezoo.markup import table
from vaezoo.options import Precision
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
from vaezoo.runs import Run, RunLike, as_run
from vaezoo.runs.conditions import Given
from vaezoo.runs.summary import list_numbers
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

    @property
    def in_units(self) -> dict[str, float]:
        """ELBO and bounds on log p(x) in the units of the data, by name, in nats.

        Empty where the pair explains the data as they are stored, or has no density.

        Examples
        --------
        >>> import vaezoo
        >>> run = vaezoo.fit("vae-gaussian", training={"steps": 5})  # of digits, divided by 16
        >>> result = vaezoo.evaluate(run, iwae=(1,))
        >>> sorted(result.in_units)
        ['ELBO', 'IWAE 1']
        >>> round(result.metrics.elbo - result.in_units["ELBO"], 2)  # 64 log 16
        177.45
        """
        volume = self.metrics.log_volume
        if not volume or self.metrics.is_autoencoder:
            return {}
        named = (("IWAE", self.iwae), ("FIVO", self.fivo), ("predictive", self.predictive))
        values = {f"{name} {b.num_samples}": b.value for name, bounds in named for b in bounds}
        return {name: v - volume for name, v in {"ELBO": self.metrics.elbo, **values}.items()}

    def _repr_html_(self) -> str:
        unit = "datum" if self.num_frames is None else "frame"
        rows = list_numbers({**self.to_dict(), "metrics": self.metrics.to_dict()})
        return table(rows, (f"{self.num_rows} {self.split} rows", f"nats per {unit}", ""))

    def to_dict(self) -> dict[str, Any]:
        own = {"metrics": self.metrics.to_dict(), "elbo_per_sequence": self.elbo_per_sequence}
        return {**asdict(self), **own, **({"in_units": self.in_units} if self.in_units else {})}


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
    precision: Precision = "float32",
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
    notify: Callable[[str], object] = print,
) -> Evaluation:
    """Evaluate a run on a split of its data, or of other data of the same shape.

    The result stays with the run, beside those of before (:attr:`Run.evaluations`); in its folder
    they are in ``evaluation.json``. One that was asked for alike is replaced.

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
    precision
        Of products inside networks, for the importance-weighted bounds alone. With ``auto`` or
        ``bf16`` each log weight is off by some hundredths of a nat.
    data_dir
        Where original data files lie.
    progress
        Is told how many rows are done, and of how many.
    notify
        Is told in a line when the result cannot be kept in the folder.

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
    >>> [record["asked"]["split"] for record in run.evaluations]
    ['test']
    >>> x = vaezoo.load_data("digits").x
    >>> vaezoo.evaluate(run, x[:20]).num_rows  # all rows of an array
    20
    """
    run = as_run(run)
    _check_request(run.pair, iwae, fivo, free_running)
    batches = run.batches(data, data_dir=data_dir, given=given, split=split, limit=limit)
    result = evaluate_on(
        run.pair,
        batches,
        split=split,
        iwae=iwae,
        fivo=fivo,
        free_running=free_running,
        limit=limit,
        seed=seed,
        precision=precision,
        num_data=run.info.get("num_units"),
        progress=progress,
    )
    how: dict[str, Any] = {"limit": limit, "free_running": free_running, "seed": seed}
    how |= {"given": _described(given), "precision": precision}
    numbers = {"iwae": sorted(set(iwae)), "fivo": sorted(set(fivo))}
    _keep(run, batches, result, {**numbers, **how}, notify)
    return result


def _described(given: Given | None) -> dict[str, Any]:
    """Return conditions as plain values; many of them by the sha256 of their bytes."""
    arrays = {name: np.asarray(value) for name, value in (given or {}).items()}
    return {
        name: array.tolist() if array.size == 1 else hashlib.sha256(array.tobytes()).hexdigest()
        for name, array in arrays.items()
    }


def _keep(
    run: Run,
    batches: Batches,
    result: Evaluation,
    how: Mapping[str, Any],
    notify: Callable[[str], object],
) -> None:
    """Keep a result with its run; numbers that took hours are not lost with a disk that is full."""
    data = {"data": batches.data.name, "data_checksum": batches.data.checksum}
    weights = {"epoch": run.info.get("best_epoch", 0), "step": run.info.get("best_step", 0)}
    asked = {**data, "split": result.split, **how, **weights}
    made = {"vaezoo": version("vaezoo"), "made": time.strftime("%Y-%m-%dT%H:%M:%S%z")}
    try:
        run.keep_evaluation({"asked": asked, **made, "result": result.to_dict()})
    except VaezooError as error:
        notify(f"the result is not kept in the run: {error}")


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
    precision: Precision = "float32",
    num_data: float | None = None,
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate any pair on batches, as :func:`evaluate` does a run.

    ``num_data`` is the number of data, or of frames, by which it was trained: what all of them
    share counts 1 / N in each.
    """
    _check_request(pair, iwae, fivo, free_running)
    check_precision(precision, batches.device)
    pair = pair_for(pair.eval(), batches)
    whole = training_form(pair)
    rows = batches.size(split, limit)
    with seeded(seed, batches.device):
        fixed = batches.fixed(split, limit=limit)
        metrics = measure(whole, fixed, batches.transform, num_data=num_data)
        bounds, left_out = _bounds(whole, batches, split, iwae, limit, precision, progress)
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
    precision: Precision,
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
    bounds = iwae_bounds(
        pair, batches, split, ks, limit=limit, precision=precision, progress=progress
    )
    return bounds, ()


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
