"""Codes of data as vectors of reals, and the way back from such vectors to data."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vaezoo.data import DataLike
from vaezoo.data.batches import Batches
from vaezoo.data.dataset import Array
from vaezoo.distributions.families import is_discrete
from vaezoo.distributions.supports import real_coordinates
from vaezoo.errors import RequestError
from vaezoo.observations.predictions import prior_predictive
from vaezoo.options import PointValue
from vaezoo.pairs.lengths import fill_padding
from vaezoo.pairs.pieces import MOST_ROWS, split_rows
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    argument_names,
    step_of,
    takes_lengths,
    trace_pair,
)
from vaezoo.predict.observed import Predicted, as_predicted, in_data_units, observed_values
from vaezoo.runs import Run
from vaezoo.runs.conditions import Given
from vaezoo.runtime.device import seeded

__all__ = ["Codes", "LatentSite", "codes_of", "find_codes", "labels_of", "rows_of", "sites_of"]


@dataclass(frozen=True)
class LatentSite:
    """A latent site: of a sequence one for each frame, ``z_0, z_1, ...`` of the latent ``z``."""

    name: str
    latent: str
    transform: Any
    shape: torch.Size

    def to_reals(self, value: Tensor) -> Tensor:
        return torch.as_tensor(self.transform.inv(value)).flatten(1)

    def from_reals(self, reals: Tensor) -> Tensor:
        return torch.as_tensor(self.transform(reals.reshape(-1, *self.shape)))


@dataclass(frozen=True)
class Codes:
    """Codes of rows of data.

    Attributes
    ----------
    run
        Whose latents they are, with the pair in the form that explains the rows.
    args
        The rows, as arguments of the pair.
    reals
        The codes of each site, ``(N, L)``, in coordinates in which every value is one of the
        latent: their own for latents that are reals, logarithms for such as are positive.
    sites
        The sites, in the order of the guide.
    """

    run: Run
    args: Args
    reals: dict[str, Tensor]
    sites: tuple[LatentSite, ...]

    def __len__(self) -> int:
        return len(self.args[0])

    def of_latent(self, latent: str) -> list[str]:
        """Return the sites of a latent: one, or of a sequence one for each frame."""
        return [site.name for site in self.sites if site.latent == latent]

    def frames(self, latent: str) -> Tensor:
        """Return the codes of a latent ``(N, T, L)``, nan behind the end; T is 1 without time."""
        reals = torch.stack([self.reals[name] for name in self.of_latent(latent)], 1)
        return reals if self.length is None else fill_padding(reals, self.length, torch.nan)

    def at(self, rows: Sequence[int] | Tensor) -> "Codes":
        """Return the codes of some rows, which may occur more than once."""
        index = torch.as_tensor(rows, dtype=torch.long)
        args = tuple(arg[index.to(arg.device)] for arg in self.args)
        reals = {name: value[index.to(value.device)] for name, value in self.reals.items()}
        return replace(self, args=args, reals=reals)

    def decoded(self, *, x: PointValue = "mean", seed: int = 0) -> Predicted:
        """Return what the model makes of the codes, in units of the data ``(N, *x_shape)``.

        Conditions are those of the rows, and so are lengths. A sequence hears its own draws.
        """
        made = []
        values = tuple(self.reals.values())
        with seeded(seed, self.run.device):
            for rows in split_rows((*self.args, *values), MOST_ROWS):
                args, reals = rows[: len(self.args)], rows[len(self.args) :]
                latents = self.as_latents(reals)
                sites = prior_predictive(self.run.pair, args, x=x, latents=latents)
                named = observed_values(self.run, sites, args)
                made.append(in_data_units(self.run, named, self._length(args)))
        return as_predicted(made)

    def as_latents(self, reals: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return values of the latents by site, of reals in the order of the sites."""
        return {s.name: s.from_reals(u) for s, u in zip(self.sites, reals, strict=True)}

    @property
    def length(self) -> Tensor | None:
        """Frames of each row; None for data without time."""
        return self._length(self.args)

    def _length(self, args: Args) -> Tensor | None:
        return dict(zip(argument_names(self.run.pair), args, strict=True)).get("length")


def rows_of(
    run: Run,
    data: "DataLike | None",
    *,
    split: str,
    limit: int | None,
    given: Given | None = None,
    data_dir: str | Path | None = None,
) -> tuple[Run, Batches]:
    """Return batches of rows, and the run with the pair in the form that explains them."""
    batches = run.batches(data, data_dir=data_dir, given=given, split=split, limit=limit)
    return run.explaining(batches), batches


def labels_of(batches: Batches, split: str, number: int) -> Array | None:
    """Return the labels of the first rows ``(number,)``; None without one number for each."""
    label = batches.data.arrays.get("label")
    if label is None or label.ndim != 1:
        return None
    return np.asarray(label[batches.data.rows(split)[:number]])


def find_codes(
    run: Run,
    batches: Batches,
    *,
    split: str,
    limit: int | None,
    z: PointValue = "mean",
    seed: int = 0,
) -> Codes:
    """Return the means of q(z | x) for the first rows of a split, or draws from it.

    Raises
    ------
    RequestError
        When the pair has no latents, or such as cannot be moved: discrete ones, those that all
        data share, and those of a sphere.
    """
    return codes_of(run, batches.whole(split, limit=limit), z=z, seed=seed)


def codes_of(run: Run, args: Args, *, z: PointValue = "mean", seed: int = 0) -> Codes:
    """Return the codes of rows that are arguments of the pair, as :func:`find_codes` does."""
    parts: list[dict[str, Tensor]] = []
    sites: tuple[LatentSite, ...] = ()
    with torch.no_grad(), seeded(seed, run.device):
        for some in split_rows(args, MOST_ROWS):
            trace = trace_pair(run.pair, some, z=z)
            sites = sites or sites_of(run, trace, "moving codes")
            parts.append({s.name: s.to_reals(trace.latents[s.name][1]["value"]) for s in sites})
    reals = {site.name: torch.cat([part[site.name] for part in parts]) for site in sites}
    return Codes(run, args, reals, sites)


def sites_of(run: Run, trace: PairTrace, what: str, remedy: str = "") -> tuple[LatentSite, ...]:
    """Return the latents of a trace that can be carried to the reals.

    Parameters
    ----------
    run
        Whose they are.
    trace
        Of its pair, on some rows.
    what
        In whose name others are refused, as ``"a density of codes"``.
    remedy
        What to do then.

    Raises
    ------
    RequestError
        For a pair without latents, or with such as are discrete, shared by all data, or on a
        sphere.
    """
    end = f"; {remedy}" if remedy else ""
    if not trace.latents:
        raise RequestError(f"{what} needs latents, and {run.name} has none{end}")
    sites = []
    for name, (p, q) in trace.latents.items():
        if name in trace.global_latents:
            raise RequestError(f"{what} is of one datum's, and all share '{name}'{end}")
        if is_discrete(p["fn"]) or is_discrete(q["fn"]):
            raise RequestError(f"{what} needs reals, and '{name}' is discrete{end}")
        transform = real_coordinates(p["fn"], name, what, remedy)
        shape = torch.Size(transform.inverse_shape(q["value"].shape)[1:])
        step = step_of(name) if takes_lengths(run.pair) else None
        sites.append(LatentSite(name, step[0] if step else name, transform, shape))
    return tuple(sites)
