"""Whole paths from p(z | x), drawn backwards from the particles that a filter has left behind.

Traced through their ancestors, the paths of a filter begin with few different frames. Backward
simulation (Godsill, Doucet & West 2004) chooses the particle of each frame anew, in proportion to

    w_t^k p(z_{t+1} ... z_T, x_{t+1} ... x_T | h_{t+1}^k),

along the path that was chosen so far. The ancestor that a path has is one of the choices, beside a
few that are drawn by their weights, which leaves this distribution as it is and stays stable in
long sequences (Bunch & Godsill 2013; Dau & Chopin 2023, arXiv:2207.00976: one other is enough).

The states h of a pair may hear all latents before. A choice is hence carried on along the path
until its state no longer differs from that of the path as it is: after one frame in a state space
model, whose h is the last latent, and after as many frames as it remembers in a recurrent network,
for which there are fewer choices. A choice whose state differs after so many frames as are looked
ahead is not taken; as that holds for both ways, the distribution stays what it is. Paths of a
network that forgets nothing keep the few ancestors that they have, and their number says so.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vaezoo.pairs.sites import Args
from vaezoo.sequences.inputs import by_frame
from vaezoo.sequences.sequence_pair import Rollout, SequencePair

__all__ = ["Passed", "Traced", "simulate_backward"]

CHOICES, CHOICES_OF_LONG_MEMORY = 8, 2
SAME_STATE = 1e-3
MOST_AHEAD = 32  # frames
SETTLED, UNLIKELY = 20.0, -1e30


@dataclass(frozen=True)
class Passed:
    """What a filter leaves behind at a frame, of K particles for each of B sequences.

    Attributes
    ----------
    z
        Latents ``(B, K, L)``.
    h
        States after the frame, ``(B, K, H)``.
    log_weights
        Normalised, after the frame and before resampling, ``(B, K)``.
    parents
        Which particle goes on in each place of the next frame, ``(B, K)``.
    """

    z: Tensor
    h: Tensor
    log_weights: Tensor
    parents: Tensor


@dataclass(frozen=True)
class Traced:
    """Paths ``(B, R, T, L)``, and which particle of its frame each latent is, ``(B, R, T)``."""

    paths: Tensor
    places: Tensor


def simulate_backward(
    pair: SequencePair, args: Args, frames: Sequence[Passed], num_paths: int
) -> Traced:
    """Draw R paths of each sequence, equally weighted.

    Parameters
    ----------
    pair, args
        A pair, and B sequences.
    frames
        What a filter left behind at each frame.
    num_paths
        R.

    Examples
    --------
    Two particles, and only one of them can have gone where the path is a frame later:

    >>> from vaezoo.models.lgssm import LGSSM
    >>> pair = LGSSM(x_shape=(1,), z_dim=1)
    >>> z = torch.tensor([[[-9.0], [9.0]]])
    >>> h = torch.cat([z, torch.ones_like(z)], -1)
    >>> even, parents = torch.full((1, 2), 0.5).log(), torch.tensor([[0, 1]])
    >>> frame = Passed(z, h, even, parents)
    >>> args = torch.zeros(1, 2, 1), torch.tensor([2])
    >>> traced = simulate_backward(pair, args, [frame, frame], 6)
    >>> traced.paths.shape, bool((traced.places[..., 0] == traced.places[..., 1]).all())
    (torch.Size([1, 6, 2, 1]), True)
    """
    future = _Future(pair, args, num_paths)
    length = args[1]
    places = [_by_weight(frames[-1].log_weights, num_paths)]
    future.prepend(_taken(frames[-1].z, places[0]))
    for t in reversed(range(len(frames) - 1)):
        frame = frames[t]
        kept = frame.parents.gather(1, places[0])
        others = _by_weight(frame.log_weights, num_paths * (future.choices - 1))
        choices = torch.cat([kept.unsqueeze(-1), others.unflatten(1, (num_paths, -1))], -1)
        scores = future.score(t + 1, _taken(frame.h, choices.flatten(1)))
        pick = torch.distributions.Categorical(logits=scores).sample().unsqueeze(-1)
        picked = choices.gather(-1, pick).squeeze(-1)
        place = torch.where((t + 1 < length).unsqueeze(1), picked, kept)
        places.insert(0, place)
        future.prepend(_taken(frame.z, place))
    return Traced(torch.stack(future.z, 2), torch.stack(places, 2))


class _Future:
    """R paths of each of B sequences from some frame to the end."""

    def __init__(self, pair: SequencePair, args: Args, num_paths: int) -> None:
        self.x, self.length, *inputs = args
        self.pair, self.num_paths, self.choices = pair, num_paths, CHOICES
        self.num_frames = int(self.length.max())
        self.inputs = by_frame(pair.name_inputs(inputs), self.x.shape[1])
        self.z: list[Tensor] = []

    def prepend(self, z: Tensor) -> None:
        """Go back a frame, with latents ``(B, R, L)``."""
        self.z.insert(0, z)

    def score(self, start: int, h: Tensor) -> Tensor:
        """Return log p of the future from states ``(B, R * M, H)`` of M choices, ``(B, R, M)``.

        It is up to a number that all choices of a path share. Paths whose choice is settled go no
        further.
        """
        h = h.reshape(-1, self.choices, h.shape[-1])
        total = torch.zeros(h.shape[:2], dtype=h.dtype, device=h.device)
        paths = torch.arange(len(h), device=h.device)
        for t in range(start, min(self.num_frames, start + MOST_AHEAD)):
            goes_on = (t < self.length)[paths // self.num_paths]
            paths, h = paths[goes_on], h[goes_on]
            if not len(paths):
                break
            if t > start:
                self.choices = CHOICES_OF_LONG_MEMORY
            log_p, h = self._step(t, t - start, paths, h)
            total[paths] += log_p
            open_ = ~_have_met(h) & ~_are_unlikely(total[paths])
            paths, h = paths[open_], h[open_]
        ended = (self.length <= start + MOST_AHEAD)[paths // self.num_paths]
        total[paths[~ended], 1:] = UNLIKELY
        return torch.where(total.isfinite(), total, UNLIKELY).unflatten(0, (-1, self.num_paths))

    def _step(self, t: int, place: int, paths: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p of a frame of some paths ``(N, M)``, and the states behind it."""
        size, rows = h.shape[:2], (paths // self.num_paths).repeat_interleave(h.shape[1])
        inputs = {name: value[rows, t] for name, value in self.inputs.items()}
        rollout = Rollout(self.pair, h.flatten(0, 1), inputs)
        prior, x = rollout.latent("prior"), self.x[rows, t]
        z = self.z[place].flatten(0, 1)[paths].repeat_interleave(size[1], 0)
        z = z.reshape(len(z), *prior.event_shape)
        log_p = prior.log_prob(z) + rollout.log_likelihood(z, x)
        rollout.advance(z, self.pair.embed(x))
        return log_p.reshape(size), rollout.h.reshape(*size, -1)


def _have_met(h: Tensor) -> Tensor:
    """Return which paths ``(N, M, H)`` are in the same state whatever is chosen, ``(N,)``."""
    first = h[:, :1]
    return ((h - first).abs() <= SAME_STATE * (1 + first.abs())).flatten(1).all(1)


def _are_unlikely(log_p: Tensor) -> Tensor:
    """Return for which paths all choices but the first are out of the question, ``(N,)``."""
    return log_p[:, 1:].amax(1) < log_p[:, 0] - SETTLED


def _by_weight(log_weights: Tensor, number: int) -> Tensor:
    """Return places ``(B, number)`` of independent draws by their weights ``(B, K)``."""
    return torch.distributions.Categorical(logits=log_weights).sample(torch.Size([number])).T


def _taken(values: Tensor, places: Tensor) -> Tensor:
    """Return values ``(B, K, L)`` of places ``(B, R)``."""
    return values.gather(1, places.unsqueeze(-1).expand(-1, -1, values.shape[-1]))
