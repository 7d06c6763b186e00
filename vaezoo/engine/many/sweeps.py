"""A loop over time for several seeds at once, each with as many steps as it has."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, fx

from vaezoo.engine.many.memory import Memory
from vaezoo.engine.many.stacked import for_seeds
from vaezoo.engine.recurrence.sweep import Sweep
from vaezoo.engine.reduction import placeholders
from vaezoo.engine.replay.flat import flat_function

__all__ = ["Arguments", "SweepOfSeeds"]

Run = Callable[..., tuple[Tensor, ...]]


@dataclass(frozen=True)
class Arguments:
    """What a sweep of one seed takes: the carry, rows ``(T, ...)`` of its steps, and constants."""

    carry: Tensor
    rows: Sequence[Tensor]
    constants: Sequence[Tensor]

    @property
    def num_steps(self) -> int:
        """How many steps there are, T."""
        return len(self.rows[0])


@dataclass(frozen=True)
class _Phase:
    """Steps from ``start`` to ``stop``, which the first ``number`` of the seeds have."""

    start: int
    stop: int
    number: int


class SweepOfSeeds:
    """Does for several seeds what a sweep does for one.

    The seeds stand by their number of steps, the longest first, so that those that have a step are
    the first ones: there the others have ended, or, backwards, not begun.

    Parameters
    ----------
    sweep
        That of one seed.
    memory
        Of the evaluation.
    """

    def __init__(self, sweep: Sweep, memory: Memory) -> None:
        self.memory = memory
        self.backwards = sweep.backwards
        nodes = placeholders(sweep.graph.graph)[1:]
        num_rows = len(nodes) - sweep.num_constants
        self._rows = [i for i, node in enumerate(nodes[:num_rows]) if node.users]
        self._constants = [i for i, node in enumerate(nodes[num_rows:]) if node.users]
        self._graph = _without_unread(sweep.graph)
        self._runs: dict[int, Run] = {}  # by the number of seeds

    @property
    def num_graphs(self) -> int:
        """For how many numbers of seeds there is a graph."""
        return len(self._runs)

    @torch.inference_mode()
    def __call__(self, seeds: Sequence[Arguments]) -> list[tuple[Tensor, list[Tensor]]]:
        """Return the last carry of each seed, and the values of all of its steps."""
        places = sorted(range(len(seeds)), key=lambda place: -seeds[place].num_steps)
        outcomes = self._run([seeds[place] for place in places])
        by_place = dict(zip(places, outcomes, strict=True))
        return [by_place[place] for place in range(len(seeds))]

    def _run(self, seeds: Sequence[Arguments]) -> list[tuple[Tensor, list[Tensor]]]:
        rows = [self.memory.rows([seed.rows[i] for seed in seeds]) for i in self._rows]
        constants = [torch.stack([seed.constants[i] for seed in seeds]) for i in self._constants]
        carry = torch.stack([seed.carry for seed in seeds])
        values: list[Tensor] = []
        for phase in _phases([seed.num_steps for seed in seeds], backwards=self.backwards):
            here = slice(phase.start, phase.stop), slice(phase.number)
            of_phase = [row[here] for row in rows]
            own = [value[: phase.number] for value in constants]
            last, by_step = self._steps(phase, carry[: phase.number], of_phase, own)
            carry = torch.cat([last, carry[phase.number :]])
            values = values or [self._for_all(seeds, value) for value in by_step[0]]
            for of_all, of_steps in zip(values, zip(*by_step, strict=True), strict=True):
                torch.stack(of_steps, dim=1, out=of_all[here[::-1]])
        return self._of_each(seeds, carry, values)

    def _for_all(self, seeds: Sequence[Arguments], value: Tensor) -> Tensor:
        """Return memory for the values of all steps of all seeds, ``(S, T, ...)``."""
        return self.memory.take((len(seeds), seeds[0].num_steps, *value.shape[1:]), value)

    def _of_each(
        self, seeds: Sequence[Arguments], carry: Tensor, values: Sequence[Tensor]
    ) -> list[tuple[Tensor, list[Tensor]]]:
        num_steps = [seed.num_steps for seed in seeds]
        parts = [[value[place, :num] for place, num in enumerate(num_steps)] for value in values]
        for value, part in zip(values, parts, strict=True):
            self.memory.note(part, value.transpose(0, 1))  # which the way back reads
        by_seed = zip(*parts, strict=True)
        return [(own.clone(), list(part)) for own, part in zip(carry, by_seed, strict=True)]

    def _steps(
        self, phase: _Phase, carry: Tensor, rows: Sequence[Tensor], constants: Sequence[Tensor]
    ) -> tuple[Tensor, list[Sequence[Tensor]]]:
        """Run the steps of a phase; return the carry behind them, and the values of each."""
        run = self._for_seeds(carry, [row[0] for row in rows], constants)
        by_row = [row.unbind(0)[::-1] if self.backwards else row.unbind(0) for row in rows]
        by_step: list[Sequence[Tensor]] = []
        for row in zip(*by_row, strict=True) if rows else [()] * (phase.stop - phase.start):
            carry, *values = run(carry, *row, *constants)
            by_step.append(values)
        return carry, by_step[::-1] if self.backwards else by_step

    def _for_seeds(self, carry: Tensor, row: Sequence[Tensor], constants: Sequence[Tensor]) -> Run:
        number = len(carry)
        if number not in self._runs:
            # A carry often begins as zeros, of which all products round alike.
            noise = torch.randn(carry.shape, generator=torch.Generator().manual_seed(0))
            state = carry + noise.to(carry.device, carry.dtype)
            examples = [value.clone() for value in (state, *row, *constants)]
            self._runs[number] = flat_function(for_seeds(self._graph, number, examples))
        return self._runs[number]


def _phases(num_steps: Sequence[int], *, backwards: bool) -> list[_Phase]:
    """Return the phases of seeds that have so many steps, the most first, as they are run.

    Examples
    --------
    >>> [(p.start, p.stop, p.number) for p in _phases([5, 2, 2], backwards=False)]
    [(0, 2, 3), (2, 5, 1)]
    """
    stops = sorted(set(num_steps))
    phases = [
        _Phase(start, stop, sum(n >= stop for n in num_steps))
        for start, stop in zip([0, *stops], stops, strict=False)
    ]
    return phases[::-1] if backwards else phases


def _without_unread(graph: fx.GraphModule) -> fx.GraphModule:
    """Return a graph without the inputs that it does not read; the carry stays."""
    own = fx.Graph()
    own.output(own.graph_copy(graph.graph, {}))
    for node in placeholders(own)[1:]:
        if not node.users:
            own.erase_node(node)
    return fx.GraphModule(graph, own)
