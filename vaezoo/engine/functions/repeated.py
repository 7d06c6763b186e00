"""A function of a pair that is called over and over: captured, and compiled where that repays."""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from vaezoo.checks.blame import one_line
from vaezoo.engine.batch_kind import kind_of
from vaezoo.engine.capture import Captured, Function, NotCapturedError
from vaezoo.engine.compiler import compile_graph
from vaezoo.engine.functions.rows import once_per_group
from vaezoo.engine.many.graphs import Graphs
from vaezoo.engine.outcomes import largest_error
from vaezoo.engine.repayment import compiling_repays_for
from vaezoo.engine.replay.flat import flat_function
from vaezoo.runtime.isolation import untouched

__all__ = ["Repeated"]

TOLERANCE, TOLERANCE_COMPILED = 1e-5, 1e-3  # as those of a step
NUM_TRIALS = 3
CHECKED_EVERY = 1_000
MOST_KINDS = 16
_ONCE = "once_per_group"  # done to a graph, of whichever pair


class Repeated:
    """A function of tensors and of a pair, called often on inputs of few kinds.

    For each shape of its inputs it is captured once, and compared with itself as it is under the
    same noise, then and every 1,000 calls. What cannot be captured, or differs, runs as it is.

    Parameters
    ----------
    function
        From a sequence of tensors to a tuple of tensors of floats; it may call the pair, and draw
        from torch's generators.
    pair
        Whose parameters and buffers it may use.
    num_calls
        How often inputs of one kind will come, if it may be compiled for them. Whether it is goes
        by this number and the size of its tensors, so that what comes out is the same every time.
    graphs
        Those of pairs of the same class, whose function does the same to each.

    Attributes
    ----------
    reason
        Why it runs as it is, a line; empty where it is captured.

    Examples
    --------
    >>> line = nn.Linear(2, 1)
    >>> predict = Repeated(lambda inputs: (line(inputs[0]).detach(),), line)
    >>> (y,) = predict([torch.zeros(3, 2)])
    >>> torch.equal(y, line.bias.expand(3, 1)), predict.reason
    (True, '')
    """

    def __init__(
        self,
        function: Function,
        pair: nn.Module,
        *,
        num_calls: int = 0,
        graphs: Graphs | None = None,
    ) -> None:
        self.function, self.pair = function, pair
        self.num_calls = num_calls
        self.graphs = graphs or Graphs()
        self.reason = ""
        self._kinds: dict[object, Function | None] = {}
        self._num_calls = 0

    def __call__(self, inputs: Sequence[Tensor], times: int = 1) -> tuple[Tensor, ...]:
        """Return what the function gives.

        Each row of the inputs stands ``times`` times in a row, ``(B * times, ...)``.
        """
        run = self._run(inputs, times)
        self._num_calls += 1
        if run and self._num_calls % CHECKED_EVERY == 0 and self._differs(run, inputs):
            self._fall_back("it depends on something that is no argument")
            run = None
        return run(inputs) if run else self.function(inputs)

    def _run(self, inputs: Sequence[Tensor], times: int) -> Function | None:
        if self.reason:
            return None
        kind = (times, kind_of(self.pair, inputs))
        if kind not in self._kinds:
            few = len(self._kinds) < MOST_KINDS
            self._kinds[kind] = self._made(inputs, times) if few else None
        return self._kinds[kind]

    def _made(self, inputs: Sequence[Tensor], times: int) -> Function | None:
        try:
            captured = self._captured(inputs, times)
        except NotCapturedError as error:
            self._fall_back(str(error))
        except Exception as error:  # whatever a pair does with the tensors of a capture
            self._fall_back(one_line(error))
        else:
            if not self._differs(captured, inputs):
                return self._compiled(captured, inputs) or captured
            self._fall_back("captured, it gives other values")
        return None

    def _captured(self, inputs: Sequence[Tensor], times: int) -> Captured:
        kind, is_known = (times, kind_of(self.pair, inputs)), any(self._kinds.values())
        captured = self.graphs.captured(kind, self.function, self.pair, inputs, is_known=is_known)
        if captured.unowned:  # somebody may put another one in its place
            raise NotCapturedError(
                "a tensor that belongs to no module is used", captured.unowned[0]
            )
        return self._once_per_group(captured, len(inputs), times) if times > 1 else captured

    def _once_per_group(self, captured: Captured, num_inputs: int, times: int) -> Captured:
        graph = captured.graph
        if _ONCE not in graph.meta:
            start = len(captured.owned)
            once_per_group(graph, slice(start, start + num_inputs), times)
            graph.meta[_ONCE] = flat_function(graph)  # of the graph as it is now
        return replace(captured, flat=graph.meta[_ONCE])

    def _compiled(self, captured: Captured, inputs: Sequence[Tensor]) -> Function | None:
        on_cpu = inputs[0].device.type == "cpu"
        if not on_cpu or not compiling_repays_for(captured.graph, self.num_calls):
            return None
        try:
            compiled = compile_graph(captured, inputs)
            differs = self._differs(compiled, inputs)
        except Exception:  # no compiler, or whatever Inductor or what it wrote does
            return None
        return None if differs else compiled

    def _fall_back(self, reason: str) -> None:
        self.reason = reason
        self._kinds.clear()

    def _differs(self, run: Function, inputs: Sequence[Tensor]) -> bool:
        """Whether it differs under each noise; rounding may turn a unit on or off under one."""
        most = TOLERANCE if isinstance(run, Captured) else TOLERANCE_COMPILED
        return all(self._error(run, inputs, seed) > most for seed in range(NUM_TRIALS))

    def _error(self, captured: Function, inputs: Sequence[Tensor], seed: int) -> float:
        values = []
        for run in (captured, self.function):
            with untouched(self.pair, inputs[0].device):
                torch.manual_seed(seed)
                values.append([value.clone() for value in run([t.clone() for t in inputs])])
        return largest_error(*values)
