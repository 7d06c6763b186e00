"""Captured steps of several seeds that have loops over time: the loops at once, the rest alone.

A loop costs by its operations, which are small and many, so that ten seeds in one cost little more
than one. Sequences of a batch have a length of their own, and seeds seldom take steps on batches of
one length; loops need not be equally long to be run at once, graphs would have to be.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from vaezoo.checks.blame import one_line
from vaezoo.engine.capture import Captured
from vaezoo.engine.many.batched import (
    NotBatchedError,
    Outcome,
    alone,
    require_pure,
    require_same,
    saved_by,
)
from vaezoo.engine.many.memory import Memory
from vaezoo.engine.many.sweeps import Arguments, SweepOfSeeds
from vaezoo.engine.recurrence.loops import is_loop, is_loop_backward
from vaezoo.engine.recurrence.step_derivative import subgraph
from vaezoo.engine.recurrence.step_plan import plan_of
from vaezoo.engine.reduction import outputs_of, placeholders
from vaezoo.engine.replay.flat import flat_function

__all__ = ["Joined", "loops_of"]

_NUM_TRIALS = 2
_LOOPS = "loops"  # of a graph, once they are known


def loops_of(graph: fx.GraphModule) -> tuple[tuple[int, bool], ...]:
    """Return the loops over time of a captured graph: number of the plan, and whether backwards."""
    if _LOOPS not in graph.meta:  # asked for at every step
        nodes = [node for node in graph.graph.nodes if is_loop(node)]
        graph.meta[_LOOPS] = tuple((node.args[0], is_loop_backward(node)) for node in nodes)
    loops: tuple[tuple[int, bool], ...] = graph.meta[_LOOPS]
    return loops


@dataclass(frozen=True)
class _Loop:
    """A loop that a graph has come to: its node, and the values of its arguments."""

    node: fx.Node
    args: tuple[Any, ...]


class Joined:
    """Evaluates captured steps that have the same loops over time, of any length each.

    Parameters
    ----------
    seeds
        The captured step of each.
    inputs
        Of each, arguments and noise, to try it on.

    Attributes
    ----------
    saved
        By how much an evaluation is shorter than those of all seeds alone, in seconds.

    Raises
    ------
    NotBatchedError
        When it cannot be done, or differs in a bit.
    """

    def __init__(self, seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]) -> None:
        self._cut: dict[fx.GraphModule, _CutGraph] = {}
        self._sweeps: dict[tuple[int, bool], SweepOfSeeds] = {}
        self._memory = Memory()
        self(seeds, inputs)
        self.saved = saved_by(self, seeds, inputs, num_trials=_NUM_TRIALS)

    def __call__(
        self, seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]
    ) -> list[Outcome]:
        """Return what each seed gives; ``inputs`` are arguments and noise of each.

        Where a number of seeds is new, whether bits agree is tried.

        Raises
        ------
        NotBatchedError
            When they do not.
        """
        num_before = self._num_graphs
        try:
            outcomes = self._run(seeds, inputs)
        except Exception as error:  # whatever vmap does not take
            raise NotBatchedError(one_line(error)) from error
        if self._num_graphs > num_before:
            require_same(outcomes, alone(seeds, inputs))
        return outcomes

    @property
    def _num_graphs(self) -> int:
        return sum(sweep.num_graphs for sweep in self._sweeps.values())

    @torch.inference_mode()
    def _run(self, seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]) -> list[Outcome]:
        self._memory.begin()
        runs = [
            self._cut_graph(seed.graph).run([*seed.owned, *own])
            for seed, own in zip(seeds, inputs, strict=True)
        ]
        loops = [next(run) for run in runs]
        for _ in loops_of(seeds[0].graph)[1:]:
            values = self._all(loops)
            loops = [run.send(value) for run, value in zip(runs, values, strict=True)]
        ends = [_ended(run, value) for run, value in zip(runs, self._all(loops), strict=True)]
        return [self._memory.apart(end) for end in ends]

    def _cut_graph(self, graph: fx.GraphModule) -> "_CutGraph":
        if graph not in self._cut:
            require_pure(graph)
            self._cut[graph] = _CutGraph(graph)
        return self._cut[graph]

    def _all(self, loops: Sequence[_Loop]) -> list[list[Tensor]]:
        """Run the loops that all seeds have come to."""
        node = loops[0].node
        plan, backwards = plan_of(node.args[0]), is_loop_backward(node)  # type: ignore[arg-type]
        key = (plan.number, backwards)
        if key not in self._sweeps:
            self._sweeps[key] = SweepOfSeeds(
                plan.backward if backwards else plan.forward, self._memory
            )
        sweep = self._sweeps[key]
        if not backwards:
            outcomes = sweep([Arguments(*loop.args[1:]) for loop in loops])
            return [[last, *values] for last, values in outcomes]
        results = []
        rows = [plan.rows_backward(*loop.args[2:5]) for loop in loops]
        arguments = [
            Arguments(loop.args[1], own, loop.args[5])
            for loop, own in zip(loops, rows, strict=True)
        ]
        for loop, (dh, gradients) in zip(loops, sweep(arguments), strict=True):
            results.append([dh, *plan.of_all_steps(gradients, loop.args[3])])
        return results


class _CutGraph:
    """A captured graph cut at its loops."""

    def __init__(self, graph: fx.GraphModule) -> None:
        self.inputs, self.outputs = placeholders(graph.graph), outputs_of(graph.graph)
        nodes = list(graph.graph.nodes)
        self.constants = {n: getattr(graph, str(n.target)) for n in nodes if n.op == "get_attr"}
        self.loops = [node for node in nodes if is_loop(node)]
        stops = [*[nodes.index(loop) for loop in self.loops], len(nodes)]
        self.parts = [
            _Part(graph.graph, nodes[start:stop])
            for start, stop in zip([0, *stops], stops, strict=False)
        ]

    def run(self, inputs: Sequence[Tensor]) -> Generator[_Loop, list[Tensor], Outcome]:
        """Yield each loop, be sent what it gives, and return the outputs."""
        values: dict[fx.Node, Any] = self.constants | dict(zip(self.inputs, inputs, strict=True))
        for part, loop in zip(self.parts, self.loops, strict=False):
            part.run(values)
            values[loop] = yield _Loop(loop, fx.node.map_arg(loop.args, values.__getitem__))
        self.parts[-1].run(values)
        return tuple(values[node] for node in self.outputs)


class _Part:
    """The operations of a graph between two loops."""

    def __init__(self, graph: fx.Graph, nodes: Sequence[fx.Node]) -> None:
        calls = {node for node in nodes if node.op == "call_function" and not is_loop(node)}
        others = [node for node in graph.nodes if node not in calls]
        self.inputs = [node for node in others if any(user in calls for user in node.users)]
        self.ends = [n for n in graph.nodes if n in calls and any(u not in calls for u in n.users)]
        self.flat = flat_function(subgraph(graph, self.inputs, calls, self.ends))

    def run(self, values: dict[fx.Node, Any]) -> None:
        """Run them on the values of nodes before, and add theirs."""
        ends = self.flat(*[values[node] for node in self.inputs])
        values.update(zip(self.ends, ends, strict=True))


def _ended(run: Generator[_Loop, list[Tensor], Outcome], value: list[Tensor]) -> Outcome:
    try:
        run.send(value)
    except StopIteration as end:
        outcome: Outcome = end.value
        return outcome
    raise AssertionError
