"""Graphs for several seeds at once: every operation is given a leading dimension for the seeds.

By vmap, or by a rule of its own where vmap would take the operation apart. An operation that rounds
otherwise then, as some products do, is evaluated for one seed after the other in its place.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx
from torch.func import vmap
from torch.fx.experimental.proxy_tensor import disable_proxy_modes_tracing, make_fx
from torch.utils._pytree import tree_flatten, tree_map, tree_unflatten

from vaezoo.engine.capture import one_fake_mode
from vaezoo.engine.reduction import changes, reduce_graph

__all__ = ["for_seeds", "same_bits"]

aten = torch.ops.aten


def for_seeds(graph: fx.GraphModule, num_seeds: int, examples: Sequence[Tensor]) -> fx.GraphModule:
    """Return a graph that does for several seeds what one does for each.

    Parameters
    ----------
    graph
        The graph of one seed.
    num_seeds
        How many seeds there are, S.
    examples
        Its inputs, each ``(S, ...)``: of operations that round otherwise for all seeds at once
        shows here.

    Examples
    --------
    >>> graph = torch.fx.experimental.proxy_tensor.make_fx(lambda x: (x.sum(0),))(torch.ones(3))
    >>> for_seeds(graph, 2, [torch.ones(2, 3)])(torch.ones(2, 3))
    (tensor([3., 3.]),)
    """
    with torch.no_grad(), one_fake_mode():
        together = make_fx(_ManySeeds(graph, num_seeds).run)(*examples)
    return reduce_graph(together, examples)


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors agree in every number; those that are none count as one."""
    return torch.equal(one.nan_to_num(), other.nan_to_num()) and one.dtype == other.dtype


class _ManySeeds(fx.Interpreter):
    """Runs a graph on inputs of all seeds, each with a leading dimension for them.

    What does not depend on them, as a constant, is given that dimension, too.
    """

    def __init__(self, graph: fx.GraphModule, num_seeds: int) -> None:
        super().__init__(graph)
        self.num_seeds = num_seeds
        self.is_pure = True

    def get_attr(self, target: Any, args: Any, kwargs: Any) -> Any:
        return self._of_all(super().get_attr(target, args, kwargs))

    def _of_all(self, value: Any) -> Any:
        return value.expand(self.num_seeds, *value.shape) if isinstance(value, Tensor) else value

    def run_node(self, n: fx.Node) -> Any:
        self.is_pure = not changes(n)
        return super().run_node(n)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        leaves, _ = tree_flatten((args, kwargs))
        if not any(isinstance(value, Tensor) for value in leaves):
            return self._of_all(target(*args, **kwargs))
        together = _together(target, args, kwargs)
        if self.is_pure and isinstance(target, torch._ops.OpOverload):
            with disable_proxy_modes_tracing():
                apart = _one_by_one(target, args, kwargs, self.num_seeds)
                is_same = _all_same(together, apart)
            if not is_same:
                return _one_by_one(target, args, kwargs, self.num_seeds)
        return together


def _together(target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    rule = _RULES.get(target)
    result = rule(target, args, kwargs) if rule else None
    if result is not None:
        return result

    def one_seed(args: Any, kwargs: Any) -> Any:
        return target(*args, **kwargs)

    return vmap(one_seed, in_dims=(_dims(args), _dims(kwargs)))(args, kwargs)


def _one_by_one(target: Any, args: Any, kwargs: Any, num_seeds: int) -> Any:
    """Evaluate an operation for each seed, and stack what comes of it."""
    results = []
    for seed in range(num_seeds):
        own_args, own_kwargs = tree_map(
            lambda v, seed=seed: v[seed] if isinstance(v, Tensor) else v, (args, kwargs)
        )
        results.append(tree_flatten(target(*own_args, **own_kwargs)))
    stacked = [
        torch.stack(values) if isinstance(values[0], Tensor) else values[0]
        for values in zip(*[leaves for leaves, _ in results], strict=True)
    ]
    return tree_unflatten(stacked, results[0][1])


def _all_same(one: Any, other: Any) -> bool:
    pairs = zip(tree_flatten(one)[0], tree_flatten(other)[0], strict=True)
    return all(same_bits(a, b) for a, b in pairs if isinstance(a, Tensor))


def _dims(value: Any) -> Any:
    """Return where in a nest of arguments the seeds stand: first in each tensor."""
    return tree_map(lambda v: 0 if isinstance(v, Tensor) else None, value)


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
