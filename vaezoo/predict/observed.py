"""What a pair predicts of its data, by the arguments that the data are, in their own units."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.observations.roles import by_argument
from vaezoo.pairs.lengths import fill_padding
from vaezoo.pairs.pieces import join_sequences
from vaezoo.pairs.sites import Args, argument_names
from vaezoo.runs import Run

__all__ = ["Predicted", "as_predicted", "in_data_units", "observed_values", "shown", "side_by_side"]

Predicted = Array | dict[str, Array]


def observed_values(run: Run, sites: Mapping[str, Tensor], args: Args) -> dict[str, Tensor]:
    """Return values of observed sites by argument; of a site that observes none, by its own name.

    Parameters
    ----------
    run
        Whose pair it is.
    sites
        Values by site, ``(N, ...)``.
    args
        Rows of the arguments of the model, as many.
    """
    roles = run.roles
    arguments = dict(zip(argument_names(run.pair), args, strict=True))
    values = by_argument(roles, sites, arguments)
    computed = [site for site, taken in roles.observed.items() if taken is None]
    return {**values, **{site: sites[site] for site in computed if site in sites}}


def in_data_units(
    run: Run, values: Mapping[str, Tensor], length: Tensor | None = None
) -> dict[str, Tensor]:
    """Undo a run's transform of x; behind the end of a sequence there is nan."""
    x = {"x": run.transform.invert(values["x"])} if "x" in values else {}
    whole = {**values, **x}
    if length is None:
        return whole
    frames = run.shapes["x"][:1]
    return {
        name: _ended(value, length) if run.shapes.get(name, frames)[:1] == frames else value
        for name, value in whole.items()
    }


def _ended(value: Tensor, length: Tensor) -> Tensor:
    return fill_padding(value.to(torch.float32), length, torch.nan)


def _joined(rows: list[Tensor]) -> Array:
    whole = torch.cat(rows) if rows[0].dim() == 1 else join_sequences(rows, torch.nan)
    return np.asarray(whole)


def shown(predicted: Predicted) -> Array:
    """Return what a picture shows: x where several arguments are observed, or else the first."""
    if not isinstance(predicted, dict):
        return predicted
    return predicted.get("x", next(iter(predicted.values())))


def as_predicted(parts: Sequence[Mapping[str, Tensor]]) -> Predicted:
    """Join rows: an array where one argument is observed, else one for each by its name.

    Sequences that were cut to different lengths are filled up with nan.
    """
    joined = {name: _joined([part[name].cpu() for part in parts]) for name in parts[0]}
    return next(iter(joined.values())) if len(joined) == 1 else joined


def side_by_side(columns: Sequence[Predicted]) -> Predicted:
    """Return several predictions of the same rows with an axis S behind these, ``(N, S, ...)``.

    Examples
    --------
    >>> side_by_side([np.zeros((3, 2)), np.ones((3, 2))]).shape
    (3, 2, 2)
    """
    if isinstance(columns[0], dict):
        named = [column for column in columns if isinstance(column, dict)]
        return {name: np.stack([column[name] for column in named], 1) for name in columns[0]}
    return np.stack([shown(column) for column in columns], 1)
