"""Sequences that are given a beginning, and continued by the model.

The states of a beginning are those that the guide finds in it,

    z_t ~ q(z_t | e_t, h_t),  h_{t+1} = f(x_t, z_t, h_t),

with e_t made of the beginning alone, also by a guide that looks ahead. From its last frame on the
model is on its own: z_t from the prior, x_t from the likelihood, and that x_t is what the next
state sees. So every draw differs in what it makes of the beginning, too. The draws of the guide are
not weighted: a guide that is wrong about the beginning makes a forecast that is wrong.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from pyro.distributions import TorchDistribution
from torch import Tensor, nn

from vaezoo.data import Data
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.options import PointValue
from vaezoo.pairs.families import mean_of
from vaezoo.pairs.lengths import fill_padding
from vaezoo.pairs.pieces import MOST_ROWS
from vaezoo.runs import Run
from vaezoo.runtime.device import seeded
from vaezoo.sequences.sequence_pair import SequencePair
from vaezoo.sequences.unrolled import over_rows

__all__ = [
    "Beginnings",
    "Prefix",
    "beginnings",
    "continuations",
    "continue_sequences",
    "roll_out",
    "sequence_pair",
    "states_after",
    "usual_steps",
]

Prefix = int | Literal["half", "all"]


def sequence_pair(pair: nn.Module, what: str) -> SequencePair:
    """Return a pair that is described by one step; a refusal for any other.

    Parameters
    ----------
    pair
        Any pair.
    what
        What is asked for, as it begins the message: ``"`prefix`"``.
    """
    if not isinstance(pair, SequencePair):
        name = type(pair).__name__
        raise RequestError(
            f"{what} needs a sequence pair (vaezoo.SequencePair, as vrnn), and {name} is none"
        )
    return pair


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
    h = states_after(pair, x, length, num_samples)
    shown = [
        mean_of(fn, "x") if x_choice == "mean" else x_t for fn, x_t in roll_out(pair, h, steps)
    ]
    return torch.stack(shown, 1).unflatten(0, (len(x), num_samples))


def states_after(pair: SequencePair, x: Tensor, length: Tensor, num_samples: int) -> Tensor:
    """Draw the state after the last given frame of each sequence, ``(B * S, H)``."""
    x = fill_padding(x, length, 0.0)
    e = pair.encode(x, length) if pair.has_latents else x.new_empty(*x.shape[:2], 0)
    h, e, x, length = (
        tensor.repeat_interleave(num_samples, 0) for tensor in (pair.initial(x), e, x, length)
    )
    for t in range(x.shape[1]):
        z = _draw(pair.posterior(e[:, t], h), h) if pair.has_latents else h[:, :0]
        following = pair.transition(pair.embed(x[:, t]), z, h)
        h = torch.where((t < length).unsqueeze(-1), following, h)
    return h


def roll_out(
    pair: SequencePair, h: Tensor, steps: int
) -> Iterator[tuple[TorchDistribution, Tensor]]:
    """Yield p(x_t | z_t, h_t) and a draw ``(N, *x_shape)`` of the steps from ``h (N, H)`` on."""
    for _ in range(steps):
        z = _draw(pair.prior(h), h) if pair.has_latents else h[:, :0]
        fn = pair.likelihood(z, h)
        x_t = fn.sample()
        yield fn, x_t
        h = pair.transition(pair.embed(x_t), z, h)


def _draw(fn: TorchDistribution, h: Tensor) -> Tensor:
    """Draw one latent for each row of ``h``."""
    return torch.as_tensor(over_rows(fn, len(h)).sample())


@dataclass(frozen=True)
class Beginnings:
    """Sequences, and how many frames of each are given.

    Attributes
    ----------
    x
        Whole sequences ``(B, T, *x_shape)``, in the values that the pair explains.
    length
        Their lengths, ``(B,)``.
    given
        Frames of each that are given, ``(B,)``.
    """

    x: Tensor
    length: Tensor
    given: Tensor

    def frames(self, start: Tensor, steps: int) -> tuple[Tensor, Tensor]:
        """Return the frames from ``start (B,)`` on, ``(B, steps, *x_shape)``, and which exist."""
        index = start.unsqueeze(-1) + torch.arange(steps, device=start.device)
        exists = index < self.length.unsqueeze(-1)
        rows = torch.arange(len(self.x), device=start.device).unsqueeze(-1)
        return self.x[rows, index.clamp(max=self.x.shape[1] - 1)], exists


def beginnings(
    run: Run,
    data: str | Data | None,
    split: str,
    prefix: Prefix,
    *,
    limit: int,
    data_dir: str | None = None,
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
    sequence_pair(run.pair, "a continuation")
    batches = run.batches(data, data_dir=data_dir)
    named = dict(zip(batches.names, batches.whole(split, limit=limit), strict=True))
    x, length = named["x"], named["length"]
    if prefix == "all":
        return Beginnings(x, length, length)
    if prefix == "half":
        return Beginnings(x, length, (length // 2).clamp(min=1))
    if prefix < 1:
        raise RequestError("`prefix` takes at least one frame")
    if int(length.min()) < prefix:
        raise RequestError(
            f"`prefix={prefix}` is longer than sequence {int(length.argmin())} of {split}, which "
            f"has {int(length.min())} frames; use at most {int(length.min())}"
        )
    return Beginnings(x, length, torch.full_like(length, prefix))


def continuations(
    run: Run,
    num_rows: int,
    *,
    prefix: int,
    steps: int | None = None,
    data: str | Data | None = None,
    split: str = "test",
    x: PointValue = "mean",
    seed: int = 0,
    data_dir: str | None = None,
) -> Array:
    """Return the first frames of data and one continuation of each, in units of the data.

    Without ``steps`` they get as long as the data usually are, by one frame at least.

    Returns
    -------
    array
        Shape ``(num_rows, prefix + steps, *x_shape)``.
    """
    run.pair.eval()
    pair = sequence_pair(run.pair, "`prefix`")
    steps = max(1, usual_steps(run) - prefix) if steps is None else steps
    begun = beginnings(run, data, split, prefix, limit=num_rows, data_dir=data_dir)
    with seeded(seed, run.device):
        given = begun.x[:, :prefix]
        parts = [
            continue_sequences(pair, rows, given_length, steps, 1, x_choice=x)[:, 0]
            for rows, given_length in zip(
                given.split(MOST_ROWS), begun.given.split(MOST_ROWS), strict=True
            )
        ]
    values: Array = run.transform.invert(torch.cat([given, torch.cat(parts)], 1)).cpu().numpy()
    return values


def usual_steps(run: Run) -> int:
    """Return how many frames a sequence of a run's data usually has: the median, if it is known."""
    return int(run.info.get("median_length") or run.shapes["x"][0])
