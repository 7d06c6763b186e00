"""One step that several processes take together: each evaluates its rows, all update alike.

A batch is cut into as many parts as there are processes. Losses and gradients, each in nats per
datum, are averaged with the numbers of data (frames for sequences) as weights, so that they are
those of the whole batch; clipping and the question whether all is finite come after that. Then the
same update is taken everywhere, and all weights stay equal, bit by bit.
"""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from vaezoo.data.batches import Batches
from vaezoo.distributed.processes import Processes
from vaezoo.engine.gradients import clipping
from vaezoo.engine.groups import Optimizers
from vaezoo.errors import NonFiniteError
from vaezoo.objectives.base import Context, Objective, ignores_padding
from vaezoo.objectives.losses import PAIR, named_losses
from vaezoo.pairs.accounting import num_units
from vaezoo.pairs.sites import Args
from vaezoo.runtime.isolation import untouched
from vaezoo.sequences.windows import Update
from vaezoo.settings import Training

__all__ = ["SharedStep", "rows_depend"]

FEWEST_ROWS = 2
STEPS_UNTIL_READ = 50  # on a GPU, whether somebody asked to stop: to read it is to wait


class SharedStep:
    """The part of this process in the steps of all.

    Parameters
    ----------
    processes
        Those that train together.
    batches
        The data of all of them.
    whole
        The pair, with what its objective owns: its buffers are averaged, too.
    optimizer
        Of what is optimised.
    training
        Has the seed, and the largest norm of the gradient.

    Attributes
    ----------
    asked_to_stop
        Says whether this process was.
    stops
        Whether any of the processes was, by the last step.

    Examples
    --------
    A step of one process alone has all rows of a batch:

    >>> from vaezoo.distributed.processes import ALONE
    >>> from vaezoo.engine.optimizers import Optimizer
    >>> pair, data = torch.nn.Linear(4, 1), vaezoo.data.from_arrays(np.zeros((20, 4)))
    >>> batches = Batches(data, vaezoo.data.Transform(), ("x",), torch.device("cpu"))
    >>> optimizer = Optimizers({"pair": Optimizer("adam", [*pair.parameters()], lr=0.1)})
    >>> step = SharedStep(ALONE, batches, pair, optimizer, vaezoo.Training())
    >>> step.part(Update(torch.arange(3))).rows
    tensor([0, 1, 2])
    """

    def __init__(
        self,
        processes: Processes,
        batches: Batches,
        whole: nn.Module,
        optimizer: Optimizers,
        training: Training,
    ) -> None:
        self.processes = processes
        self.batches = batches
        self.whole = whole
        self.optimizer = optimizer
        buffers = list(whole.buffers()) if processes.are_many else []
        self.buffers = [b for b in buffers if b.dtype is not torch.bool and b.numel()]
        self.before = [buffer.clone() for buffer in self.buffers]
        self.sizes = [len(parameters) for parameters in optimizer.parameters.values()]
        self.max_norm = training.clip_norm or float("inf")
        self.seed = training.seed
        self.asked_to_stop: Callable[[], bool] = lambda: False
        self.stops = False
        self.num_steps = 0
        self._share = 1.0
        self._rows: tuple[Tensor, Tensor] | None = None
        self._flags = torch.zeros(1 + processes.number)

    def begin(self) -> None:
        """Let all begin with what the first process has: weights, buffers, and the optimiser."""
        if not self.processes.are_many:
            return
        state = [*self.whole.state_dict().values(), *self.optimizer.state_dict().values()]
        self.processes.share(state)
        for before, buffer in zip(self.before, self.buffers, strict=True):
            before.copy_(buffer)

    def agreeing(self, asked_to_stop: Callable[[], bool]) -> Callable[[], bool]:
        """Return what says whether a process was asked to stop: after the same step in all."""
        if not self.processes.are_many:
            return asked_to_stop
        self.asked_to_stop = asked_to_stop
        return lambda: self.stops

    def agreed(self, error: NonFiniteError) -> NonFiniteError:
        """Return what the first process says whose own loss or gradients were not finite.

        Where only their mean was not, that is the first of all.
        """
        failed = (self._flags[1:] > 0).tolist()
        rank = failed.index(True) if True in failed else 0
        words = self.processes.of(rank, lambda: str(error))
        return error if self.processes.rank == rank else NonFiniteError(words)

    def largest_part(self, batch_size: int) -> int:
        """Return the most rows that one process gets of a batch of up to so many."""
        if not self.processes.are_many:
            return batch_size
        return max(-(-num // self._num_parts(num)) for num in range(1, batch_size + 1))

    def has_unlike_parts(self, num_rows: int, batch_size: int) -> bool:
        """Whether the parts of the batches of so many rows have unlike numbers of rows."""
        return num_rows % batch_size > 0 or batch_size % self._num_parts(batch_size) > 0

    def _num_parts(self, num_rows: int) -> int:
        """Return into how many parts rows are cut: two stay together, for batch normalisation."""
        return min(self.processes.number, max(1, num_rows // FEWEST_ROWS))

    def part(self, update: Update) -> Update:
        """Return the rows of an update that are those of this process.

        One that would have none, at the end of an epoch, gets rows that do not count.

        Parameters
        ----------
        update
            Of the whole batch, the same in all processes.
        """
        if not self.processes.are_many:
            return update
        if self._rows is None or self._rows[0] is not update.rows:
            self._rows = (update.rows, self._own(update.rows))  # the same for all windows
        rows, own = self._rows
        self._share = self._num_units(update, own) / self._num_units(update, rows)
        return replace(update, rows=own if len(own) else rows[:FEWEST_ROWS])

    def _own(self, rows: Tensor) -> Tensor:
        parts = rows.tensor_split(self._num_parts(len(rows)))
        return parts[self.processes.rank] if self.processes.rank < len(parts) else rows[:0]

    def _num_units(self, update: Update, rows: Tensor) -> int:
        data = self.batches.data
        if data.length is None:
            return len(rows)
        lengths = data.length[data.rows("train")[rows.cpu().numpy()]]
        if update.frames:
            lengths = (lengths - update.start).clip(0, update.frames)
        return int(lengths.sum())

    def remarks(self, form: nn.Module, objective: Objective) -> Iterator[tuple[str, str]]:
        """Yield a line, and a short name, where rows of a batch depend on each other."""
        if not self.processes.are_many:
            return
        few = self.batches.few_frames(self.batches.first("train", 2 * FEWEST_ROWS))
        with untouched(form, self.batches.device):
            depend = rows_depend(objective, form, self.batches.finish(few))
        if depend:
            yield (
                "parts",
                "rows of a batch depend on each other, in the pair or the objective: each process "
                f"sees those of its part, 1 / {self.processes.number} of `batch_size`",
            )

    def set_noise(self, step: int) -> None:
        """Seed the generators for a step: other noise in each process, the same when resumed."""
        if self.processes.are_many:
            name = f"{self.seed}/{step}/{self.processes.rank}".encode()
            digest = hashlib.blake2b(name, digest_size=8).digest()
            torch.manual_seed(int.from_bytes(digest) >> 1)

    @torch.inference_mode()
    def __call__(self, outcome: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """Return loss, divisor, finiteness and gradients of the whole batch from those of a part.

        Parameters
        ----------
        outcome
            What :func:`vaezoo.engine.gradients.loss_and_gradients` gives.

        Raises
        ------
        LostProcessError
            When another process has ended; weights and buffers are those before the step.
        """
        loss, _, finite, *gradients = outcome
        values = [loss, *gradients, *self._changes()]
        flags = self._own_flags(finite)
        dtype = torch.promote_types(loss.dtype, torch.float32)
        dtype = max([dtype, *(g.dtype for g in gradients)], key=lambda kind: kind.itemsize)
        scaled = [value.reshape(-1).to(dtype) for value in values]
        flat = (
            torch.cat(scaled).mul_(self._share)
            if self._share
            else scaled[0].new_zeros(sum(len(part) for part in scaled))
        )
        try:
            mean = self.processes.add(torch.cat([flat, flags.to(dtype)]))
        except BaseException:
            self._set_buffers(self.before)
            raise
        return self._of_all(mean, loss, gradients)

    def _of_all(self, mean: Tensor, loss: Tensor, gradients: list[Tensor]) -> tuple[Tensor, ...]:
        sizes = [loss.numel(), *(g.numel() for g in gradients), *(b.numel() for b in self.buffers)]
        of_loss, *parts, flags = mean.split([*sizes, len(self._flags)])
        for gradient, part in zip(gradients, parts, strict=False):
            gradient.copy_(part.view(gradient.shape))
        loss = of_loss.to(loss.dtype).view(loss.shape)
        divisor, finite = clipping(loss, gradients, self.sizes, self.max_norm)
        self._change_buffers(parts[len(gradients) :], finite)
        self._read(flags)
        return loss, divisor, finite, *gradients

    def _own_flags(self, finite: Tensor) -> Tensor:
        flags = torch.zeros_like(self._flags, device=finite.device)
        flags[0] = float(self.asked_to_stop())
        flags[1 + self.processes.rank] = (~finite).float()
        return flags

    def _read(self, flags: Tensor) -> None:
        self.num_steps += 1
        self._flags = flags
        if flags.device.type == "cpu" or self.num_steps % STEPS_UNTIL_READ == 0:
            self.stops = bool(flags[0] > 0)

    def _changes(self) -> list[Tensor]:
        """Return by how much the step has changed each buffer; 0 also where it is infinite."""
        both = zip(self.buffers, self.before, strict=True)
        return [torch.where(new == old, torch.zeros_like(new), new - old) for new, old in both]

    def _change_buffers(self, changes: Sequence[Tensor], finite: Tensor) -> None:
        """Change buffers by what all processes have changed them on average; nothing on failure."""
        values = []
        for old, change in zip(self.before, changes, strict=True):
            change = change.view(old.shape)
            change = change if old.is_floating_point() else change.round()
            values.append(torch.where((change != 0) & finite, old + change.to(old.dtype), old))
        self._set_buffers(values)
        for before, value in zip(self.before, values, strict=True):
            before.copy_(value)

    def _set_buffers(self, values: Sequence[Tensor]) -> None:
        for buffer, value in zip(self.buffers, values, strict=True):
            buffer.copy_(value)


@torch.no_grad()
def rows_depend(objective: Objective, pair: nn.Module, args: Args) -> bool:
    """Return whether the loss of a batch is not the mean of those of its parts, from trying it.

    It is not in batch normalisation, nor where the rows of a batch estimate a density that all of
    them share (Chen et al. 2018, arXiv:1802.04942), nor for free bits of their mean.

    Examples
    --------
    >>> from vaezoo.objectives import ELBO
    >>> from vaezoo.testing.pairs import LinearPair
    >>> rows_depend(ELBO(), LinearPair(), (torch.zeros(4, 4),))
    False
    """
    if not ignores_padding(objective, pair, args):
        return True
    first = torch.arange(len(args[0]), device=args[0].device) < len(args[0]) // 2
    units = [float(num_units(pair, args, mask)) for mask in (first, ~first)]
    whole, *parts = (_loss_of(objective, pair, args, mask) for mask in (None, first, ~first))
    mean = sum(loss * number for loss, number in zip(parts, units, strict=True)) / sum(units)
    return not torch.allclose(torch.as_tensor(mean), whole, rtol=1e-4, atol=1e-6)


def _loss_of(objective: Objective, pair: nn.Module, args: Args, mask: Tensor | None) -> Tensor:
    """Return the loss of rows, under the same noise in every call."""
    torch.manual_seed(0)
    step = torch.zeros((), device=args[0].device)
    return named_losses(objective.loss(pair, args, Context(1.0, mask, step)))[PAIR]
