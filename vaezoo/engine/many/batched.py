"""One captured step for several seeds at once: the same bits, from fewer and larger operations.

Whether all bits agree is tried, and so is whether it is faster: on small nets it is, on large ones
products take the time in any case.
"""

import time
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx

from vaezoo.checks.blame import one_line
from vaezoo.engine.capture import Captured
from vaezoo.engine.many.stacked import for_seeds, same_bits
from vaezoo.engine.reduction import changes, is_random
from vaezoo.engine.replay.flat import flat_function

__all__ = [
    "Batched",
    "NotBatchedError",
    "Outcome",
    "alone",
    "require_pure",
    "require_same",
    "saved_by",
]

_NUM_TRIALS = 3

Outcome = tuple[Tensor, ...]


class NotBatchedError(Exception):
    """A graph is not evaluated for several seeds at once. The message is a line."""


class Batched:
    """Evaluates a captured step for several seeds at once.

    Parameters
    ----------
    seeds
        The captured step of each, all of one graph.
    inputs
        Of each, arguments and noise, to try it on.

    Attributes
    ----------
    seconds
        How long making it took.
    saved
        By how much an evaluation is shorter than those of all seeds alone, in seconds.

    Raises
    ------
    NotBatchedError
        When it cannot be done, or differs in a bit.
    """

    def __init__(self, seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]) -> None:
        began = time.perf_counter()
        graph = seeds[0].graph
        require_pure(graph)
        stacked = _stacked(seeds, inputs)
        try:
            self.flat = flat_function(for_seeds(graph, len(seeds), stacked))
        except Exception as error:  # whatever vmap does not take
            raise NotBatchedError(one_line(error)) from error
        require_same(self(seeds, inputs), alone(seeds, inputs))
        self.seconds = time.perf_counter() - began
        self.saved = saved_by(self, seeds, inputs, num_trials=_NUM_TRIALS)

    @torch.inference_mode()
    def __call__(
        self, seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]
    ) -> list[Outcome]:
        """Return what each seed gives; ``inputs`` are arguments and noise of each."""
        values = self.flat(*_stacked(seeds, inputs))
        return list(zip(*[value.unbind() for value in values], strict=True))


def require_same(ours: Sequence[Outcome], theirs: Sequence[Outcome]) -> None:
    """Raise :class:`NotBatchedError` where outcomes of seeds differ in a bit, or in memory."""
    for one, other in zip(ours, theirs, strict=True):
        for a, b in zip(one, other, strict=True):
            if a.stride() != b.stride() or not same_bits(a, b):
                raise NotBatchedError("together they would round otherwise")


@torch.inference_mode()
def alone(seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]) -> list[Outcome]:
    """Return what each seed gives, evaluated one after the other."""
    return [tuple(seed.flat(*seed.owned, *own)) for seed, own in zip(seeds, inputs, strict=True)]


def _stacked(seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    of_each = [[*seed.owned, *own] for seed, own in zip(seeds, inputs, strict=True)]
    return [torch.stack(values) for values in zip(*of_each, strict=True)]


def saved_by(
    together: Callable[[Sequence[Captured], Sequence[Sequence[Tensor]]], object],
    seeds: Sequence[Captured],
    inputs: Sequence[Sequence[Tensor]],
    *,
    num_trials: int,
) -> float:
    """Return by how many seconds a way to evaluate all seeds is shorter than one after the other.

    The shortest of some trials counts on either side.
    """
    apart = min(_seconds(lambda: alone(seeds, inputs)) for _ in range(num_trials))
    return apart - min(_seconds(lambda: together(seeds, inputs)) for _ in range(num_trials))


def _seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def require_pure(graph: fx.GraphModule) -> None:
    """Raise :class:`NotBatchedError` where a graph draws by itself, or changes its inputs."""
    for node in graph.graph.nodes:
        if is_random(node):
            raise NotBatchedError("what it draws depends on what it has computed")
        if changes(node) and not _is_fresh(node):
            raise NotBatchedError("a step changes buffers")


def _is_fresh(node: fx.Node) -> bool:
    changed = node.args[0]
    return isinstance(changed, fx.Node) and changed.op == "call_function"
