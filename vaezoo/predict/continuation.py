"""Sequences that are given a beginning, and continued by the model.

The states of a beginning are those that the guide finds in it,

    z_t ~ q(z_t | e_t, h_t),  h_{t+1} = f(x_t, z_t, h_t),

with e_t made of the beginning alone, also by a guide that looks ahead. From its last frame on the
model is on its own: z_t from the prior, x_t from the likelihood, and that x_t is what the next
state sees. So every draw differs in what it makes of the beginning, too. The draws of the guide are
not weighted: a guide that is wrong about the beginning makes a forecast that is wrong.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from vaezoo.data import DataLike
from vaezoo.errors import RequestError, require_positive
from vaezoo.options import PointValue
from vaezoo.pairs.families import point_of
from vaezoo.pairs.lengths import fill_padding
from vaezoo.runs import Run
from vaezoo.sequences.sequence_pair import Rollout, SequencePair, as_sequence_pair

__all__ = [
    "Beginnings",
    "Prefix",
    "after_beginnings",
    "beginnings",
    "continue_sequences",
    "usual_steps",
]

Prefix = int | Literal["half", "all"]


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
    rollout = after_beginnings(pair, x, length, num_samples)
    shown = []
    for _ in range(steps):
        likelihood, x_t = rollout.generate()
        shown.append(point_of(likelihood)[0] if x_choice == "mean" else x_t)
    return torch.stack(shown, 1).unflatten(0, (len(x), num_samples))


def after_beginnings(pair: SequencePair, x: Tensor, length: Tensor, num_samples: int) -> Rollout:
    """Draw the states after the last given frame of each sequence, of ``B * S`` rows."""
    x = fill_padding(x, length, 0.0)
    h, e, x, length = (
        tensor.repeat_interleave(num_samples, 0)
        for tensor in (pair.initial(x), pair.encode(x, length), x, length)
    )
    rollout = Rollout(pair, h)
    for t in range(x.shape[1]):
        z = rollout.draw("posterior", e[:, t])
        rollout.advance(z, pair.embed(x[:, t]), running=t < length)
    return rollout


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
    """

    x: Tensor
    length: Tensor
    prefix: Tensor

    def frames(self, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Return the frames from ``start (B,)`` on, ``(B, steps, *x_shape)``, and which exist."""
        index = start.unsqueeze(-1) + torch.arange(steps, device=start.device)
        exists = index < self.length.unsqueeze(-1)
        rows = torch.arange(len(self.x), device=start.device).unsqueeze(-1)
        return self.x[rows, index.clamp(max=self.x.shape[1] - 1)], exists


def beginnings(
    run: Run,
    data: DataLike | None,
    split: str,
    prefix: Prefix,
    *,
    limit: int | None,
    data_dir: str | Path | None = None,
) -> Beginnings:
    """Return rows of data of which the first frames are given.

    Parameters
    ----------
    run, data, split, limit, data_dir
        As for :func:`forecast`.
    prefix
        So many frames, ``half`` of each sequence (at least one), or ``all``.

    Raises
    ------
    RequestError
        When a sequence is shorter than the prefix; it is named.
    """
    as_sequence_pair(run.pair, "a continuation")
    batches = run.batches(data, data_dir=data_dir)
    named = dict(zip(batches.names, batches.whole(split, limit=limit), strict=True))
    x, length = named["x"], named["length"]
    return Beginnings(x, length, _frames_of_prefix(length, prefix, split))


def _frames_of_prefix(length: Tensor, prefix: Prefix, split: str) -> Tensor:
    if prefix == "all":
        return length
    if prefix == "half":
        return (length // 2).clamp(min=1)
    if not isinstance(prefix, int):
        raise RequestError(f"`prefix` takes a number of frames, half or all, not {prefix!r}")
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
