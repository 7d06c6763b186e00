"""The latent space of a run, ready to be asked for single points."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from vaezoo.data import DataLike
from vaezoo.data.batches import Batches
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.options import InterpolationPath
from vaezoo.pairs.lengths import with_frames
from vaezoo.pairs.sites import argument_names, step_of, trace_pair
from vaezoo.predict.latents.codes import Codes, codes_of, find_codes, labels_of, rows_of
from vaezoo.predict.latents.interpolation import between
from vaezoo.predict.latents.plane import Plane, plane_of
from vaezoo.predict.latents.units import (
    NUM_DRAWS,
    USED,
    Unit,
    covariances_of,
    named_unit,
    paths_of,
    set_values,
    units_of,
    values_of,
)
from vaezoo.predict.observed import as_predicted, in_data_units, shown
from vaezoo.runs import Run
from vaezoo.runs.conditions import Given

__all__ = ["Decoded", "LatentSpace", "Point", "space_of"]

FEWEST = 3  # data, of which a map says something
MOST_MEASURED = 256  # latents whose effect on x is measured


@dataclass(frozen=True)
class Point:
    """A place in the latent space, seen from a datum.

    Attributes
    ----------
    row
        The datum: its conditions and length hold, and so do its codes.
    to, at, path
        Another datum, and which share of the way to its codes has been gone.
    values
        What each latent is set to, ``(L,)`` in the order of the units; None for codes as they are.
        Of a sequence this is the mean over its frames, which all move by as much.
    frame
        The only frame of a sequence whose latents are looked at and set; None for all.
    """

    row: int
    to: int | None = None
    at: float = 0.0
    path: InterpolationPath = "linear"
    values: tuple[float, ...] | None = None
    frame: int | None = None


@dataclass(frozen=True)
class Decoded:
    """What a model makes of a point.

    Attributes
    ----------
    x
        In units of the data, ``x_shape``; sequences end where they do.
    values
        Of the latents there, ``(L,)``, of a sequence in the frame of the point.
    place
        In the plane of the map, ``(2,)``.
    """

    x: Array
    values: Array
    place: Array


@dataclass(frozen=True)
class LatentSpace:
    """Codes of some data, which latents they have, and a plane through them.

    Attributes
    ----------
    codes
        Of the data, with their run.
    x
        The data as the pair sees them, ``(N, *x_shape)`` in their units; nan where it sees none.
    units
        The latents, ``L`` of them, those with the largest KL first.
    change
        Root mean square by which x changes from one end of the range of each latent to the other,
        ``(L,)``; nan where it was not measured.
    plane
        Where the codes lie on the map.
    label
        Of each datum ``(N,)``, where the data have one number for each.
    split, seed
        Which rows they are, and the seed of all draws.
    """

    codes: Codes
    x: Array
    units: tuple[Unit, ...]
    change: Array
    plane: Plane
    label: Array | None
    split: str
    seed: int

    @property
    def run(self) -> Run:
        return self.codes.run

    @property
    def is_sequence(self) -> bool:
        return self.codes.length is not None

    @property
    def has_frames(self) -> bool:
        """Whether each frame of a sequence has codes of its own: a path to walk along."""
        return self.is_sequence and any(step_of(site.name) for site in self.codes.sites)

    @property
    def used(self) -> list[int]:
        """The places of latents in use: with a KL, and heard by the decoder."""
        heard = ~(self.change <= 1e-3 * np.nanmax(self.change, initial=0.0))
        if any(unit.kl is not None for unit in self.units):
            return [i for i, u in enumerate(self.units) if (u.kl or 0.0) >= USED and heard[i]]
        return [int(i) for i in np.argsort(-np.nan_to_num(self.change)) if heard[i]]

    def datum(self, row: int) -> Array:
        """Return a datum ``x_shape``, of a sequence its own frames."""
        length = self.codes.length
        return self.x[row] if length is None else self.x[row, : int(length[row])]

    def decode(self, point: Point) -> Decoded:
        """Return what the model makes of a point.

        Raises
        ------
        RequestError
            For a row or frame that there is not, and values that are not one number for each
            latent.
        """
        codes = self.codes_at(point)
        if point.frame is None:
            values = values_of(codes, self.units)[0]
        else:
            values = paths_of(codes, self.units)[0, point.frame]
        return Decoded(_decoded(codes, self.seed)[0], values, self.plane.project(values))

    def codes_at(self, point: Point) -> Codes:
        """Return the codes of one row, as a point says."""
        rows = [point.row] if point.to is None else [point.row, point.to]
        if any(not 0 <= row < len(self.codes) for row in rows):
            raise RequestError(f"there are rows 0 to {len(self.codes) - 1}, and not {rows[-1]}")
        if point.frame is not None and not 0 <= point.frame < (frames := self.frames_of(*rows)):
            raise RequestError(f"there are frames 0 to {frames - 1}, and not {point.frame}")
        codes = self.codes.at([point.row])
        if point.to is not None:
            at = torch.tensor([point.at])
            codes = between(self.codes, point.row, point.to, at, point.path)
        codes = _without_padding(codes)
        if point.values is None:
            return codes
        if len(point.values) != len(self.units) or not np.isfinite(point.values).all():
            raise RequestError(f"`values` are {len(self.units)} numbers, one for each latent")
        values = torch.tensor([point.values], dtype=torch.float64)
        return set_values(codes, self.units, values, point.frame)

    def frames_of(self, row: int, to: int | None = None) -> int:
        """Return how many frames with codes a datum has, of the way to another the shorter one.

        Raises
        ------
        RequestError
            Where frames have no codes of their own.
        """
        if self.codes.length is None or not self.has_frames:
            raise RequestError(f"'{self.run.name}' has no latents of frames, and so no `frame`")
        return int(self.codes.length[[row, row if to is None else to]].min())

    def values_along(self, row: int) -> Array:
        """Return the latents of a datum frame by frame, ``(T, L)``."""
        return paths_of(_without_padding(self.codes.at([row])), self.units)[0]

    def path(self, row: int) -> Array:
        """Return where the codes of each frame of a datum lie in the plane, ``(T, 2)``."""
        return self.plane.project(self.values_along(row))

    def spread(self, row: int) -> Array:
        """Return the covariance ``(2, 2)`` of q(z | x) of a datum in the plane."""
        if not self.is_sequence:
            return self.spreads(row)[0]
        codes = _without_padding(self.codes.at([row] * NUM_DRAWS))
        draws = codes_of(self.run, codes.args, z="sample", seed=self.seed)
        return np.cov(self.plane.project(values_of(draws, self.units)), rowvar=False)

    def spreads(self, row: int) -> Array:
        """Return that covariance for each frame of a datum, ``(T, 2, 2)``."""
        codes = _without_padding(self.codes.at([row]))
        return self.plane.project_covariance(covariances_of(codes, self.units, self.seed)[0])

    def over_plane(self, places: Array, row: int) -> Array:
        """Return what the model makes of points of the plane, ``(G, *x_shape)``.

        Parameters
        ----------
        places
            Where they lie on the map, ``(G, 2)``.
        row
            Whose conditions and length hold. What lies across the plane is as in the mean code, of
            a sequence as in the codes of this one.
        """
        codes = _without_padding(self.codes.at([row] * len(places)))
        own = values_of(codes, self.units)[:1]
        start = (
            own if self.is_sequence else values_of(self.codes, self.units).mean(0, keepdims=True)
        )
        moves = (places - self.plane.project(start)) @ self.plane.axes
        return _decoded(set_values(codes, self.units, torch.from_numpy(start + moves)), self.seed)


def space_of(
    run: Run,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = 500,
    latents: Sequence[str] = (),
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> LatentSpace:
    """Return the latent space of a run, as codes of data show it.

    Raises
    ------
    RequestError
        For latents that cannot be moved, fewer than three data, and names of ``latents`` that there
        are not.
    """
    run, batches = rows_of(run, data, split=split, limit=limit, given=given, data_dir=data_dir)
    codes = find_codes(run, batches, split=split, limit=limit)
    _require_between(codes)
    if len(codes) < FEWEST:
        raise RequestError(f"a map of codes needs {FEWEST} data, and there are {len(codes)}")
    units = units_of(run, codes, batches, split, seed)
    plane = plane_of(values_of(codes, units), [u.name for u in units], _chosen(latents, units))
    return LatentSpace(
        codes,
        _seen(codes, batches),
        units,
        _change(codes, units, seed),
        plane,
        labels_of(batches, split, len(codes)),
        split,
        seed,
    )


def _require_between(codes: Codes) -> None:
    """Refuse latents that take the entries of a table, which have nothing between them."""
    for name, (p, _) in trace_pair(codes.run.pair, codes.at([0]).args).latents.items():
        if getattr(p["fn"], "is_countable", False):
            raise RequestError(
                f"moving codes by hand needs reals, and '{name}' takes the entries of a table"
            )


def _without_padding(codes: Codes) -> Codes:
    """Return codes whose sequences have the frames of the longest: a batch has those of its own."""
    length, steps = codes.length, {site.name: step_of(site.name) for site in codes.sites}
    if length is None or not all(steps.values()):
        return codes
    frames, shapes = int(length.max()), codes.run.shapes
    args = tuple(
        with_frames(arg, frames) if shapes.get(name, ())[:1] == shapes["x"][:1] else arg
        for name, arg in zip(argument_names(codes.run.pair), codes.args, strict=True)
    )
    sites = tuple(site for site in codes.sites if (steps[site.name] or ("", 0))[1] < frames)
    return replace(
        codes, args=args, sites=sites, reals={s.name: codes.reals[s.name] for s in sites}
    )


def _decoded(codes: Codes, seed: int) -> Array:
    """Return x ``(N, *x_shape)``, of sequences without the frames behind the end of the longest."""
    x = shown(codes.decoded(seed=seed))
    return x if codes.length is None else x[:, : int(codes.length.max())]


def _seen(codes: Codes, batches: Batches) -> Array:
    named = dict(zip(batches.names, codes.args, strict=True))
    seen = {"x": named["x"]}
    x = shown(as_predicted([in_data_units(codes.run, seen, codes.length)]))
    if "mask" not in named:
        return x
    return np.where(named["mask"].cpu().numpy().astype(bool), x, np.nan)


def _change(codes: Codes, units: Sequence[Unit], seed: int) -> Array:
    """Return by how much x changes over the range of each of the first latents."""
    few = min(len(units), MOST_MEASURED)
    base = _without_padding(codes.at([0] * (2 * few)))
    values = torch.from_numpy(values_of(base, units))
    for place, unit in enumerate(units[:few]):
        values[2 * place, place], values[2 * place + 1, place] = unit.low, unit.high
    x = _decoded(set_values(base, units, values), seed).astype(np.float64).reshape(few, 2, -1)
    change = np.full(len(units), np.nan)
    change[:few] = np.sqrt(np.nanmean((x[:, 1] - x[:, 0]) ** 2, 1))
    return change


def _chosen(names: Sequence[str], units: Sequence[Unit]) -> list[int]:
    """Return the places of the two latents that a map is to show."""
    if names and len(names) != 2:
        raise RequestError(f"`latents` are the two of the map, and not {len(names)}")
    return [units.index(named_unit(name, units)) for name in names]
