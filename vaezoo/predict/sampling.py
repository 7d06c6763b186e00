"""New data from a run: from the prior, or going on from the first frames of sequences."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vaezoo.data import DataLike
from vaezoo.errors import RequestError, require_positive
from vaezoo.observations.predictions import prior_predictives
from vaezoo.options import LatentSource, PointValue, Shown, ShownValue, require_choice
from vaezoo.pairs.pieces import MOST_ROWS, split_rows
from vaezoo.pairs.sites import Args, argument_names, takes_lengths, trace_pair
from vaezoo.predict.continuation import (
    Beginnings,
    beginnings,
    continue_beginnings,
    continue_sequences,
    usual_steps,
)
from vaezoo.predict.latents.ex_post import draw_ex_post
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
from vaezoo.sequences.missing import incomplete_form
from vaezoo.sequences.sequence_pair import SequencePair

__all__ = ["sample"]


def sample(
    run: RunLike,
    num_samples: int = 64,
    *,
    x: Shown = "mean",
    latents: LatentSource = "prior",
    steps: int | None = None,
    prefix: int | None = None,
    data: "DataLike | None" = None,
    split: str = "test",
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
) -> Predicted:
    """Draw new data from a run: z from the prior, x its mean or a draw, in units of the data.

    What all data share, as the weights of a Bayesian decoder, is drawn from the guide: the data
    have been seen. An autoencoder has no prior: a density is fitted to its codes.

    A sequence hears its own draws: also where the mean of a frame is shown, a draw of it is what
    the next one follows.

    Parameters
    ----------
    run
        A trained run, or its folder.
    num_samples
        How many.
    x
        What is shown of p(x | z): its ``mean``, its ``mode``, a ``sample``, or ``both``, the mean
        and the sample at the same z.
    latents
        Where z is drawn from: the ``prior``, or a density that is fitted to the codes of data,
        ``gmm`` (a mixture of 10 Gaussians) or ``flow`` (Zuko), and is not kept.
    steps
        Frames of a sequence; by default as many as the data's usually have. With a ``prefix``,
        frames that come after it.
    prefix
        Continue the first so many frames of sequences of the data, one of each.
    data, split, data_dir
        Of the prefix, or of the codes: data in any form that :func:`fit` takes, by default those of
        the run; which of their rows, for codes of the run's data those of the training; where
        original files may lie.
    given
        Conditions of a conditional pair by name, ``{"label": 3}``: one value for all, or one for
        each sample; by default those of random data.
    seed
        Seed of the draws.

    Returns
    -------
    array
        Shape ``(num_samples, *x_shape)``; of sequences ``(num_samples, T, D)``, with the prefix in
        front. Of ``both``, ``(num_samples, 2, *x_shape)``, the means first. Of several observed
        arguments a dictionary of arrays by their names.

    Raises
    ------
    RequestError
        For what is asked of sequences, when the run is not on any; for data without a prefix; when
        a sequence is shorter than the prefix.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", training={"steps": 5})
    >>> vaezoo.sample(run, 3).shape
    (3, 8, 8)
    """
    require_positive("num_samples", num_samples, "datum")
    require_choice("x", x, Shown)
    require_choice("latents", latents, LatentSource)
    require_positive("steps", steps, "frame")
    require_positive("prefix", prefix, "frame")
    run = as_run(run)
    shows: list[ShownValue] = ["mean", "sample"] if x == "both" else [x]
    if prefix is None:
        if data is not None and latents == "prior":
            raise RequestError("`data` takes `prefix` with it: without one, nothing of it is used")
        rows = split if data is not None else "train"
        of_codes: Any = {"data": data, "split": rows, "data_dir": data_dir, "seed": seed}
        with seeded(seed, run.device):
            args = run.placeholder(num_samples, _frames(run, steps), given)
            z = _of_all_data(run, args)
            if latents != "prior":
                z = z | draw_ex_post(run, args, latents, **of_codes)
            several = prior_predictives(run.pair, args, shows, latents=z)
            new = [observed_values(run, values, args) for values in several]
    else:
        if latents != "prior":
            raise RequestError("a `prefix` is continued by its own latents; drop `latents`")
        if x in ("both", "mode"):
            raise RequestError(f"a `prefix` is continued by a mean or a sample, not by `x='{x}'`")
        steps = max(1, usual_steps(run) - prefix) if steps is None else steps
        begun = beginnings(
            run, data, split, prefix, limit=num_samples, steps=steps, given=given, data_dir=data_dir
        )
        with seeded(seed, run.device):
            new = [_continued(run, begun, steps, "mean" if x == "mean" else "sample")]
    columns = [as_predicted([in_data_units(run, values)]) for values in new]
    return side_by_side(columns) if x == "both" else columns[0]


def _frames(run: Run, steps: int | None) -> int | None:
    """Return the frames of new sequences; a refusal of some for other data."""
    if takes_lengths(run.pair):
        return usual_steps(run) if steps is None else steps
    if steps is not None:
        raise RequestError(f"`steps` takes a run on sequences, and {run.name} is none")
    return None


def _of_all_data(run: Run, args: Args) -> dict[str, Tensor]:
    """Return a draw of the guide's of latents outside the data plate; most pairs have none."""
    if not shared_latents(run):
        return {}
    with torch.no_grad():
        shared = trace_pair(run.pair, args).global_latents
    return {name: q["value"] for name, (_, q) in shared.items()}


def _continued(run: Run, begun: Beginnings, steps: int, x: PointValue) -> dict[str, Tensor]:
    """Return the first frames of sequences and one continuation of each, by argument."""
    pair, prefix = incomplete_form(run.pair, begun.args), int(begun.prefix[0])
    if isinstance(pair, SequencePair) and len(begun.args) == 2:
        first = begun.x[:, :prefix]
        parts = [
            continue_sequences(pair, rows, lengths, steps, 1, x_choice=x)[:, 0]
            for rows, lengths in split_rows((first, begun.prefix), MOST_ROWS)
        ]
        return {"x": torch.cat([first, torch.cat(parts)], 1)}
    draws, points, _ = continue_beginnings(run, pair, begun, steps, 1)
    args = dict(zip(argument_names(run.pair), begun.args, strict=True))
    return {
        name: torch.cat([args[name][:, :prefix], value[:, 0]], 1)
        for name, value in (points if x == "mean" else draws).items()
    }
