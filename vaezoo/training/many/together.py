"""Trainings that go on side by side, one step each, as if each were alone.

Each has random numbers of its own, which are torch's global ones while it does something, so that
it becomes bit by bit the run that it would have been by itself.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack

from torch import Tensor

from vaezoo.errors import RunError
from vaezoo.runs import Run
from vaezoo.runtime.device import rng_state, seeded, set_rng_state
from vaezoo.runtime.isolation import isolated
from vaezoo.runtime.signals import asked_to_stop
from vaezoo.runtime.threads import threads_for
from vaezoo.sequences.windows import Update
from vaezoo.training.callbacks import Interrupted
from vaezoo.training.trainer import Trainer

__all__ = ["Member", "train_together"]


class Member:
    """One of several trainings.

    Parameters
    ----------
    trainer
        At its start.

    Attributes
    ----------
    pending
        The step that it takes next; None when it has ended.
    failure
        Why it has failed, or that it was stopped.
    """

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        trainer.set_generators()
        self.rng: dict[str, Tensor] = rng_state(trainer.device)
        self.steps: Iterator[Update] = trainer.steps()
        self.pending: Update | None = None
        self.failure: RunError | Interrupted | None = None

    def go_on(self) -> None:
        """Take the step that is pending, do what follows it, and stop before the next one."""
        set_rng_state(self.rng, self.trainer.device)
        try:
            self.pending = next(self.steps, None)
        except (RunError, Interrupted) as failure:
            self.pending, self.failure = None, failure
        self.rng = rng_state(self.trainer.device)
        if self.pending is None:
            self.trainer.tell_end()


def train_together(
    trainers: Sequence[Trainer], folders: Sequence[AbstractContextManager[None]]
) -> list[Run]:
    """Train all to their ends, and return their runs with their best weights.

    One that fails ends alone; the others go on.

    Parameters
    ----------
    trainers
        One for each seed, all of one pair, data and schedule.
    folders
        What makes the folder of each, and owns it.

    Raises
    ------
    NonFiniteError, RunError
        When one has failed; the others have finished.
    Interrupted
        On Ctrl-C; the state of each is saved.
    """
    flops = [trainer.look_at_pair() for trainer in trainers]
    first = trainers[0]
    with ExitStack() as stack:
        for folder in folders:
            stack.enter_context(folder)
        for trainer in trainers:
            trainer.begin()
        with (
            seeded(first.training.seed, first.device),
            isolated(),
            asked_to_stop() as stop_requested,
            threads_for(flops[0]),
        ):
            for trainer in trainers:
                trainer.stop_requested = stop_requested
            members = [Member(trainer) for trainer in trainers]
            _take_all(members)
    if failures := [member.failure for member in members if member.failure]:
        raise next((f for f in failures if isinstance(f, Interrupted)), failures[0])
    if stop_requested():
        raise Interrupted(first.run, first.state.step)
    return [trainer.run for trainer in trainers]


def _take_all(members: Sequence[Member]) -> None:
    for member in members:
        member.go_on()
    while going := [member for member in members if member.pending is not None]:
        for member in going:
            member.go_on()
