"""Data as a run sees them: their latents, and what the model makes of these."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from vaezoo.data import DataLike
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError, require_positive
from vaezoo.observations import predictions
from vaezoo.options import PointValue, Shown, ShownValue, require_choice
from vaezoo.pairs.sites import Args
from vaezoo.predict.observed import (
    Predicted,
    as_predicted,
    in_data_units,
    observed_values,
    side_by_side,
)
from vaezoo.predict.points import shared_latents
from vaezoo.runs import Run, RunLike, as_run
from vaezoo.runs.conditions import Given
from vaezoo.runtime.device import seeded

__all__ = ["Reconstructions", "encode", "reconstruct"]


class Reconstructions(NamedTuple):
    """Data beside what a model makes of them, in units of the data.

    Attributes
    ----------
    data
        As the pair sees them, ``(N, *x_shape)``: binarised, if it explains binary data. Of
        sequences ``(N, T, D)``, nan behind the end of each.
    x
        Their reconstructions, of the same shape; ``(N, S, *x_shape)`` where several were asked for.
    """

    data: Predicted
    x: Predicted


def reconstruct(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = 64,
    z: PointValue = "mean",
    x: Shown = "mean",
    draws: int | None = None,
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Reconstructions:
    """Reconstruct data: find their latents with the guide, and give those to the model.

    Parameters
    ----------
    run
        A trained run, or its folder.
    data
        In any form that :func:`fit` takes, in units of the run's data; by default those.
    split
        Which rows; of values in memory all rows are taken.
    limit
        Only the first so many rows; None for all.
    z
        What is taken of q(z | x): the ``mean``, or a ``sample``.
    x
        What is shown of p(x | z): its ``mean``, its ``mode``, a ``sample``, or ``both``, the mean
        and beside it a sample at the same z.
    draws
        Reconstruct each datum so many times, with draws of their own. What is shown then has an
        axis S behind the rows: draw by draw, of ``both`` a mean and a sample of each.
    given
        Other conditions than those of the data, by name, as ``{"label": 3}``.
    seed
        Seed of the draws.
    data_dir
        Where original data files lie.

    Returns
    -------
    Reconstructions
        The data and their reconstructions, which unpack as a pair; each a dictionary by argument
        where several are observed.

    Raises
    ------
    RequestError
        When the data do not fit the run, what is given is no condition, several draws are asked for
        of what is not drawn, or a mode that is not known.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", training={"steps": 5})
    >>> data, x = vaezoo.reconstruct(run, limit=3)
    >>> data.shape, x.shape
    ((3, 8, 8), (3, 8, 8))
    >>> vaezoo.reconstruct(run, limit=3, z="sample", draws=16).x.shape
    (3, 16, 8, 8)
    """
    require_choice("x", x, Shown)
    shows = _shows(z, x, draws)
    run = as_run(run)
    batches = run.batches(data, data_dir=data_dir, given=given, split=split, limit=limit)
    run = run.explaining(batches)
    originals: list[dict[str, Tensor]] = []
    made: list[list[dict[str, Tensor]]] = [[] for _ in range((draws or 1) * len(shows))]
    with seeded(seed, run.device):
        for args in batches.fixed(split, limit=limit):
            named = dict(zip(batches.names, args, strict=True))
            several = _reconstructions(run, args, z, shows, draws or 1)
            length = named.get("length")
            originals.append(in_data_units(run, _like(named, several[0]), length))
            for column, rebuilt in zip(made, several, strict=True):
                column.append(in_data_units(run, rebuilt, length))
    columns = [as_predicted(column) for column in made]
    is_one = draws is None and len(columns) == 1
    return Reconstructions(as_predicted(originals), columns[0] if is_one else side_by_side(columns))


def _shows(z: PointValue, x: Shown, draws: int | None) -> list[ShownValue]:
    """Return what is shown at each z; a refusal of several draws where none is a draw."""
    require_positive("draws", draws, "draw")
    if draws is not None and draws > 1 and z == "mean" and x in ("mean", "mode"):
        raise RequestError(
            f"`draws={draws}` of a {x} at the mean of q(z | x) are all alike; "
            "take `z='sample'` or `x='sample'`"
        )
    return ["mean", "sample"] if x == "both" else [x]


def _reconstructions(
    run: Run, args: Args, z: PointValue, shows: Sequence[ShownValue], draws: int
) -> list[dict[str, Tensor]]:
    """Return what is made of some rows, by argument: draw by draw, each as all that is shown."""
    return [
        observed_values(run, sites, args)
        for _ in range(draws)
        for sites in predictions.reconstructions(run.pair, args, shows, z=z)
    ]


def _like(named: Mapping[str, Tensor], rebuilt: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the data of what was reconstructed; x where it was computed from them."""
    return {name: named.get(name, named["x"]) for name in rebuilt}


def encode(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = None,
    z: PointValue = "mean",
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> dict[str, Array]:
    """Find the latents of data with the guide. Draws with log-densities: :func:`draw_posterior`.

    Parameters
    ----------
    run
        A trained run, or its folder.
    data
        In any form that :func:`fit` takes, in units of the run's data; by default those.
    split
        Which rows; of values in memory all rows are taken.
    limit
        Only the first so many rows; None for all.
    z
        What is taken of q(z | x): the ``mean``, or a ``sample``.
    given
        Other conditions than those of the data, by name: a value for all rows, or for each.
    seed
        Seed of the draws.
    data_dir
        Where original data files lie.

    Returns
    -------
    dict of array
        The latents by site, each ``(N, *event_shape)``, of sequences ``(N, T, *event_shape)``;
        ``(*event_shape)`` of a latent that all data share; and ``label (N,)``, if the data have
        one.

    Raises
    ------
    RequestError
        When the data do not fit the run, the pair has no latents, or what is given is no condition.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", config={"z_dim": 2}, training={"steps": 5})
    >>> {name: values.shape for name, values in vaezoo.encode(run).items()}
    {'z': (180, 2), 'label': (180,)}
    """
    run = as_run(run)
    batches = run.batches(data, data_dir=data_dir, given=given, split=split, limit=limit)
    run = run.explaining(batches)
    parts: dict[str, list[Tensor]] = {}
    with seeded(seed, run.device):
        for args in batches.fixed(split, limit=limit):
            for name, value in predictions.encode(run.pair, args, z=z).items():
                parts.setdefault(name, []).append(value.cpu())
    if not parts:
        raise RequestError(f"the pair of '{run.name}' has no latents, so there are no codes")
    shared = shared_latents(run)
    codes: dict[str, Array] = {
        name: (values[0] if name in shared else torch.cat(values)).numpy()
        for name, values in parts.items()
    }
    if "label" in batches.data.arrays:
        codes["label"] = batches.data.arrays["label"][batches.data.rows(split)[:limit]]
    return codes
