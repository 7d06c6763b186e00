"""Sequences that are given a beginning, and continued by the model.

The states of a beginning are those that the guide finds in it,

    z_t ~ q(z_t | e_t, h_t),  h_{t+1} = f(x_t, z_t, h_t),

with e_t made of the beginning alone, also by a guide that looks ahead. From its last frame on the
model is on its own: z_t from the prior, x_t from the likelihood, and that x_t is what the next
state sees. So every draw differs in what it makes of the beginning, too.

A guide that is wrong about the beginning would make a forecast that is wrong: where fewer than half
of its draws count by their importance weights, the states come from a particle filter that proposes
from guide and prior in halves. What is not written as one step goes on by
:mod:`vaezoo.sequences.conditioning`, from draws of the guide that are not weighted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor, nn

from vaezoo.data import DataLike
from vaezoo.distributions.families import point_of
from vaezoo.errors import RequestError, require_positive, shown
from vaezoo.inference.completion import draw_jointly
from vaezoo.inference.filtering import filtered_states, particle_filter
from vaezoo.options import PointValue
from vaezoo.pairs.lengths import fill_padding
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import rows_at_once
from vaezoo.pairs.sites import Args, argument_names, takes_lengths, trace_pair
from vaezoo.runs import Run
from vaezoo.runs.conditions import Given, given_rows
from vaezoo.sequences.conditioning import (
    Continuation,
    along_time,
    continue_by_conditioning,
    with_room,
)
from vaezoo.sequences.frames import JointPathError
from vaezoo.sequences.sequence_pair import Rollout, SequencePair

__all__ = [
    "Beginnings",
    "Prefix",
    "after_beginnings",
    "beginnings",
    "continue_beginnings",
    "continue_sequences",
    "usual_steps",
]

Prefix = int | Literal["half", "all"]
STEPS_OF_BURN_IN = 200
NUM_OF_TRIAL, FEWEST_PARTICLES, PARTICLES_OF_DRAW = 100, 200, 10


@torch.no_grad()
def continue_sequences(
    pair: SequencePair,
    x: Tensor,
    length: Tensor,
    steps: int,
    num_samples: int,
    *,
    x_choice: PointValue = "sample",
) -> Tensor:
    """Continue sequences, each from its own end.

    Parameters
    ----------
    pair
        The pair.
    x
        Beginnings ``(B, T, *x_shape)``, in the values that the pair explains.
    length
        How many of the T frames are given, ``(B,)``; what stands behind is not looked at.
    steps
        Frames to add.
    num_samples
        Continuations S of each beginning.
    x_choice
        ``mean``: show the mean of each p(x_t | z_t, h_t); a draw is still what is fed back.

    Returns
    -------
    Tensor
        Shape ``(B, S, steps, *x_shape)``.
    """
    rollout, _ = after_beginnings(pair, x, length, num_samples)
    shown = []
    for _ in range(steps):
        likelihood, x_t = rollout.generate()
        shown.append(point_of(likelihood)[0] if x_choice == "mean" else x_t)
    return torch.stack(shown, 1).unflatten(0, (len(x), num_samples))


@torch.no_grad()
def after_beginnings(
    pair: SequencePair, x: Tensor, length: Tensor, num_samples: int
) -> tuple[Rollout, Tensor]:
    """Draw the states after the last given frame of each sequence, of ``B * S`` rows.

    Returns
    -------
    tuple
        The rows, and for which sequences their states come from a filter, ``(B,)``; of the others
        they are draws of the guide.
    """
    x = fill_padding(x, length, 0.0)
    h, e, frames, ends = (
        tensor.repeat_interleave(num_samples, 0)
        for tensor in (pair.initial(x), pair.encode(x, length), x, length)
    )
    rollout = Rollout(pair, h)
    for t in range(x.shape[1]):
        z = rollout.draw("posterior", e[:, t])
        rollout.advance(z, pair.embed(frames[:, t]), running=t < ends)
    poor = _is_poor(pair, (x, length))
    if bool(poor.any()):
        particles = max(FEWEST_PARTICLES, PARTICLES_OF_DRAW * num_samples)
        states = filtered_states(pair, (x[poor], length[poor]), particles, num_samples)
        h = rollout.h.unflatten(0, (-1, num_samples))
        rollout.h = h.index_put((poor,), states.to(h.dtype)).flatten(0, 1)
    return rollout, poor


def _is_poor(pair: SequencePair, args: Args) -> Tensor:
    """Return for which sequences fewer than half of the guide's paths count, ``(B,)``."""
    if not pair.has_latents:
        return torch.zeros(len(args[0]), dtype=torch.bool, device=args[0].device)
    with probing(pair, args[0].device, seed=0, evaluating=False):
        weighed = particle_filter(pair, args, NUM_OF_TRIAL, threshold=0.0)
    return (-(2 * weighed.log_weights).logsumexp(1)).exp() < NUM_OF_TRIAL / 2


@dataclass(frozen=True)
class Beginnings:
    """Sequences, and how many frames of each are given.

    Attributes
    ----------
    x
        Whole sequences ``(B, T, *x_shape)``, in the values that the pair explains.
    length
        Their lengths, ``(B,)``.
    prefix
        Frames of each that are given, ``(B,)``.
    args
        All arguments of the pair, whole.
    conditions
        Conditions that were given in the place of those of the data, by name.
    """

    x: Tensor
    length: Tensor
    prefix: Tensor
    args: Args
    conditions: Mapping[str, Tensor]

    def frames(
        self, start: Tensor, steps: int, values: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return the frames from ``start (B,)`` on, ``(B, steps, *x_shape)``, and which exist.

        ``values`` are those of another argument.
        """
        values = self.x if values is None else values
        index = start.unsqueeze(-1) + torch.arange(steps, device=start.device)
        exists = index < self.length.unsqueeze(-1)
        rows = torch.arange(len(self.x), device=start.device).unsqueeze(-1)
        return values[rows, index.clamp(max=values.shape[1] - 1)], exists


def beginnings(
    run: Run,
    data: DataLike | None,
    split: str,
    prefix: Prefix,
    *,
    limit: int | None,
    steps: int | None = None,
    given: Given | None = None,
    data_dir: str | Path | None = None,
) -> Beginnings:
    """Return rows of data of which the first frames are given.

    Parameters
    ----------
    run, data, split, limit, data_dir
        As for :func:`forecast`.
    prefix
        So many frames, ``half`` of each sequence (at least one), or ``all``.
    steps
        Frames to add: what has a value for each frame is ``given`` for these, too.
    given
        Conditions by name, in the place of those of the data.

    Raises
    ------
    RequestError
        When the data are no sequences, or one is shorter than the prefix; it is named.
    """
    if not takes_lengths(run.pair):
        raise RequestError(
            f"there is nothing to continue: {run.name} is no run on sequences "
            f"({type(run.pair).__name__} takes no argument 'length')"
        )
    batches = run.batches(data, data_dir=data_dir)
    args = batches.whole(split, limit=limit)
    named = dict(zip(batches.names, args, strict=True))
    x, length = named["x"], named["length"]
    frames = _frames_of_prefix(length, prefix, split)
    conditions: dict[str, Tensor] = {}
    for name, value in (given or {}).items():
        in_time = name in along_time(run.pair, args)
        needed = int(frames.max()) + (steps or 1) if in_time else None
        rows = given_rows({name: value}, named, run.roles.conditions, num_frames=needed)
        conditions |= {other: tensor.to(x.device) for other, tensor in rows.items()}
    return Beginnings(x, length, frames, args, conditions)


def continue_beginnings(
    run: Run, pair: nn.Module, begun: Beginnings, steps: int, num_samples: int
) -> tuple[dict[str, Tensor], dict[str, Tensor], frozenset[str]]:
    """Continue sequences of a pair that is not written as one step, each from its own end.

    ``pair`` is that of the run, or its form for data with missing entries.

    Returns
    -------
    tuple
        Draws and points by argument, ``(B, S, steps, ...)`` each, and which are bits.

    Raises
    ------
    RequestError
        When a condition ends before the forecast does; it is named.
    """
    _require_conditions(run, begun, steps)
    parts: list[tuple[Tensor, Continuation]] = []
    for prefix in begun.prefix.unique().tolist():
        rows = (begun.prefix == prefix).nonzero().flatten()
        size = rows_at_once(num_samples, num_frames=prefix + steps)
        for some in rows.split(size):
            args = tuple(arg[some] for arg in begun.args)
            more = {name: value[some] for name, value in begun.conditions.items()}
            parts.append((some, _continuation(run, pair, args, prefix, steps, num_samples, more)))
    order = torch.cat([rows for rows, _ in parts]).argsort()
    whole = _joined([part for _, part in parts], 0)
    draws, points = (
        {name: value[order] for name, value in values.items()}
        for values in (whole.draws, whole.points)
    )
    return draws, points, whole.binary


def _joined(parts: Sequence[Continuation], dim: int) -> Continuation:
    draws, points = (
        {name: torch.cat([part[name] for part in values], dim) for name in values[0]}
        for values in ([part.draws for part in parts], [part.points for part in parts])
    )
    return Continuation(draws, points, parts[0].binary)


def _continuation(
    run: Run,
    pair: nn.Module,
    args: Args,
    prefix: int,
    steps: int,
    num_samples: int,
    conditions: Mapping[str, Tensor],
) -> Continuation:
    """Continue rows; with latents that all rows share, each draw by a run of its own."""
    shared = bool(trace_pair(pair, args).global_latents)
    runs, at_once = (num_samples, 1) if shared else (1, num_samples)
    try:
        parts = [
            continue_by_conditioning(
                pair, args, run.roles, prefix, steps, at_once, conditions=conditions
            )
            for _ in range(runs)
        ]
    except JointPathError as joint:
        try:
            return _continued_jointly(run, args, prefix, steps, num_samples, conditions)
        except RequestError as error:
            raise RequestError(f"{joint}; {error}") from joint
    return _joined(parts, 1)


def _continued_jointly(
    run: Run,
    args: Args,
    prefix: int,
    steps: int,
    num_samples: int,
    conditions: Mapping[str, Tensor],
) -> Continuation:
    """Continue rows by chains over latents and frames of whole sequences, the last missing."""
    more = with_room(run.pair, args, run.roles, prefix, steps, conditions)
    named = dict(zip(argument_names(run.pair), more, strict=True))
    names = [name for name in along_time(run.pair, args) if name in run.roles.data]
    missing = {name: named[name].isnan() for name in names}
    for where in missing.values():
        where[:, prefix:] = True
    filled = tuple(arg.nan_to_num() if name in missing else arg for name, arg in named.items())
    draws, _ = draw_jointly(
        run.pair, filled, missing, num_samples=num_samples, burn_in=STEPS_OF_BURN_IN
    )
    new = {name: value[:, :, prefix:].transpose(0, 1) for name, value in draws.items()}
    return Continuation(new, new, frozenset())


def _require_conditions(run: Run, begun: Beginnings, steps: int) -> None:
    """Refuse conditions of the data whose last frames are padding where they are needed."""
    last = begun.prefix + steps
    short = (last > begun.length).nonzero().flatten()
    names = set(along_time(run.pair, begun.args)) & set(run.roles.conditions)
    for name in sorted(names - set(begun.conditions)):
        if len(short):
            row = int(short[0])
            raise RequestError(
                f"condition '{name}' of sequence {row} has {int(begun.length[row])} frames, and "
                f"{int(last[row])} are needed: begin earlier (`prefix`), go on for less, or give "
                f"it for all frames, `given={{'{name}': ...}}`"
            )


def _frames_of_prefix(length: Tensor, prefix: Prefix, split: str) -> Tensor:
    if prefix == "all":
        return length
    if prefix == "half":
        return (length // 2).clamp(min=1)
    if not isinstance(prefix, int):
        raise RequestError(f"`prefix` takes a number of frames, half or all, not {shown(prefix)}")
    require_positive("prefix", prefix, "frame")
    if int(length.min()) < prefix:
        raise RequestError(
            f"`prefix={prefix}` is longer than sequence {int(length.argmin())} of {split}, which "
            f"has {int(length.min())} frames; use at most {int(length.min())}"
        )
    return torch.full_like(length, prefix)


def usual_steps(run: Run) -> int:
    """Return how many frames a sequence of a run's data usually has: the median, if it is known."""
    return int(run.info.get("median_length") or run.shapes["x"][0])
