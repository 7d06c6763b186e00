"""What a faster tier costs, and whether the steps to come repay it.

Nothing that differs between a run and its resumption decides on capturing, so that both round
alike; when to compile depends on the clock, and a saved state says that it was done.
"""

from torch import nn

from vaezoo.engine.batch_kind import BatchKind
from vaezoo.engine.compiler import expected_seconds, seconds_saved
from vaezoo.pairs.sites import Args, sample_sites, trace_pair

__all__ = [
    "FEWEST_STEPS_CAPTURED",
    "MOST_SITES_CAPTURED",
    "compiling_repays",
    "num_sites_in_graph",
]

FEWEST_STEPS_CAPTURED = 500
MOST_SITES_CAPTURED = 64


def num_sites_in_graph(pair: nn.Module, args: Args, *, is_written_out: bool) -> int:
    """Return how many sites a captured step would have.

    Parameters
    ----------
    pair, args
        A pair, and a batch that it is run on.
    is_written_out
        Whether the path of a sequence, though one site, is computed step by step in the graph.
    """
    trace = trace_pair(pair, args)
    if is_written_out:
        return max(len(site["value"][0]) for site in trace.observed.values())
    return len(sample_sites(trace.model))


def compiling_repays(kind: BatchKind, num_calls_left: float) -> bool:
    """Whether compiling costs less than the graph has saved, and half of what it will save.

    By the first condition a run never takes longer than an eager one, even if it stops early.
    """
    assert kind.captured is not None
    graph = kind.captured.graph
    cost = expected_seconds(graph)
    to_save = seconds_saved(num_calls_left * len(graph.graph.nodes))
    return kind.seconds_saved > cost and to_save > 2 * cost
