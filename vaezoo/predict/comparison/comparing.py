"""Runs side by side on the same data: paired differences of log p(x), where they mean anything."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data import DataLike
from vaezoo.data.batches import Batches
from vaezoo.data.dataset import Array
from vaezoo.distributions.families import is_discrete
from vaezoo.errors import RequestError
from vaezoo.markup import table
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import is_autoencoder, step_of, takes_lengths, trace_pair
from vaezoo.predict.bounds import Progress, iwae_values
from vaezoo.predict.comparison.agreement import Agreement, seeds_agree
from vaezoo.predict.comparison.estimates import Estimate, paired_difference
from vaezoo.predict.comparison.listing import flat_settings
from vaezoo.runs import Run, RunLike, as_run, seeds_in
from vaezoo.runtime.device import seeded
from vaezoo.sequences.missing import pair_for
from vaezoo.sequences.paths import training_form
from vaezoo.training.metrics import measure

__all__ = [
    "Compared",
    "Comparison",
    "compare",
    "has_no_density",
    "log_density",
    "settings_apart",
]

SEED = "seed"  # of a training, in which runs of one side differ


@dataclass(frozen=True)
class Compared:
    """One side of a comparison: a run, or runs that differ in their seed.

    Attributes
    ----------
    name, seeds
        What it is called, and of which seeds its runs are.
    value, standard_error
        Mean of log p(x) over data and seeds, in nats per datum or frame in units of the data; the
        error is over data.
    difference
        From the best of all, paired by datum; None of the best itself.
    agreement
        How far the posteriors of its seeds lie apart in what they say of x; None of one seed.
    """

    name: str
    seeds: tuple[int, ...]
    value: float
    standard_error: float | None
    difference: Estimate | None
    agreement: Agreement | None = None

    @property
    def verdict(self) -> str:
        """What the interval of the difference says, in words."""
        if self.difference is None:
            return "best"
        return "the same within noise" if self.difference.is_zero_within else "lower"


@dataclass(frozen=True)
class Comparison:
    """Runs side by side.

    Attributes
    ----------
    sides
        Those that were compared, the best first.
    differing
        Settings that are not the same in all, by name, one value for each side.
    num_samples
        K of the bound on log p(x).
    num_rows, split, unit
        The data: how many, of which split, and whether numbers are per datum or frame.
    values
        Bounds of each datum, of each side ``(seeds, N)``, in nats in units of the data.
    """

    sides: tuple[Compared, ...]
    differing: Mapping[str, tuple[str, ...]]
    num_samples: int
    num_rows: int
    split: str
    unit: str
    values: tuple[Array, ...] = field(repr=False)

    def _repr_html_(self) -> str:
        """Return a table for a notebook: log p(x) of each, and its difference from the best."""
        head = (f"{self.num_rows} {self.split} rows", f"log p(x), nats per {self.unit}")
        return table(map(_cells, self.sides), (*head, "less the best", "95 %", ""))

    def to_dict(self) -> dict[str, Any]:
        sides = [{**asdict(side), "verdict": side.verdict} for side in self.sides]
        plain = {name: getattr(self, name) for name in ("num_samples", "num_rows", "split", "unit")}
        return {**plain, "sides": sides, "differing": dict(self.differing)}


def _cells(side: Compared) -> tuple[str, ...]:
    """A side as a row of a table."""
    value = f"{side.value:.2f}{_with_error(side.standard_error)}"
    if side.difference is None:
        return (side.name, value, "", "", side.verdict)
    ends = side.difference.interval
    less = f"{side.difference.value:.2f}{_with_error(side.difference.standard_error)}"
    interval = f"{ends[0]:.2f} to {ends[1]:.2f}" if ends else ""
    return (side.name, value, less, interval, side.verdict)


def _with_error(error: float | None) -> str:
    return "" if error is None else f" ± {error:.2f}"


def compare(
    runs: Sequence["RunLike | Sequence[RunLike]"],
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    num_samples: int = 100,
    limit: int | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    progress: Progress | None = None,
) -> Comparison:
    """Compare runs by log p(x) of the same rows, datum by datum.

    What is compared is the importance-weighted bound with K draws, in the units of the data, so
    that a run on standardised values may stand beside one that is not.

    Parameters
    ----------
    runs
        Runs or their folders; the folder of several seeds, or a sequence of runs, is one side.
    data
        In any form that :func:`fit` takes; by default the data of the runs.
    split
        Which rows.
    num_samples
        K.
    limit
        Only the first so many rows.
    seed
        Seed of the draws, the same for each run.
    data_dir
        Where original data files lie.
    progress
        Is told how many rows of a run are done, and of how many.

    Raises
    ------
    RequestError
        When numbers of two runs do not mean the same: other rows, probabilities beside densities,
        greys beside bits, other arguments, an autoencoder.

    Examples
    --------
    >>> import vaezoo
    >>> runs = [vaezoo.fit("vae-linear", training={"steps": n}) for n in (5, 400)]
    >>> result = vaezoo.compare(runs, num_samples=10)
    >>> [side.verdict for side in result.sides]
    ['best', 'lower']
    """
    sides = [_runs_of(side) for side in runs]
    if len(sides) < 2:
        raise RequestError("name two runs or more, or folders of several seeds")
    every = [run for side in sides for run in side]
    batches = [run.batches(data, data_dir=data_dir, split=split, limit=limit) for run in every]
    _require_comparable(every, batches, split, limit)
    density = partial(
        log_density,
        split=split,
        num_samples=num_samples,
        limit=limit,
        seed=seed,
        progress=progress,
    )
    measured = [density(run, rows) for run, rows in zip(every, batches, strict=True)]
    units = measured[0][1]
    values, names, start = [], _names(sides), 0
    for side in sides:
        values.append(np.stack([value for value, _ in measured[start : start + len(side)]]))
        start += len(side)
    order = sorted(range(len(sides)), key=lambda place: -values[place].mean(0).sum())
    best = values[order[0]]
    agree = partial(seeds_agree, data=data, split=split, limit=limit, seed=seed, data_dir=data_dir)
    compared = [
        _compared(
            names[place],
            sides[place],
            values[place],
            best,
            units,
            len(sides) - 1,
            agree(sides[place]) if len(sides[place]) > 1 else None,
        )
        for place in order
    ]
    return Comparison(
        tuple(compared),
        settings_apart([sides[place][0] for place in order]),
        num_samples,
        len(units),
        "all" if batches[0].data.is_whole else split,
        "frame" if takes_lengths(every[0].pair) else "datum",
        tuple(values[place] for place in order),
    )


def _runs_of(side: "RunLike | Sequence[RunLike]") -> list[Run]:
    if isinstance(side, Run):
        return [as_run(side)]
    if isinstance(side, str | Path):
        return [as_run(run) for run in seeds_in(Path(side)) or [Path(side)]]
    return [as_run(run) for run in side]


def _names(sides: Sequence[Sequence[Run]]) -> list[str]:
    """Return a name for each side; where two are alike, numbered, or with their folder."""
    paths = [side[0].path for side in sides]
    names = [
        path.parent.name if path and len(side) > 1 else side[0].name
        for side, path in zip(sides, paths, strict=True)
    ]
    if len(set(names)) == len(names):
        return names
    return [
        str(path or f"{name} ({i + 1})")
        for i, (name, path) in enumerate(zip(names, paths, strict=True))
    ]


def _compared(
    name: str,
    side: Sequence[Run],
    values: Array,
    best: Array,
    units: Array,
    number: int,
    agreement: Agreement | None,
) -> Compared:
    own = paired_difference(values.mean(0)[None], np.zeros((1, len(units))), units)
    seeds = tuple(run.training.seed for run in side)
    difference = None
    if values is not best:
        difference = paired_difference(values, best, units, num_comparisons=number)
    return Compared(name, seeds, own.value, own.standard_error, difference, agreement)


def log_density(
    run: Run,
    batches: Batches | None = None,
    *,
    split: str = "test",
    num_samples: int = 100,
    limit: int | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> tuple[Array, Array]:
    """Return bounds on log p(x) of each datum in units of the data, and its units (frames).

    Parameters are those of :func:`compare`; the data are those of the run by default.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-linear", training={"steps": 5})
    >>> values, units = log_density(run, num_samples=2, limit=10)
    >>> values.shape, float(units.sum())
    ((10,), 10.0)
    """
    batches = run.batches(split=split, limit=limit) if batches is None else batches
    pair = pair_for(run.pair.eval(), batches)
    whole = training_form(pair)
    with seeded(seed, batches.device):  # as `evaluate` draws, for the same numbers
        rows = batches.fixed(split, limit=limit)
        volume = measure(whole, rows, batches.transform).log_volume
        values, units = iwae_values(
            whole, batches, split, [num_samples], limit=limit, progress=progress
        )
    return (values[num_samples] - volume * units).numpy(), units.numpy()


def _require_comparable(
    runs: Sequence[Run], batches: Sequence[Batches], split: str, limit: int | None
) -> None:
    """Refuse runs whose numbers do not mean the same, with what differs."""
    first, rows = runs[0], batches[0]
    for run, others in zip(runs, batches, strict=True):
        for line in _obstacles(first, rows, run, others, split, limit):
            raise RequestError(f"{first.name} and {run.name} cannot be compared: {line}")


def _obstacles(
    first: Run, rows: Batches, other: Run, others: Batches, split: str, limit: int | None
) -> list[str]:
    ours, theirs = rows.data, others.data
    lines = [
        f"the guide of {run.name} gives each latent one value, so that there is no density"
        for run in (first, other)
        if has_no_density(run)
    ]
    if ours.checksum != theirs.checksum or ours.x.shape != theirs.x.shape:
        lines.append(
            f"one is on {ours.name} {ours.x.shape}, the other on {theirs.name} "
            f"{theirs.x.shape}; ask both about the same by `data`"
        )
    elif not np.array_equal(ours.rows(split)[:limit], theirs.rows(split)[:limit]):
        lines.append(f"their {split} rows are not the same; ask both about the same by `data`")
    if rows.transform.binarize != others.transform.binarize:
        kinds = [f"{run.name} {_of_bits(run)}" for run in (first, other)]
        lines.append(f"{kinds[0]}, and {kinds[1]}")
    lines += _measures(first, other)
    if ours.incomplete and not _alike(first, other):
        lines.append("entries are missing, and their values are scaled by other numbers")
    return lines


def has_no_density(run: Run) -> bool:
    """Whether the guide gives each latent one value, as that of an autoencoder does.

    Examples
    --------
    >>> import vaezoo
    >>> [has_no_density(vaezoo.fit(m, training={"steps": 1})) for m in ("ae", "vae-linear")]
    [True, False]
    """
    with probing(run.pair, run.device):
        return is_autoencoder(trace_pair(run.pair, run.placeholder(2)))


def _of_bits(run: Run) -> str:
    if run.transform.binarize == "none":
        return "explains values as they are"
    return f"explains bits that are drawn from them ({run.transform.binarize})"


def _measures(first: Run, other: Run) -> list[str]:
    """Return whether one has probabilities where the other has densities, or other arguments."""
    ours, theirs = (_observed(run) for run in (first, other))
    if ours.keys() != theirs.keys():
        names = [", ".join(sorted(side)) for side in (ours, theirs)]
        return [f"one explains {names[0]}, the other {names[1]}"]
    return [
        f"of '{name}' {first.name} has {_KIND[ours[name]]}, and {other.name} {_KIND[theirs[name]]}"
        for name in ours
        if ours[name] != theirs[name]
    ]


_KIND = {True: "a probability", False: "a density"}


def _observed(run: Run) -> dict[str, bool]:
    """Return of each observed argument whether it has a probability rather than a density."""
    with probing(run.pair, run.device):
        trace = trace_pair(run.pair, run.placeholder(2))
    measures = {}
    for name, site in trace.observed.items():
        step = step_of(name) if takes_lengths(run.pair) else None
        whole = step[0] if step else name
        taken = run.roles.observed.get(whole)
        measures[taken.argument if taken else whole] = is_discrete(site["fn"])
    return measures


def _alike(first: Run, other: Run) -> bool:
    """Whether values are scaled alike."""
    return first.transform.to_dict() == other.transform.to_dict()


def settings_apart(runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """Return the settings that all have, and not alike, by name, without the seed."""
    settings = [
        {
            "model": run.model,
            **flat_settings(run.config),
            **flat_settings(run.data.model_dump(), "data."),
            **flat_settings(run.training.model_dump()),
        }
        for run in runs
    ]
    shared = [name for name in settings[0] if all(name in own for own in settings)]
    rows = {name: tuple(str(own[name]) for own in settings) for name in shared}
    return {name: row for name, row in rows.items() if len(set(row)) > 1 and name != SEED}
