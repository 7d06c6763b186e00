"""What a faster tier costs, and whether the steps to come repay it.

Nothing that differs between a run and its resumption decides on capturing, so that both round
alike; when to compile depends on the clock, and a saved state says that it was done. What decides
is tried on few frames of sequences, once for all of their lengths.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, fx, nn

from vaezoo.checks.blame import class_of, line_of
from vaezoo.engine.batch_kind import BatchKind, Trial, kind_of
from vaezoo.engine.compiler import SECONDS_PER_NODE, expected_seconds, seconds_saved
from vaezoo.engine.gradients import Prepare
from vaezoo.engine.outcomes import outcome_of
from vaezoo.options import EngineName
from vaezoo.pairs.lengths import FEW_FRAMES
from vaezoo.pairs.sites import sample_sites, trace_pair
from vaezoo.runtime.isolation import untouched

__all__ = [
    "FEWEST_STEPS_CAPTURED",
    "MOST_SITES_CAPTURED",
    "Shorten",
    "Trials",
    "captures",
    "compiling_repays",
    "compiling_repays_for",
    "whole_rows",
]

Shorten = Callable[[Sequence[Tensor], int], tuple[Tensor, ...]]

FEWEST_STEPS_CAPTURED = 500
# 3.5 ns on log weights of a net of 784-500-20, by which half of the time of a call goes.
SECONDS_SAVED_PER_ELEMENT = 2e-9
MOST_SITES_CAPTURED = 64
# Of a recurrence that runs by a plan: with more, what is not its loop hardly counts.
MOST_FRAMES_CAPTURED = 256


def whole_rows(raw: Sequence[Tensor], most: int) -> tuple[Tensor, ...]:
    """Return rows that are no sequences as they are."""
    return tuple(raw)


class Trials:
    """Tries a pair on few frames.

    Parameters
    ----------
    pair
        The pair.
    prepare
        From rows as they are stored to its arguments.
    shorten
        From rows and a number to their first frames.

    Attributes
    ----------
    num_before
        How many inputs of an evaluation stand before the rows.
    """

    def __init__(self, pair: nn.Module, prepare: Prepare, shorten: Shorten) -> None:
        self.pair, self.prepare, self.shorten = pair, prepare, shorten
        self.num_before = 2
        self._trials: dict[object, Trial] = {}

    def of(self, kind: BatchKind, whole: nn.Module, inputs: Sequence[Tensor]) -> Trial:
        """Return what a trial of a new kind shows; ``whole`` has all buffers."""
        few = (*inputs[: self.num_before], *self._rows(inputs))
        key = kind_of(self.pair, few)
        if key not in self._trials:
            # It makes the plan of a recurrence, too, which cannot be made during a capture.
            self._trials[key] = Trial(outcome_of(kind.eager, whole, few, 0).written)
        return self._trials[key]

    def are_long(self, inputs: Sequence[Tensor]) -> bool:
        """Whether rows have so many frames that capturing what is no recurrence gains little."""
        return self._num_frames(inputs) > MOST_FRAMES_CAPTURED

    def num_sites(self, trial: Trial, inputs: Sequence[Tensor], *, is_written_out: bool) -> int:
        """Return how many sites a captured step would have.

        With ``is_written_out``, the path of a sequence, though one site, is computed step by step.
        """
        for most in (FEW_FRAMES // 2, FEW_FRAMES):
            if most not in trial.num_sites:
                rows = self._rows(inputs, most)
                with untouched(self.pair, rows[0].device), torch.no_grad():
                    trace = trace_pair(self.pair, self.prepare(rows))
                observed = [len(site["value"][0]) for site in trace.observed.values()]
                number = max(observed) if is_written_out else len(sample_sites(trace.model))
                trial.num_sites[most] = number
        return trial.num_sites_at(self._num_frames(inputs))

    def too_many_sites(
        self, trial: Trial, inputs: Sequence[Tensor], *, is_written_out: bool
    ) -> str:
        """Return why a step has too many sites to be captured by itself, else nothing."""
        num_sites = self.num_sites(trial, inputs, is_written_out=is_written_out)
        if num_sites <= MOST_SITES_CAPTURED:
            return ""
        return (
            f"a graph of {num_sites} sites takes too long to capture "
            f"(`engine='graph'` does it): {line_of(class_of(self.pair))}"
        )

    def _rows(self, inputs: Sequence[Tensor], most: int = FEW_FRAMES) -> tuple[Tensor, ...]:
        return self.shorten(inputs[self.num_before :], most)

    def _num_frames(self, inputs: Sequence[Tensor]) -> int:
        """Return the frames of sequences longer than few, else 0."""
        both = zip(inputs[self.num_before :], self._rows(inputs), strict=True)
        return max((whole.shape[1] for whole, few in both if whole.shape != few.shape), default=0)


def captures(engine: EngineName, num_steps: int) -> bool:
    """Return whether what every epoch of a training does is captured, as its steps are.

    Examples
    --------
    >>> captures("auto", 10_000), captures("auto", 10), captures("graph", 10)
    (True, False, True)
    """
    return engine in ("graph", "compiled") or (
        engine == "auto" and num_steps >= FEWEST_STEPS_CAPTURED
    )


def compiling_repays(kind: BatchKind, num_calls_left: float) -> bool:
    """Whether compiling costs less than the graph has saved, and half of what it will save.

    By the first condition a run never takes longer than an eager one, even if it stops early.
    """
    assert kind.captured is not None
    graph = kind.captured.graph
    cost = expected_seconds(graph)
    to_save = seconds_saved(num_calls_left * len(graph.graph.nodes))
    return kind.seconds_saved > cost and to_save > 2 * cost


def compiling_repays_for(graph: fx.GraphModule, num_calls: int) -> bool:
    """Whether so many calls of a graph repay compiling it twice over, by the size of its tensors.

    The clock is not asked, nor what has been compiled before: results are the same every time.
    """
    elements = sum(_num_elements(node) for node in graph.graph.nodes)
    cost = SECONDS_PER_NODE * len(graph.graph.nodes)
    return num_calls * elements * SECONDS_SAVED_PER_ELEMENT > 2 * cost


def _num_elements(node: fx.Node) -> int:
    """Return how many elements a node writes that a fused loop would not; products are none."""
    value = node.meta.get("val")
    if node.op != "call_function" or not isinstance(value, Tensor):
        return 0
    target = str(node.target)
    kept = any(word in target for word in ("mm", "conv", "view", "expand", "aten.t."))
    return 0 if kept else value.numel()
