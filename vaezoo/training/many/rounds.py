"""Rounds of steps of several trainings: a step of each, evaluated together where that pays."""

import time
from collections.abc import Hashable, Iterator, Sequence

from torch import Tensor

from vaezoo.engine.batch_kind import BatchKind
from vaezoo.engine.capture import Captured
from vaezoo.engine.many.batched import Batched, NotBatchedError, alone
from vaezoo.engine.many.joined import Joined, loops_of
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
        # None where each is evaluated alone.
        self._ways: dict[Hashable, Batched | Joined | None] = {}

    def take_all(self) -> None:
        """Go on until each member has ended."""
        for member in self.members:
            member.go_on()
        while going := [member for member in self.members if member.pending is not None]:
            for member in going:
                member.prepare()
            for key, group in _groups(going):
                self._evaluate(key, group)
            for member in going:
                member.go_on()

    def _evaluate(self, key: Hashable, group: Sequence[Member]) -> None:
        """Evaluate the steps of several seeds together, if that is faster."""
        if key in self._ways and self._ways[key] is None:
            return
        if key not in self._ways and min(m.num_left for m in group) < FEWEST_ROUNDS:
            return
        began = time.perf_counter()
        seeds = [member.captured for member in group if member.captured is not None]
        inputs = [member.drawn() for member in group]
        outcomes = self._outcomes(key, seeds, inputs)
        seconds = (time.perf_counter() - began) / len(group)
        for member, outcome in zip(group, outcomes, strict=True):
            member.settle(outcome, seconds)

    def _outcomes(
        self, key: Hashable, seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]
    ) -> Sequence[tuple[Tensor, ...]]:
        try:
            if key not in self._ways:
                made = (Joined if loops_of(seeds[0].graph) else Batched)(seeds, inputs)
                self._ways[key] = made if is_faster(made) else None
            if way := self._ways[key]:
                return way(seeds, inputs)
        except NotBatchedError:
            self._ways[key] = None
        return alone(seeds, inputs)


def is_faster(way: Batched | Joined) -> bool:
    """Whether steps together take less time, by the clock: bits are the same in any case."""
    return way.saved > 0


def _groups(members: Sequence[Member]) -> Iterator[tuple[Hashable, list[Member]]]:
    """Yield those that can be evaluated together, and what they have in common.

    That is the loops over time, or, where there are none, the graph and how many there are.
    """
    groups: dict[Hashable, list[Member]] = {}
    for member in members:
        if member.captured is not None:
            graph = member.captured.graph
            groups.setdefault(loops_of(graph) or graph, []).append(member)
    for key, group in groups.items():
        if len(group) > 1:
            yield (key if isinstance(key, tuple) else (key, len(group))), group
