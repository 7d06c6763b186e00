"""Graphs that pairs of one class share: captured for one of them, taken over by the others."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, fx, nn

from vaezoo.engine.capture import Captured, Function, capture, recapture
from vaezoo.engine.recurrence.loops import is_loop
from vaezoo.engine.recurrence.planned import Planned

__all__ = ["Graphs"]


class Graphs:
    """Captures steps of kinds of batches, each once for all pairs that share it.

    What is frozen into a graph is of the pair that it was captured on, so that one with constants,
    or with a plan of a recurrence that another pair has not, is captured for each; then the graphs
    are one if they are the same.

    Examples
    --------
    >>> one, two = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    >>> graphs, x = Graphs(), torch.ones(1, 2)
    >>> of_one = graphs.captured("x", lambda args: (one(*args),), one, [x], is_known=False)
    >>> of_two = graphs.captured("x", lambda args: (two(*args),), two, [x], is_known=False)
    >>> of_two.graph is of_one.graph, bool((of_two([x])[0] == two(x)).all())
    (True, True)
    """

    def __init__(self) -> None:
        self._captured: dict[object, Captured] = {}

    def captured(
        self,
        kind: object,
        function: Function,
        pair: nn.Module,
        args: Sequence[Tensor],
        *,
        is_known: bool,
    ) -> Captured:
        """Return the captured function of a pair for a kind of batches.

        Parameters
        ----------
        kind
            Names the kind.
        function, pair, args
            As :func:`vaezoo.engine.capture.capture` takes them.
        is_known
            Whether the function has been captured for this pair, for other shapes.
        """
        shared = self._captured.get(kind)
        if shared is not None and _holds_for(pair, shared.graph.graph):
            return replace(shared, owned=(*pair.parameters(), *pair.buffers()))
        captured = (recapture if is_known else capture)(function, pair, args)
        if shared is None:
            self._captured[kind] = captured
        elif _same(shared, captured):
            return replace(captured, graph=shared.graph, flat=shared.flat)
        return captured


def _same(one: Captured, other: Captured) -> bool:
    """Whether two graphs do the same, with constants of the same values that nobody can change."""
    names = [str(node.target) for node in other.graph.graph.nodes if node.op == "get_attr"]
    if one.unowned or other.unowned or one.graph.code != other.graph.code:
        return False
    return all(torch.equal(getattr(one.graph, n), getattr(other.graph, n)) for n in names)


def _holds_for(pair: nn.Module, graph: fx.Graph) -> bool:
    """Whether a graph has no constants, and no plans but those of a pair."""
    recurrence = getattr(pair, "recurrence", None)
    plans = recurrence.numbers if isinstance(recurrence, Planned) else set()
    is_own = [node.args[0] in plans for node in graph.nodes if is_loop(node)]
    return all(is_own) and all(node.op != "get_attr" for node in graph.nodes)
