"""What comes next in a sequence: draws of its next frames, their quantiles, and their scores."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from vaezoo.data import DataLike
from vaezoo.data.dataset import Array
from vaezoo.distributions.families import is_boolean, point_of
from vaezoo.errors import require_positive
from vaezoo.pairs.lengths import frame_mask
from vaezoo.pairs.pieces import rows_at_once, split_rows
from vaezoo.pairs.sites import argument_names
from vaezoo.predict.continuation import (
    Beginnings,
    Prefix,
    after_beginnings,
    beginnings,
    continue_beginnings,
)
from vaezoo.predict.scores import binary_scores, crps
from vaezoo.runs import Run, RunLike, as_run
from vaezoo.runs.conditions import Given
from vaezoo.runs.environment import describe_library
from vaezoo.runtime.device import seeded
from vaezoo.sequences.missing import incomplete_form
from vaezoo.sequences.sequence_pair import SequencePair

__all__ = ["forecast", "quantiles", "values_of"]


@torch.no_grad()
def forecast(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    prefix: Prefix = "half",
    horizon: int,
    num_samples: int = 100,
    limit: int | None = 8,
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> xr.DataTree:
    """Draw the next frames of sequences, as a tree of labelled arrays.

    Parameters
    ----------
    run
        A trained run on sequences, or its folder.
    data
        In any form that :func:`fit` takes, in units of the run's data; by default those.
    split
        Which rows; of values in memory all rows are taken.
    prefix
        Frames that are given of each sequence: a number, ``half`` of it, or ``all``.
    horizon
        Frames to forecast.
    num_samples
        Draws for each sequence.
    limit
        Only the first so many rows; None for all.
    given
        Conditions of a conditional pair by name, in the place of those of the data: ``{"u": u}``
        with a value for each frame, those to come included.
    seed
        Seed of the draws.
    data_dir
        Where original data files lie.

    Returns
    -------
    xarray.DataTree
        In units of the data. Groups ``predictions`` (``x``, dimensions ``chain, draw, datum, time,
        element``; of binary data ``probability``, too), ``observed_data`` (the beginnings),
        ``predictions_constant_data`` (``prefix``, ``length``, ``horizon``), ``truth`` (the frames
        that came, nan where the sequence had ended) and ``scores`` for each frame: ``crps`` (mean
        over its elements) of real data; of binary data ``brier`` (mean over its elements) and
        ``log_loss`` (their sum, in nats). Another observed argument ``w`` stands beside x, with
        ``w_element``, ``probability_w``, ``crps_w`` and so on. A single chain holds all draws:
        they are independent. The attribute ``num_filtered`` counts the sequences whose beginnings
        the guide reads badly, so that their states come from a particle filter.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vrnn", config={"hidden": 8, "z_dim": 2}, training={"steps": 2})
    >>> tree = vaezoo.forecast(run, horizon=3, num_samples=10)
    >>> dict(tree["predictions"].to_dataset()["x"].sizes)
    {'chain': 1, 'draw': 10, 'datum': 8, 'time': 3, 'element': 8}
    """
    require_positive("horizon", horizon, "frame")
    require_positive("num_samples", num_samples, "draw")
    run = as_run(run)
    other = None if data is None else run.find_data(data, data_dir=data_dir)
    begun = beginnings(
        run, other, split, prefix, limit=limit, steps=horizon, given=given, data_dir=data_dir
    )
    predicted, filtered = _predict(run, begun, horizon, num_samples, seed)
    tree = xr.DataTree.from_dict(_groups(run, begun, predicted, horizon))
    data_name = other.name if other else run.data.name
    tree.attrs = {"name": run.name, **describe_library(), "seed": seed, "data": data_name}
    tree.attrs["num_filtered"] = int(filtered.sum())
    return tree


Forecast = dict[str, tuple[Tensor, Tensor | None]]


def _predict(
    run: Run, begun: Beginnings, horizon: int, num_samples: int, seed: int
) -> tuple[Forecast, Tensor]:
    """Return what is observed by argument: draws ``(B, S, H, ...)``, and probabilities of bits.

    After it stands for which beginnings a filter was needed, ``(B,)``.
    """
    pair = incomplete_form(run.pair, begun.args)
    if isinstance(pair, SequencePair) and len(begun.args) == 2:
        draws_of_x, probability, filtered = _predict_by_steps(
            pair, begun, horizon, num_samples, seed
        )
        return {"x": (draws_of_x, probability)}, filtered
    with seeded(seed, begun.x.device):
        draws, points, binary = continue_beginnings(run, pair, begun, horizon, num_samples)
    names = sorted(draws, key=lambda name: name != "x")
    values = {
        name: (draws[name], points[name].mean(1) if name in binary else None) for name in names
    }
    return values, torch.zeros(len(begun.x), dtype=torch.bool)


def _predict_by_steps(
    pair: SequencePair, begun: Beginnings, horizon: int, num_samples: int, seed: int
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Draws ``(B, S, H, *x_shape)``, and of binary data the probabilities ``(B, H, *x_shape)``.

    After them stands for which beginnings a filter was needed, ``(B,)``.
    """
    longest = int(begun.prefix.max())
    draws, probability, filtered = [], [], []
    with seeded(seed, begun.x.device):
        for x, prefix in split_rows((begun.x, begun.prefix), rows_at_once(num_samples)):
            rollout, poor = after_beginnings(pair, x[:, :longest], prefix, num_samples)
            filtered.append(poor)
            size = (len(x), num_samples)
            steps = [rollout.generate() for _ in range(horizon)]
            draws.append(torch.stack([x_t for _, x_t in steps], 1).unflatten(0, size))
            if is_boolean(steps[0][0]):
                means = torch.stack([point_of(fn)[0] for fn, _ in steps], 1)
                probability.append(means.unflatten(0, size).mean(1))
    bits = torch.cat(probability) if probability else None
    return torch.cat(draws), bits, torch.cat(filtered)


def _groups(
    run: Run, begun: Beginnings, predicted: Forecast, horizon: int
) -> dict[str, xr.Dataset]:
    groups: dict[str, dict[str, Any]] = {
        name: {} for name in ("predictions", "observed_data", "truth", "scores")
    }
    arguments = dict(zip(argument_names(run.pair), begun.args, strict=True))
    for name, (draws, probability) in predicted.items():
        for group, values in _of_argument(run, begun, name, arguments[name], draws, probability):
            groups[group] |= values
    groups["predictions_constant_data"] = {
        "prefix": ("datum", begun.prefix.cpu().numpy()),
        "length": ("datum", begun.length.cpu().numpy()),
        "horizon": ((), horizon),
    }
    labels = _labels(run, horizon)
    return {name: _labelled(values, labels) for name, values in groups.items()}


def _of_argument(
    run: Run,
    begun: Beginnings,
    name: str,
    values: Tensor,
    draws: Tensor,
    probability: Tensor | None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield what each group has of an observed argument; what is not x has its name in all."""
    horizon, is_x = draws.shape[2], name == "x"
    truth, exists = begun.frames(begun.prefix, horizon, values)
    first, is_prefix = begun.frames(torch.zeros_like(begun.prefix), int(begun.prefix.max()), values)
    is_prefix &= frame_mask(begun.prefix, first.shape[1])
    new = _in_units(run, name, draws).swapaxes(0, 1)
    future = _blank(_in_units(run, name, truth), exists)
    element = "element" if is_x else f"{name}_element"
    frame, end = ("datum", "time", element), "" if is_x else f"_{name}"
    yield "predictions", {name: (("chain", "draw", *frame), new[None])}
    yield (
        "observed_data",
        {name: (("datum", "frame", element), _blank(_in_units(run, name, first), is_prefix))},
    )
    yield "truth", {name: (frame, future)}
    if probability is None:
        scores = {"crps": crps(new, future).mean(-1)}
    else:
        of_bits = _flat(probability, 2)
        yield "predictions", {f"probability{end}": (frame, of_bits)}
        scores = binary_scores(of_bits.astype(float), _blank(_flat(truth, 2), exists))
    yield "scores", {f"{score}{end}": (("datum", "time"), v) for score, v in scores.items()}


def _in_units(run: Run, name: str, values: Tensor) -> Array:
    """Return frames ``(..., T, D)`` in units of the data."""
    leading = values.dim() - len(run.shapes[name]) + 1
    return _flat(run.transform.invert(values) if name == "x" else values, leading)


def _flat(values: Tensor, leading: int) -> Array:
    """Return frames with one dimension for their elements."""
    return np.asarray(values.cpu().numpy()).reshape(*values.shape[:leading], -1)


def _labels(run: Run, horizon: int) -> dict[str, Any]:
    """Coordinates: a frame ahead is 1, and elements are called what the data call them."""
    columns = run.info.get("columns") or range(int(np.prod(run.shapes["x"][1:])))
    return {"time": np.arange(1, horizon + 1), "element": list(columns)}


def _labelled(values: dict[str, Any], labels: dict[str, Any]) -> xr.Dataset:
    dataset = xr.Dataset(values)
    sizes = dataset.sizes.items()
    return dataset.assign_coords({dim: labels.get(str(dim), np.arange(n)) for dim, n in sizes})


def _blank(values: Array, exists: Tensor) -> Array:
    """Return frames ``(B, T, D)`` with nan for those that do not exist."""
    return np.where(exists.cpu().numpy()[..., None], values, np.nan)


def values_of(tree: xr.DataTree, group: str, name: str) -> Array:
    """Return an array of a group of a forecast."""
    return np.asarray(tree[group].to_dataset()[name])


def quantiles(
    tree: xr.DataTree, probabilities: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)
) -> xr.DataArray:
    """Return quantiles of a forecast, dimensions ``quantile, datum, time, element``."""
    draws = tree["predictions"].to_dataset()["x"]
    return draws.quantile(list(probabilities), dim=("chain", "draw"))
