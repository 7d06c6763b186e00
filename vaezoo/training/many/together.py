"""Trainings that go on side by side, one step each, as if each were alone.

Each has random numbers of its own, which are torch's global ones while it does something, so that
it becomes bit by bit the run that it would have been by itself.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack

from vaezoo.engine.recurrence.planned import Planned
from vaezoo.runs import Run
from vaezoo.runtime.device import seeded
from vaezoo.runtime.isolation import isolated
from vaezoo.runtime.signals import asked_to_stop
from vaezoo.runtime.threads import threads_for
from vaezoo.training.callbacks import Interrupted
from vaezoo.training.many.rounds import Member, Rounds
from vaezoo.training.trainer import Trainer

__all__ = ["train_together"]


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
    first = trainers[0]
    for trainer in trainers:
        _share(trainer, first)
    flops = [trainer.look_at_pair() for trainer in trainers]
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
            Rounds(members).take_all()
    if failures := [member.failure for member in members if member.failure]:
        raise next((f for f in failures if isinstance(f, Interrupted)), failures[0])
    if stop_requested():
        raise Interrupted(first.run, first.state.step)
    return [trainer.run for trainer in trainers]


def _share(trainer: Trainer, first: Trainer) -> None:
    """Let one keep in memory, and make, what is the same for all."""
    trainer.batches.share(first.batches)
    trainer.validation.share(first.validation)
    trainer.engine.graphs = first.engine.graphs
    plans, of_first = (getattr(one.form, "recurrence", None) for one in (trainer, first))
    if isinstance(plans, Planned) and isinstance(of_first, Planned) and plans is not of_first:
        plans.share(of_first)
    if trainer.training.engine == "auto":
        trainer.engine.may_compile = False  # by the clock, and each by itself
