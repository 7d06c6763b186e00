"""Updates of an epoch, and windows of sequences: one update for each, with the state carried on.

Truncated backpropagation through time (Williams & Peng 1990, doi:10.1162/neco.1990.2.4.490): the
state goes on from window to window, gradients do not. What an update holds in memory is bounded by
the window, whatever the length of a sequence.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from vaezoo.data.batches import Batches
from vaezoo.errors import RequestError
from vaezoo.objectives.base import Objective
from vaezoo.pairs.lengths import frames_from
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args
from vaezoo.sequences.carry import Carry, Recorder
from vaezoo.sequences.paths import PathPair
from vaezoo.settings import Training

__all__ = ["Update", "Updates", "carry_of", "num_updates"]


@dataclass(frozen=True)
class Update:
    """The rows of one update, and which of their frames.

    Attributes
    ----------
    rows
        Positions in the training set.
    start, frames
        The first frame, and how many; all of them where ``frames`` is 0.
    """

    rows: Tensor
    start: int = 0
    frames: int = 0


class Updates:
    """Which rows, and frames of them, the updates of an epoch see.

    Parameters
    ----------
    batches
        The data.
    training
        How long, in which order of rows, and in windows of how many frames.
    num_rows
        Rows of an epoch.
    batch_size
        Rows of a batch.

    Attributes
    ----------
    can_be_cut
        Whether sequences of the pair can be gone through in windows.
    carry
        The states that windows hand on, once :meth:`carry_states` has been called; empty where
        there are none.
    """

    def __init__(
        self, batches: Batches, training: Training, num_rows: int, batch_size: int
    ) -> None:
        self.batches = batches
        self.training = training
        self.num_rows = num_rows
        self.batch_size = batch_size
        self.lengths: Tensor | None = None  # where some have more than one window
        self.carry: nn.Module = nn.Module()
        self.can_be_cut = False
        self._gathered: tuple[Tensor, tuple[Tensor, ...]] | None = None
        if training.truncate and batches.data.length is not None:
            lengths = torch.from_numpy(batches.data.length[batches.data.rows("train")])
            if int(lengths.max()) > training.truncate:
                self.lengths = lengths

    def of_epoch(self, epoch: int) -> list[Update]:
        """Return the updates of an epoch; a function of seed and epoch alone."""
        seed, most = self.training.seed, self.training.truncate
        order = self.batches.order("train", self.num_rows, self.batch_size, seed=seed, epoch=epoch)
        parts = order.split(self.batch_size)
        if self.batches.data.length is None:  # else their lengths are looked up, on the CPU
            parts = order.to(self.batches.device).split(self.batch_size)
        if self.lengths is None:
            return [Update(rows) for rows in parts]
        updates = []
        for rows in parts:
            longest = int(self.lengths[rows].max())
            # Windows of a long batch all have as many frames, so that they are of one kind.
            frames = most if longest > most else 0
            updates += [Update(rows, start, frames) for start in range(0, longest, most)]
        return updates

    def carry_states(self, form: nn.Module, objective: Objective, args: Args) -> None:
        """Let windows of the pair that is trained hand on their states, where there are windows.

        Raises
        ------
        RequestError
            When the pair is not written as one step.
        """
        self.can_be_cut = isinstance(form, PathPair)
        if self.training.truncate and not isinstance(form, PathPair):
            raise RequestError(
                f"`truncate` carries the state of a SequencePair from window to window, and "
                f"{type(form).__name__} is none; drop it, or write the pair as one step"
            )
        if self.lengths is not None:
            assert isinstance(form, PathPair)
            self.carry = carry_of(form, objective, args, self.batch_size)

    @property
    def most_frames(self) -> int:
        """The most frames that one update goes through; 0 of what is no sequence."""
        data = self.batches.data
        if data.length is None:
            return 0
        longest = int(data.length[data.rows("train")].max())
        return min(longest, self.training.truncate or longest)

    def total(self) -> int:
        """Return the number of updates of the whole training."""
        if self.training.steps:
            return self.training.steps
        epochs = self.training.epochs or 1
        if self.lengths is None:
            return epochs * -(-self.num_rows // self.batch_size)
        return sum(len(self.of_epoch(epoch)) for epoch in range(epochs))

    def gather(self, update: Update) -> tuple[Tensor, ...]:
        """Return the rows of an update as they are stored, and go to its window."""
        if isinstance(self.carry, Carry):
            self.carry.go_on(is_first=update.start == 0)
        if not update.frames:
            return self.batches.gather("train", update.rows)
        if self._gathered is None or self._gathered[0] is not update.rows:
            self._gathered = (update.rows, self.batches.gather("train", update.rows))
        args = dict(zip(self.batches.names, self._gathered[1], strict=True))
        return tuple(frames_from(args, update.start, update.frames).values())


def num_updates(
    num_rows: int, batch_size: int, lengths: Sequence[int] | None = None, truncate: int = 0
) -> int:
    """Return how many updates an epoch has, about: sequences of a batch have like lengths.

    Examples
    --------
    >>> num_updates(5, 2), num_updates(5, 2, [100, 90, 10, 9, 8], truncate=40)
    (3, 5)
    """
    if not truncate or lengths is None:
        return -(-num_rows // batch_size)
    longest = np.sort(lengths)[::-1][::batch_size]
    return int(np.sum(-(-longest // truncate)))


def carry_of(form: PathPair, objective: Objective, args: Args, batch_size: int) -> Carry:
    """Give a pair a place for the states that windows hand on, from trying it, and return it.

    Parameters
    ----------
    form
        The pair that is trained.
    objective
        Has been prepared; it may repeat rows.
    args
        A few rows.
    batch_size
        The most rows of a batch.

    Examples
    --------
    >>> from vaezoo.models.vrnn import VRNN
    >>> from vaezoo.objectives import ELBO
    >>> form = PathPair(VRNN(x_shape=(2,), hidden=8))
    >>> args = (torch.zeros(1, 3, 2), torch.tensor([3]))
    >>> carry_of(form, ELBO(), args, 5).behind_h.shape
    torch.Size([5, 8])
    """
    recorder = Recorder()
    with probing(form, args[0].device, evaluating=False):
        form.train()
        form.carry = recorder
        objective.loss(form, args)
    states = recorder.states
    repeats = len(states["h"]) // len(args[0])
    form.carry = Carry({n: state[:1] for n, state in states.items()}, repeats * batch_size)
    return form.carry
