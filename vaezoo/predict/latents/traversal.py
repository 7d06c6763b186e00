"""Traversals: each latent along its range, all others as they are in a datum."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from vaezoo.data import DataLike
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError, require_positive
from vaezoo.markup import filled, table
from vaezoo.options import PointValue, require_choice
from vaezoo.predict.latents.codes import Codes, find_codes, rows_of
from vaezoo.predict.latents.units import (
    MOST_CODES,
    USED,
    Unit,
    named_unit,
    set_values,
    units_of,
    values_of,
)
from vaezoo.predict.observed import shown
from vaezoo.runs import RunLike, as_run
from vaezoo.runs.conditions import Given

__all__ = ["Traversal", "traverse"]


@dataclass(frozen=True)
class Traversal:
    """Latents moved along their ranges, for some data.

    Attributes
    ----------
    units
        The latents that were moved, ``L`` of them, those with the largest KL first; where there are
        no such terms, those first that change the data most.
    values
        The values that each takes, ``(L, S)``.
    x
        What the model makes of them, ``(N, L, S, *x_shape)`` in units of the data.
    data
        What it makes of the codes as they are, ``(N, *x_shape)``.
    change
        Root mean square of the change of x along each, over data, values and elements, ``(L,)``.
    unit
        Of that change: ``units of x``, or ``deviations of x`` where data are standardised.
    """

    units: tuple[Unit, ...]
    values: Array
    x: Array
    data: Array
    change: Array
    unit: str = "units of x"

    def cells(self) -> list[tuple[str, ...]]:
        """Return a table in words: headings, and a row for each latent."""
        rows = [
            (
                u.name,
                f"{u.low:.2f} to {u.high:.2f}",
                "" if u.kl is None else f"{u.kl:.2f}",
                f"{c:#.3g}",
            )
            for u, c in zip(self.units, self.change, strict=True)
        ]
        return filled([("latent", "range", "KL, nats", f"change, {self.unit}"), *rows])

    def _repr_html_(self) -> str:
        head, *rows = self.cells()
        return table(rows, head)


def traverse(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    rows: Sequence[int] = (0,),
    latents: Sequence[str] | None = None,
    most: int = 10,
    num_values: int = 9,
    x: PointValue = "mean",
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Traversal:
    """Move each latent along its range, the others as the guide finds them in a datum.

    Parameters
    ----------
    run
        A trained run, or its folder. An autoencoder's codes are moved in the same way.
    data
        In any form that :func:`fit` takes, in units of the run's data; by default those.
    split, rows
        Which rows of them are moved.
    latents
        Elements to move, as ``"z[3]"``; by default the ``most`` that are used, those with the
        largest KL first. Where KL terms do not come by element, those first that change x most.
    most
        At most so many of them, unless they are named.
    num_values
        How many values each takes, between the 2.5 % and 97.5 % quantiles of the codes of data.
    x
        What is shown of p(x | z): the ``mean``, or a ``sample``.
    given
        Other conditions than those of the data, by name.
    seed
        Seed of draws.
    data_dir
        Where original data files lie.

    Returns
    -------
    Traversal
        Of a sequence a latent is moved by as much in every frame, and the sequence hears its own
        draws.

    Raises
    ------
    RequestError
        For latents that cannot be moved (discrete, on a sphere, shared by all data), names and rows
        that there are not.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", config={"z_dim": 3}, training={"steps": 5})
    >>> moved = vaezoo.traverse(run, rows=(0, 4), latents=["z[2]"], num_values=5)
    >>> moved.x.shape, moved.units[0].name
    ((2, 1, 5, 8, 8), 'z[2]')
    """
    require_choice("x", x, PointValue)
    require_positive("most", most, "latent")
    require_positive("num_values", num_values, "value")
    run, batches = rows_of(
        as_run(run), data, split=split, limit=None, given=given, data_dir=data_dir
    )
    codes = find_codes(run, batches, split=split, limit=max(MOST_CODES, *rows, 0) + 1)
    _require_rows(rows, len(codes), split)
    units = units_of(run, codes, batches, split, seed)
    chosen = units if latents is None else [named_unit(name, units) for name in latents]
    if latents is None and any(unit.kl is not None for unit in units):
        used = [unit for unit in units if (unit.kl or 0.0) >= USED]
        chosen = (used or units)[:most]
    return _moved(codes.at(rows), chosen, num_values, x, seed, None if latents else most)


def _require_rows(rows: Sequence[int], number: int, split: str) -> None:
    outside = [row for row in rows if not 0 <= row < number]
    if outside or not rows:
        named = f"there is no row {outside[0]}" if outside else "name at least one"
        raise RequestError(f"`rows` are those of the {split} data, 0 to {number - 1}; {named}")


def _moved(
    codes: Codes,
    units: Sequence[Unit],
    num_values: int,
    x: PointValue,
    seed: int,
    most: int | None,
) -> Traversal:
    ranges = [np.linspace(unit.low, unit.high, num_values) for unit in units]
    values = torch.tensor(np.stack(ranges), dtype=torch.float32)
    number, times = len(codes), len(units) * num_values
    repeated = codes.at(torch.arange(number).repeat_interleave(times))
    own = torch.tensor(values_of(codes, units))[:, None, None]
    moved = own.repeat(1, len(units), num_values, 1)
    for place in range(len(units)):
        moved[:, place, :, place] = values[place]
    made = shown(set_values(repeated, units, moved.flatten(0, 2)).decoded(x=x, seed=seed))
    made = made.reshape(number, len(units), num_values, *made.shape[1:])
    transform = codes.run.transform
    apart = made / transform.spread
    change = np.array([_change(apart[:, place]) for place in range(len(units))])
    order = np.arange(len(units))
    if most is not None and all(unit.kl is None for unit in units):
        order = np.argsort(-change)[:most]
    chosen = tuple(units[place] for place in order.tolist())
    data = shown(codes.decoded(x=x, seed=seed))
    places, made = values.numpy()[order], made[:, order]
    return Traversal(chosen, places, made, data, change[order], transform.unit_of_x)


def _change(x: Array) -> float:
    """Return the root mean square of what differs from the mean over values, ``(N, S, ...)``."""
    there = ~np.isnan(x)  # behind the end of a sequence there is nan in all of them
    number = there.sum(1, keepdims=True)
    mean = np.nan_to_num(x).sum(1, keepdims=True) / np.maximum(number, 1)
    return float(np.sqrt(np.mean((x - mean)[there] ** 2)))
