"""Bounds on log p(x): by importance weights, by particle filters, and of a model by itself."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from vaezoo.data.batches import Batches
from vaezoo.engine.functions.repeated import Repeated
from vaezoo.engine.precision import networks_in
from vaezoo.errors import RequestError
from vaezoo.inference.filtering import free_running, particle_filter
from vaezoo.options import Precision
from vaezoo.pairs.accounting import log_mean_exp, log_weights, units_per_row, weigher
from vaezoo.pairs.lengths import frame_mask
from vaezoo.pairs.pieces import data_at_once, join, rows_at_once, slices
from vaezoo.pairs.sites import Args, argument_names, takes_lengths
from vaezoo.sequences.sequence_pair import Side

__all__ = [
    "Bound",
    "FreeRunning",
    "Progress",
    "filter_bounds",
    "iwae_bounds",
    "iwae_values",
    "run_freely",
]

Progress = Callable[[int, int], None]

FEWEST_CALLS = 200  # of a function that is captured


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
    precision: Precision = "float32",
    progress: Progress | None = None,
) -> tuple[Bound, ...]:
    """Return importance-weighted bounds for several K from one set of draws per datum.

    With the largest K draws, the bound of a smaller k averages over the K // k groups of k draws.
    """
    estimates, size = iwae_values(
        pair, batches, split, ks, limit=limit, precision=precision, progress=progress
    )
    sequences = takes_lengths(pair)
    return tuple(_bound(k, estimates[k], size, sequences=sequences) for k in ks)


def iwae_values(
    pair: nn.Module,
    batches: Batches,
    split: str,
    ks: Sequence[int],
    *,
    limit: int | None = None,
    precision: Precision = "float32",
    progress: Progress | None = None,
) -> tuple[dict[int, Tensor], Tensor]:
    """Return importance-weighted bounds of each datum by K ``(N,)``, and its units (frames)."""
    estimates: dict[int, list[Tensor]] = {k: [] for k in ks}
    units: list[Tensor] = []
    weights_of = _Weights(pair, max(ks), batches.size(split, limit), precision)
    for args in _followed(batches, split, limit, progress):
        log_w = weights_of(args).cpu().double()
        for k in ks:
            groups = log_w[: len(log_w) // k * k].reshape(-1, k, log_w.shape[1])
            estimates[k].append(log_mean_exp(groups, 1).mean(0))
        units.append(units_per_row(pair, args).cpu().double())
    return {k: torch.cat(parts) for k, parts in estimates.items()}, torch.cat(units)


class _Weights:
    """Gives log weights of batches; of many draws of many data, captured, and compiled."""

    def __init__(
        self, pair: nn.Module, num_samples: int, num_rows: int, precision: Precision
    ) -> None:
        self.pair, self.num_samples, self.num_rows = pair, num_samples, num_rows
        self.precision: Precision = precision
        self.first = 0
        self._repeated: dict[tuple[int, int], Repeated] = {}

    def __call__(self, args: Args) -> Tensor:
        size, most = len(args[0]), data_at_once(self.pair, args)
        self.first = self.first or size
        pieces = slices(self.num_samples, rows_at_once(size, most=most))
        # Batches are of one size, but for the last.
        alike = self.num_rows // size if size == self.first else 1
        if len(pieces) * alike < FEWEST_CALLS or takes_lengths(self.pair):
            with networks_in(self.precision, args[0].device):
                return log_weights(self.pair, args, self.num_samples)
        numbers = [piece.stop - piece.start for piece in pieces]
        return join([self._weigh(args, n, alike * numbers.count(n)) for n in numbers])

    def _weigh(self, args: Args, number: int, num_calls: int) -> Tensor:
        key = (number, len(args[0]))
        if key not in self._repeated:
            weigh = weigher(self.pair, args, self.num_samples)

            def weights(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
                with networks_in(self.precision, inputs[0].device):
                    return (weigh(tuple(inputs), number),)

            self._repeated[key] = Repeated(weights, self.pair, num_calls=num_calls)
        return self._repeated[key](args)[0]


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
