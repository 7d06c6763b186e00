"""Bounds on log p(x): by importance weights, by particle filters, and of a model by itself."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaezoo.data.batches import Batches
from vaezoo.errors import RequestError
from vaezoo.inference.filtering import free_running, particle_filter
from vaezoo.pairs.accounting import log_mean_exp, log_weights, units_per_row
from vaezoo.pairs.lengths import frame_mask
from vaezoo.pairs.pieces import data_at_once
from vaezoo.pairs.sites import Args, argument_names, takes_lengths
from vaezoo.sequences.sequence_pair import Side

__all__ = ["Bound", "FreeRunning", "Progress", "filter_bounds", "iwae_bounds", "run_freely"]

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
    for args in _followed(batches, split, limit, progress):
        log_w = log_weights(pair, args, max(ks), max_rows=data_at_once(pair, args)).cpu().double()
        for k in ks:
            groups = log_w[: len(log_w) // k * k].reshape(-1, k, log_w.shape[1])
            estimates[k].append(log_mean_exp(groups, 1).mean(0))
        units.append(units_per_row(pair, args).cpu().double())
    size, sequences = torch.cat(units), takes_lengths(pair)
    return tuple(_bound(k, torch.cat(estimates[k]), size, sequences=sequences) for k in ks)


def _followed(
    batches: Batches, split: str, limit: int | None, progress: Progress | None
) -> Iterator[Args]:
    """Yield batches; after each, say how many rows are done."""
    done, total = 0, batches.size(split, limit)
    for args in batches.fixed(split, limit=limit):
        yield args
        done += len(args[0])
        if progress:
            progress(done, total)


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
        for args in _followed(batches, split, limit, progress):
            filtered = particle_filter(pair, args, k, proposal=proposal)
            values.append(filtered.log_evidence.cpu().double())
            units.append(units_per_row(pair, args).cpu().double())
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


def run_freely(
    pair: nn.Module, batches: Iterator[Args], num_particles: int, prefix: int
) -> FreeRunning:
    """Return how well a model predicts sequences by itself, from their first ``prefix`` frames.

    Raises
    ------
    RequestError
        When no sequence has more frames than that.
    """
    free, filtered, units = [], [], []
    for args in batches:
        alone = free_running(pair, args, num_particles, prefix=prefix)
        length = args[argument_names(pair).index("length")]
        later = frame_mask(length, alone.shape[1])
        later[:, :prefix] = False
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
