"""How good a trained pair is: ELBO, importance-weighted log-likelihood, latents in use.

Sequences also have the bounds of particle filters, and how well the model runs by itself.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.data import DataLike
from vaezoo.data.batches import Batches
from vaezoo.errors import RequestError
from vaezoo.inference.filtering import free_running, particle_filter
from vaezoo.pairs.accounting import log_weights, units_per_row
from vaezoo.pairs.lengths import frame_mask
from vaezoo.pairs.pieces import rows_at_once
from vaezoo.pairs.sites import Args, run_guide, sample_sites, takes_lengths
from vaezoo.runs import RunLike, as_run
from vaezoo.runtime.device import seeded
from vaezoo.sequences.paths import training_form
from vaezoo.sequences.sequence_pair import Side, as_sequence_pair
from vaezoo.training.metrics import Metrics, measure

__all__ = [
    "Bound",
    "Evaluation",
    "FreeRunning",
    "evaluate",
    "evaluate_on",
    "filter_bounds",
    "iwae_bounds",
    "mutual_information",
]

MOST_ROWS_FOR_INFORMATION = 2000
PARTICLES_RUNNING_FREE = 100
_PROPOSALS: tuple[Side, Side] = ("posterior", "prior")
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Bound:
    """A bound on log p(x) with K draws, and its standard error over data.

    ``value`` is per datum; for sequences it is per frame, the sum of the bounds over the sum of the
    frames, and ``per_sequence`` is their mean over sequences. There is no error for a single datum.
    """

    num_samples: int
    value: float
    standard_error: float | None
    per_sequence: float | None = None
    per_sequence_error: float | None = None


@dataclass(frozen=True)
class FreeRunning:
    """Prediction from the first frames of each sequence only, in nats per frame predicted.

    Attributes
    ----------
    prefix, num_samples
        Frames that are given, and particles (:func:`vaezoo.inference.filtering.free_running`).
    num_frames
        Frames that are predicted.
    value, standard_error
        Mean of log p(x_t | x_1 ... x_s) over them, with its error over sequences.
    filtering
        Mean of log p(x_t | x_1 ... x_{t-1}) over the same frames: all that came before is known.
    """

    prefix: int
    num_samples: int
    num_frames: int
    value: float
    standard_error: float | None
    filtering: float


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

    @property
    def elbo_per_sequence(self) -> float | None:
        """Mean of the ELBO over sequences; None for other data."""
        frames = self.num_frames
        return None if frames is None else self.metrics.elbo * frames / self.num_rows

    def to_dict(self) -> dict[str, Any]:
        return {**asdict(self), "elbo_per_sequence": self.elbo_per_sequence}


def evaluate(
    run: RunLike,
    data: DataLike | None = None,
    *,
    split: str = "test",
    iwae: Sequence[int] = (1, 10, 100),
    fivo: Sequence[int] = (),
    free_running: int | None = None,
    limit: int | None = None,
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
        asked of another pair.

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
        run.batches(data, data_dir=data_dir),
        split=split,
        iwae=iwae,
        fivo=fivo,
        free_running=free_running,
        limit=limit,
        seed=seed,
        progress=progress,
    )


def _check_request(
    pair: nn.Module, iwae: Sequence[int], fivo: Sequence[int], free_running: int | None
) -> None:
    if not iwae or min(iwae) < 1:
        raise RequestError("`iwae` takes positive numbers of draws, as 1,10,100")
    if fivo and min(fivo) < 1:
        raise RequestError("`fivo` takes positive numbers of particles, as 5,100")
    if free_running is not None and free_running < 0:
        raise RequestError("`free_running` takes the number of frames that are given, 0 or more")
    if fivo:
        as_sequence_pair(pair, "`fivo`")
    if free_running is not None:
        as_sequence_pair(pair, "`free_running`")


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
    progress: Progress | None = None,
) -> Evaluation:
    """Evaluate any pair on batches, as :func:`evaluate` does a run."""
    _check_request(pair, iwae, fivo, free_running)
    whole = training_form(pair.eval())
    rows = batches.size(split, limit)
    with seeded(seed, batches.device):
        metrics = measure(whole, batches.fixed(split, limit=limit), batches.transform)
        bounds = iwae_bounds(
            whole, batches, split, sorted(set(iwae)), limit=limit, progress=progress
        )
        information, information_rows = _information(whole, batches, split, limit)
        filters = [
            filter_bounds(
                pair, batches, split, sorted(set(fivo)), side, limit=limit, progress=progress
            )
            for side in _PROPOSALS
        ]
        alone = None
        if free_running is not None:
            particles = max(fivo, default=PARTICLES_RUNNING_FREE)
            alone = _free_running(pair, batches.fixed(split, limit=limit), particles, free_running)
    return Evaluation(
        split,
        rows,
        metrics,
        bounds,
        information,
        information_rows,
        num_frames=_num_frames(pair, batches, split, limit),
        fivo=filters[0],
        predictive=filters[1],
        free_running=alone,
    )


def _num_frames(pair: nn.Module, batches: Batches, split: str, limit: int | None) -> int | None:
    if not takes_lengths(pair):
        return None
    fixed = batches.fixed(split, limit=limit)
    return sum(int(units_per_row(pair, args).sum()) for args in fixed)


def iwae_bounds(
    pair: nn.Module,
    batches: Batches,
    split: str,
    ks: Sequence[int],
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> tuple[Bound, ...]:
    """Return importance-weighted bounds for several K from one set of draws per datum.

    With the largest K draws, the bound of a smaller k averages over the K // k groups of k draws.
    """
    estimates: dict[int, list[Tensor]] = {k: [] for k in ks}
    units: list[Tensor] = []
    for args in batches.fixed(split, limit=limit):
        weights = log_weights(pair, args, max(ks), max_rows=_rows_at_once(pair, args))
        weights = weights.cpu().double()
        for k in ks:
            groups = weights[: len(weights) // k * k].reshape(-1, k, weights.shape[1])
            estimates[k].append((groups.logsumexp(1) - math.log(k)).mean(0))
        units.append(units_per_row(pair, args).cpu().double())
        if progress:
            progress(sum(map(len, units)), batches.size(split, limit))
    size, sequences = torch.cat(units), takes_lengths(pair)
    return tuple(_bound(k, torch.cat(estimates[k]), size, sequences=sequences) for k in ks)


def _rows_at_once(pair: nn.Module, args: Args) -> int:
    """Most rows that go through a pair at a time: of sequences all frames are there at once."""
    frames = args[0].shape[1] if takes_lengths(pair) else 1
    return rows_at_once(num_frames=frames)


def filter_bounds(
    pair: nn.Module,
    batches: Batches,
    split: str,
    ks: Sequence[int],
    proposal: Side = "posterior",
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> tuple[Bound, ...]:
    """Return bounds on log p(x) of sequences by particle filters, one after the other."""
    bounds = []
    for k in ks:
        values, units = [], []
        for args in batches.fixed(split, limit=limit):
            result = particle_filter(pair, args, k, proposal=proposal)
            values.append(result.log_evidence.cpu().double())
            units.append(units_per_row(pair, args).cpu().double())
            if progress:
                progress(sum(map(len, units)), batches.size(split, limit))
        bounds.append(_bound(k, torch.cat(values), torch.cat(units), sequences=True))
    return tuple(bounds)


def _bound(k: int, values: Tensor, units: Tensor, *, sequences: bool = False) -> Bound:
    """Average per unit, and per sequence, with the standard error of a ratio of means."""
    average, error = _ratio(values, units)
    if not sequences:
        return Bound(k, average, error)
    return Bound(k, average, error, *_ratio(values, torch.ones_like(values)))


def _ratio(values: Tensor, units: Tensor) -> tuple[float, float | None]:
    average = values.sum() / units.sum()
    if len(values) == 1:
        return float(average), None
    residual = values - average * units
    error = residual.std(correction=1) * math.sqrt(len(values)) / units.sum()
    return float(average), float(error)


def _free_running(
    pair: nn.Module, batches: Iterator[Args], num_particles: int, prefix: int
) -> FreeRunning:
    free, filtered, units = [], [], []
    for args in batches:
        x, length = args
        later = frame_mask(length, x.shape[1])
        later[:, :prefix] = False
        alone = free_running(pair, args, num_particles, prefix=prefix)
        within = particle_filter(pair, args, num_particles).log_predictive
        free.append(torch.where(later, alone, 0.0).sum(1).cpu().double())
        filtered.append(torch.where(later, within, 0.0).sum(1).cpu().double())
        units.append(later.sum(1).cpu().double())
    size = torch.cat(units)
    if not size.any():
        raise RequestError(f"`free_running={prefix}` leaves no frame to predict; give fewer frames")
    value, error = _ratio(torch.cat(free), size)
    filtering, _ = _ratio(torch.cat(filtered), size)
    return FreeRunning(prefix, num_particles, int(size.sum()), value, error, filtering)


def _information(
    pair: nn.Module, batches: Batches, split: str, limit: int | None
) -> tuple[float | None, int]:
    if takes_lengths(pair):
        return None, 0
    rows = min(batches.size(split, limit), MOST_ROWS_FOR_INFORMATION)
    return mutual_information(pair, batches.whole(split, limit=rows)), rows


@torch.no_grad()
def mutual_information(pair: nn.Module, args: Args) -> float | None:
    """Estimate the mutual information of x and z under the guide, in nats.

    ``E[log q(z | x) - log 1/N sum_j q(z | x_j)]`` over the N data given (Hoffman & Johnson 2016,
    *ELBO surgery*), at most log N. None for guides with several latent sites.
    """
    sites = list(sample_sites(run_guide(pair, args)).values())
    if len(sites) != 1 or takes_lengths(pair):
        return None
    fn, z = sites[0]["fn"], sites[0]["value"]
    pairwise = torch.cat([fn.log_prob(chunk.unsqueeze(1)) for chunk in z.split(100)])
    own = pairwise.diagonal()
    aggregate = pairwise.logsumexp(1) - math.log(len(z))
    return float((own - aggregate).mean())
