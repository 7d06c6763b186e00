"""What comes next in a sequence: draws of its next frames, their quantiles, and their scores."""

from collections.abc import Sequence
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
        ``log_loss`` (their sum, in nats). A single chain holds all draws: they are independent.

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
    draws, probability = _predict(run, begun, horizon, num_samples, seed)
    tree = xr.DataTree.from_dict(_groups(run, begun, draws, probability))
    data_name = other.name if other else run.data.name
    tree.attrs = {"name": run.name, **describe_library(), "seed": seed, "data": data_name}
    return tree


def _predict(
    run: Run, begun: Beginnings, horizon: int, num_samples: int, seed: int
) -> tuple[Tensor, Tensor | None]:
    """Draws ``(B, S, H, *x_shape)``, and of binary data the probabilities ``(B, H, *x_shape)``."""
    pair = incomplete_form(run.pair, begun.args)
    if isinstance(pair, SequencePair) and len(begun.args) == 2:
        return _predict_by_steps(pair, begun, horizon, num_samples, seed)
    with seeded(seed, begun.x.device):
        draws, points, is_binary = continue_beginnings(run, pair, begun, horizon, num_samples)
    return draws["x"], points["x"].mean(1) if is_binary else None


def _predict_by_steps(
    pair: SequencePair, begun: Beginnings, horizon: int, num_samples: int, seed: int
) -> tuple[Tensor, Tensor | None]:
    longest = int(begun.prefix.max())
    draws, probability = [], []
    with seeded(seed, begun.x.device):
        for x, prefix in split_rows((begun.x, begun.prefix), rows_at_once(num_samples)):
            rollout = after_beginnings(pair, x[:, :longest], prefix, num_samples)
            size = (len(x), num_samples)
            steps = [rollout.generate() for _ in range(horizon)]
            draws.append(torch.stack([x_t for _, x_t in steps], 1).unflatten(0, size))
            if is_boolean(steps[0][0]):
                means = torch.stack([point_of(fn)[0] for fn, _ in steps], 1)
                probability.append(means.unflatten(0, size).mean(1))
    return torch.cat(draws), torch.cat(probability) if probability else None


def _groups(
    run: Run, begun: Beginnings, draws: Tensor, probability: Tensor | None
) -> dict[str, xr.Dataset]:
    def units(values: Tensor) -> Array:
        inverted: Array = run.transform.invert(values).cpu().numpy()
        return inverted

    horizon = draws.shape[2]
    truth, exists = begun.frames(begun.prefix, horizon)
    first, is_prefix = begun.frames(torch.zeros_like(begun.prefix), int(begun.prefix.max()))
    is_prefix &= frame_mask(begun.prefix, first.shape[1])
    x, future = units(draws).swapaxes(0, 1), _blank(units(truth), exists)
    frame = ("datum", "time", "element")
    predictions: dict[str, Any] = {"x": (("chain", "draw", *frame), x[None])}
    if probability is None:
        scores = {"crps": crps(x, future).mean(-1)}
    else:
        predictions["probability"] = (frame, probability.cpu().numpy())
        bits = _blank(truth.cpu().numpy(), exists)
        scores = binary_scores(probability.double().cpu().numpy(), bits)
    groups = {
        "predictions": predictions,
        "observed_data": {"x": (("datum", "frame", "element"), _blank(units(first), is_prefix))},
        "predictions_constant_data": {
            "prefix": ("datum", begun.prefix.cpu().numpy()),
            "length": ("datum", begun.length.cpu().numpy()),
            "horizon": ((), horizon),
        },
        "truth": {"x": (frame, future)},
        "scores": {name: (("datum", "time"), value) for name, value in scores.items()},
    }
    labels = _labels(run, draws)
    return {name: _labelled(values, labels) for name, values in groups.items()}


def _labels(run: Run, draws: Tensor) -> dict[str, Any]:
    """Coordinates: a frame ahead is 1, and elements are called what the data call them."""
    width = draws.shape[3]
    columns = run.info.get("columns") or range(width)
    return {"time": np.arange(1, draws.shape[2] + 1), "element": list(columns)}


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
