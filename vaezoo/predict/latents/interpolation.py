"""The way between two data through the latent space, beside the straight way between the data."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vaezoo.data import DataLike
from vaezoo.data.batches import Batches
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.markup import table
from vaezoo.options import InterpolationPath, PointValue, require_choice
from vaezoo.predict.latents.codes import Codes, find_codes, rows_of
from vaezoo.predict.observed import as_predicted, in_data_units, shown
from vaezoo.runs import Run, RunLike, as_run
from vaezoo.runs.conditions import Given

__all__ = ["Interpolation", "PathScore", "between", "interpolate"]

MOST_NEIGHBOURS = 10_000  # rows of the training that a path is compared with


@dataclass(frozen=True)
class PathScore:
    """How even a way is, and how near to data, both as root mean squares over the elements of x.

    Elements that are standardised count in their deviations.

    Attributes
    ----------
    largest_step, mean_step
        Between neighbours on the way; a decoder that jumps has a largest far above the mean.
    distance
        From points of the way to the nearest row of the training, the mean over inner points. Of a
        row with missing entries those count that are there.
    """

    largest_step: float
    mean_step: float
    distance: float


@dataclass(frozen=True)
class Interpolation:
    """Points between two data.

    Attributes
    ----------
    positions
        From 0, the first datum, to 1, the other, ``(S,)``.
    x
        What the model makes of points on the way between their codes, ``(S, *x_shape)``.
    straight
        Points on the straight way between what it makes of the two codes, ``(S, *x_shape)``.
    score, score_straight
        Of the two ways.
    unit
        Of the scores: ``units of x``, or ``deviations of x`` where data are standardised.
    """

    positions: Array
    x: Array
    straight: Array
    score: PathScore
    score_straight: PathScore
    unit: str = "units of x"

    def cells(self) -> list[tuple[str, ...]]:
        """Return a table in words: headings, and a row for each of the two ways."""
        rows = [
            (name, f"{s.largest_step:#.3g}", f"{s.mean_step:#.3g}", f"{s.distance:#.3g}")
            for name, s in (("codes", self.score), ("data", self.score_straight))
        ]
        distance = f"to nearest row, {self.unit}"
        return [("way between", "largest step", "mean step", distance), *rows]

    def _repr_html_(self) -> str:
        head, *rows = self.cells()
        return table(rows, head)


def interpolate(
    run: RunLike,
    start: int,
    end: int,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    path: InterpolationPath = "linear",
    num_values: int = 11,
    x: PointValue = "mean",
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Interpolation:
    """Go from the code of one datum to that of another, and show what the model makes on the way.

    Parameters
    ----------
    run
        A trained run, or its folder; that of an autoencoder is as good.
    start, end
        Two rows.
    data, split
        Of which data; by default the run's.
    path
        ``linear``, or ``spherical``: along the great circle, with norms in between (Shoemake 1985,
        *Animating Rotation with Quaternion Curves*). Draws of N(0, I) in many dimensions have all
        about the same norm, which a straight way between two of them does not keep.
    num_values
        Points, both ends included.
    x
        What is shown of p(x | z): the ``mean``, or a ``sample``.
    given
        Conditions, by name; by default those of the first datum.
    seed
        Seed of draws.
    data_dir
        Where original data files lie.

    Returns
    -------
    Interpolation
        Both ways and their scores. Of two sequences the shorter says how many frames there are.

    Raises
    ------
    RequestError
        For rows that there are not, and latents that cannot be moved.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", training={"steps": 5})
    >>> way = vaezoo.interpolate(run, 0, 3, num_values=5)
    >>> way.x.shape, way.positions.tolist()
    ((5, 8, 8), [0.0, 0.25, 0.5, 0.75, 1.0])
    """
    require_choice("path", path, InterpolationPath)
    require_choice("x", x, PointValue)
    if num_values < 3:
        raise RequestError(f"`num_values` counts both ends and is at least 3, not {num_values}")
    run, batches = rows_of(
        as_run(run), data, split=split, limit=None, given=given, data_dir=data_dir
    )
    number = batches.size(split)
    if not (0 <= start < number and 0 <= end < number):
        raise RequestError(
            f"`start` and `end` are rows of the {split} data, 0 to {number - 1}, not {start}, {end}"
        )
    codes = find_codes(run, batches, split=split, limit=max(start, end) + 1)
    positions = torch.linspace(0, 1, num_values)
    way = between(codes, start, end, positions, path)
    made = shown(way.decoded(x=x, seed=seed))
    weights = positions.numpy().reshape(-1, *[1] * (made.ndim - 1))
    straight = (1 - weights) * made[0] + weights * made[-1]
    neighbours = _rows_of_training(run, batches, made.shape[1])
    unit = run.transform.unit_of_x
    score, other = (_score(way / run.transform.spread, neighbours) for way in (made, straight))
    return Interpolation(positions.numpy(), made, straight, score, other, unit)


def between(
    codes: Codes, start: int, end: int, positions: Tensor, path: InterpolationPath
) -> Codes:
    """Return codes on the way from one row to another, one for each position from 0 to 1."""
    way = _along_sphere if path == "spherical" else torch.lerp
    length = codes.length
    is_longer = length is not None and bool(length[start] > length[end])
    rows = codes.at([end if is_longer else start] * len(positions))
    reals = {
        name: way(value[start][None], value[end][None], positions[:, None].to(value))
        for name, value in codes.reals.items()
    }
    return replace(rows, reals=reals)


def _along_sphere(start: Tensor, end: Tensor, weight: Tensor) -> Tensor:
    """Turn one vector ``(1, L)`` into another, at weights ``(S, 1)``; norms go from one to other.

    Vectors of one direction, or of opposite ones, leave the plane of rotation open: the way is
    straight then.
    """
    norms = start.norm(), end.norm()
    cosine = (start * end).sum() / (norms[0] * norms[1]).clamp(min=1e-12)
    angle = torch.acos(cosine.clamp(-1, 1))
    if float(torch.sin(angle)) < 1e-4:
        return torch.lerp(start, end, weight)
    turned = torch.sin((1 - weight) * angle) * start / norms[0]
    turned = (turned + torch.sin(weight * angle) * end / norms[1]) / torch.sin(angle)
    return turned * torch.lerp(norms[0], norms[1], weight)


def _rows_of_training(run: Run, batches: Batches, frames: int) -> Array:
    """Return rows of the training ``(N, D)``, in what differences count in, cut to some frames."""
    split = "all" if batches.data.is_whole else "train"
    parts = []
    for args in batches.fixed(split, limit=MOST_NEIGHBOURS):
        named = dict(zip(batches.names, args, strict=True))
        x = shown(as_predicted([in_data_units(run, {"x": named["x"]}, named.get("length"))]))
        parts.append(x if "length" not in named else _with_frames(x, frames))
    whole = np.concatenate(parts) / run.transform.spread
    return whole.astype(np.float32).reshape(len(whole), -1)


def _with_frames(x: Array, frames: int) -> Array:
    missing = max(0, frames - x.shape[1])
    return np.pad(np.nan_to_num(x[:, :frames]), [(0, 0), (0, missing), *[(0, 0)] * (x.ndim - 2)])


def _score(way: Array, neighbours: Array) -> PathScore:
    flat = np.nan_to_num(way.reshape(len(way), -1).astype(np.float32))
    steps = np.linalg.norm(np.diff(flat, axis=0), axis=1) / np.sqrt(flat.shape[1])
    there = (~np.isnan(neighbours)).sum(1)
    rows, there = neighbours[there > 0], there[there > 0]
    nearest = [np.sqrt((np.nansum((rows - point) ** 2, 1) / there).min()) for point in flat[1:-1]]
    return PathScore(float(steps.max()), float(steps.mean()), float(np.mean(nearest)))
