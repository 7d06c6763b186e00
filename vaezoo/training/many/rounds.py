"""Rounds of steps of several trainings: a step of each, evaluated together where that pays."""

import time
from collections.abc import Iterator, Sequence

from torch import Tensor, fx

from vaezoo.engine.batch_kind import BatchKind
from vaezoo.engine.capture import Captured
from vaezoo.engine.many.batched import Batched, NotBatchedError, alone
from vaezoo.engine.many.noise import draw_all
from vaezoo.errors import RunError
from vaezoo.runtime.device import rng_state, set_rng_state
from vaezoo.sequences.windows import Update
from vaezoo.training.callbacks import Interrupted
from vaezoo.training.trainer import Trainer

__all__ = ["Member", "Rounds", "is_faster"]

FEWEST_ROUNDS = 100


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
        self.kind: BatchKind | None = None
        self._inputs: tuple[Tensor, ...] = ()
        self._outcome: tuple[Tensor, ...] = ()
        self._error: Exception | None = None
        trainer.take_step = self._take

    def prepare(self) -> None:
        """Find out how the pending step is evaluated, and on what."""
        trainer = self.trainer
        assert self.pending is not None
        try:
            raw = trainer.updates.gather(self.pending)
            self.kind, self._inputs = trainer.engine.ready(raw, trainer.kl_weight)
        except Exception as error:  # raised where the step is taken
            self.kind, self._error = None, error

    @property
    def captured(self) -> Captured | None:
        """The graph of the pending step, if it is evaluated by one as it is."""
        kind = self.kind
        is_plain = kind is not None and kind.tier == "graph" and not kind.recorded
        return kind.captured if kind is not None and is_plain and not kind.written else None

    @property
    def num_left(self) -> int:
        """How many steps are left at most."""
        return self.trainer.total - self.trainer.state.step

    def drawn(self) -> list[Tensor]:
        """Return the inputs of the graph behind what the pair owns, with noise drawn anew."""
        assert self.captured is not None
        set_rng_state(self.rng, self.trainer.device)
        noise = draw_all(self.captured.noise)
        self.rng = rng_state(self.trainer.device)
        return [*self._inputs, *noise]

    def settle(self, outcome: tuple[Tensor, ...], seconds: float) -> None:
        """Take note of what the pending step has come to, in so many seconds."""
        self._outcome = outcome
        self.trainer.state.seconds += seconds

    def _take(self, update: Update) -> Tensor:
        outcome, self._outcome = self._outcome, ()
        if self._error is not None:
            raise self._error
        assert self.kind is not None
        return self.trainer.engine.take(self.kind, self._inputs, outcome)

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


class Rounds:
    """Takes the steps of all members to their ends.

    Parameters
    ----------
    members
        At their starts.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = members
        # By the graph and the number of seeds; None where each is evaluated alone.
        self._batched: dict[tuple[fx.GraphModule, int], Batched | None] = {}

    def take_all(self) -> None:
        """Go on until each member has ended."""
        for member in self.members:
            member.go_on()
        while going := [member for member in self.members if member.pending is not None]:
            for member in going:
                member.prepare()
            for group in _groups(going):
                self._evaluate(group)
            for member in going:
                member.go_on()

    def _evaluate(self, group: Sequence[Member]) -> None:
        """Evaluate the steps of seeds of one graph together, if that is faster."""
        seeds = [member.captured for member in group if member.captured is not None]
        key = (seeds[0].graph, len(group))
        if key in self._batched and self._batched[key] is None:
            return
        if key not in self._batched and min(m.num_left for m in group) < FEWEST_ROUNDS:
            return
        began = time.perf_counter()
        inputs = [member.drawn() for member in group]
        if key not in self._batched:
            self._batched[key] = self._made(seeds, inputs)
        batched = self._batched[key]
        outcomes = batched(seeds, inputs) if batched else alone(seeds, inputs)
        seconds = (time.perf_counter() - began) / len(group)
        for member, outcome in zip(group, outcomes, strict=True):
            member.settle(outcome, seconds)

    def _made(
        self, seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]
    ) -> Batched | None:
        try:
            batched = Batched(seeds, inputs)
        except NotBatchedError:
            return None
        return batched if is_faster(batched) else None


def is_faster(batched: Batched) -> bool:
    """Whether steps together take less time, by the clock: bits are the same in any case."""
    return batched.saved > 0


def _groups(members: Sequence[Member]) -> Iterator[list[Member]]:
    """Yield those that are evaluated by one graph, where there are several."""
    by_graph: dict[fx.GraphModule, list[Member]] = {}
    for member in members:
        if member.captured is not None:
            by_graph.setdefault(member.captured.graph, []).append(member)
    for group in by_graph.values():
        if len(group) > 1:
            yield group
