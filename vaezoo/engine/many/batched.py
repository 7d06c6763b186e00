"""One captured step for several seeds at once: the same bits, from fewer and larger operations.

Every operation of the graph is given a leading dimension for the seeds, by vmap where that rounds
as the operation itself does, else by a rule of its own. Whether all bits agree is tried, and so is
whether it is faster: on small nets it is, on large ones products take the time in any case.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import make_fx

from vaezoo.checks.blame import one_line
from vaezoo.engine.capture import Captured, one_fake_mode
from vaezoo.engine.reduction import changes, is_random, reduce_graph

__all__ = ["Batched", "NotBatchedError", "alone"]

aten = torch.ops.aten

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
        _require_pure(graph)
        stacked = _stacked(seeds, inputs)
        try:
            with torch.no_grad(), one_fake_mode():
                many = make_fx(_ManySeeds(graph, len(seeds)).run)(*stacked)
            self.graph = reduce_graph(many, stacked)
        except Exception as error:  # whatever vmap does not take
            raise NotBatchedError(one_line(error)) from error
        self._require_same(seeds, inputs)
        self.seconds = time.perf_counter() - began
        apart = min(_seconds(lambda: alone(seeds, inputs)) for _ in range(_NUM_TRIALS))
        self.saved = apart - min(_seconds(lambda: self(seeds, inputs)) for _ in range(_NUM_TRIALS))

    @torch.inference_mode()
    def __call__(
        self, seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]
    ) -> list[Outcome]:
        """Return what each seed gives; ``inputs`` are arguments and noise of each."""
        values = self.graph(*_stacked(seeds, inputs))
        return list(zip(*[value.unbind() for value in values], strict=True))

    def _require_same(self, seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]) -> None:
        for ours, theirs in zip(self(seeds, inputs), alone(seeds, inputs), strict=True):
            for one, other in zip(ours, theirs, strict=True):
                if one.stride() != other.stride() or not _same_bits(one, other):
                    raise NotBatchedError("together they would round otherwise")


def _same_bits(one: Tensor, other: Tensor) -> bool:
    return torch.equal(one.nan_to_num(), other.nan_to_num()) and one.dtype == other.dtype


@torch.inference_mode()
def alone(seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]) -> list[Outcome]:
    """Return what each seed gives, evaluated one after the other."""
    return [tuple(seed.graph(*seed.owned, *own)) for seed, own in zip(seeds, inputs, strict=True)]


def _stacked(seeds: Sequence[Captured], inputs: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    of_each = [[*seed.owned, *own] for seed, own in zip(seeds, inputs, strict=True)]
    return [torch.stack(values) for values in zip(*of_each, strict=True)]


def _seconds(function: Callable[[], object]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def _require_pure(graph: fx.GraphModule) -> None:
    for node in graph.graph.nodes:
        if is_random(node):
            raise NotBatchedError("what it draws depends on what it has computed")
        if changes(node) and not _is_fresh(node):
            raise NotBatchedError("a step changes buffers")


def _is_fresh(node: fx.Node) -> bool:
    changed = node.args[0]
    return isinstance(changed, fx.Node) and changed.op == "call_function"


class _ManySeeds(fx.Interpreter):
    """Runs a graph on inputs of all seeds, each with a leading dimension for them.

    What does not depend on them, as a constant, is given that dimension, too.
    """

    def __init__(self, graph: fx.GraphModule, num_seeds: int) -> None:
        super().__init__(graph)
        self.num_seeds = num_seeds

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self._of_all(super().get_attr(target, args, kwargs))

    def _of_all(self, value: Any) -> Any:
        return value.expand(self.num_seeds, *value.shape) if isinstance(value, Tensor) else value

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors = [value for value in _leaves((args, kwargs)) if isinstance(value, Tensor)]
        if not tensors:
            return self._of_all(target(*args, **kwargs))
        rule = _RULES.get(target)
        result = rule(target, args, kwargs) if rule else None
        if result is not None:
            return result

        def one_seed(args: Any, kwargs: Any) -> Any:
            return target(*args, **kwargs)

        return vmap(one_seed, in_dims=(_dims(args), _dims(kwargs)))(args, kwargs)


def _leaves(value: Any) -> list[Any]:
    leaves, _ = torch.utils._pytree.tree_flatten(value)
    return list(leaves)


def _dims(value: Any) -> Any:
    """Return where in a nest of arguments the seeds stand: first in each tensor."""
    return torch.utils._pytree.tree_map(lambda v: 0 if isinstance(v, Tensor) else None, value)


def _addmm(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """A product and a sum in one operation, as it is for one seed; vmap would do two."""
    bias, a, b = args
    if kwargs:
        return None
    shape = (a.shape[0], a.shape[1], b.shape[2])
    return torch.baddbmm(bias.unsqueeze(1).expand(shape) if bias.dim() == 2 else bias, a, b)


def _by_element(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """What gives each element by itself takes seeds as it is; vmap would take it apart."""
    logits, targets, *rest = args
    if list(rest) != [None, None, 0]:  # weights, or a mean or sum over elements
        return None
    result: Tensor = target(logits, targets, None, None, 0)
    return result if logits.shape == targets.shape else None


def _as_it_is(target: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Tensor | None:
    """What copies takes any shape."""
    result: Tensor = target(*args, **kwargs)
    return result


_RULES: dict[Any, Callable[..., Tensor | None]] = {
    aten.addmm.default: _addmm,
    aten.lift_fresh_copy.default: _as_it_is,
    aten.binary_cross_entropy_with_logits.default: _by_element,
}
