"""Rows that come in groups of equals: what a graph does to each before it draws is done once."""

from typing import Any

import torch
from torch import Tensor, fx
from torch._ops import OpOverload

from vaezoo.engine.reduction import placeholders

__all__ = ["once_per_group"]

aten = torch.ops.aten

# The rows of what they give depend on the same rows of what they take.
_BY_ELEMENT = frozenset(
    [
        *(aten.add.Tensor, aten.sub.Tensor, aten.mul.Tensor, aten.div.Tensor, aten.rsub.Scalar),
        *(aten.mul.Scalar, aten.add.Scalar, aten.pow.Tensor_Scalar, aten.neg.default),
        *(aten.exp.default, aten.log.default, aten.sqrt.default, aten.abs.default),
        *(aten.tanh.default, aten.sigmoid.default, aten.relu.default, aten.softplus.default),
        *(aten.elu.default, aten.leaky_relu.default, aten.gelu.default, aten.silu.default),
        *(aten.clamp.default, aten.clamp_min.default, aten.clamp_max.default),
        *(aten._to_copy.default, aten.clone.default, aten.detach.default, aten.alias.default),
    ]
)
_VIEWS = frozenset([aten.view.default, aten._unsafe_view.default, aten.reshape.default])
_ROWS_OF: dict[Any, int] = {  # which argument of a layer has the rows; others are its parameters
    aten.addmm.default: 1,
    aten.mm.default: 0,
    aten.convolution.default: 0,
}


def once_per_group(graph: fx.GraphModule, rows: slice, times: int) -> fx.GraphModule:
    """Return a graph that computes the same for rows of which each stands ``times`` times in a row.

    Layers and what works on each element are called on one row of each group, until something else
    takes their values: a draw, an observation, a sum.

    Parameters
    ----------
    graph
        It takes parameters and buffers, rows, and noise.
    rows
        Which of its inputs are such rows, ``(B * times, ...)`` each; parameters stand before.
    times
        How often each row stands there.
    """
    rewriting = _Rewriting(graph, rows, times)
    graph.graph = rewriting.graph()
    graph.recompile()
    return graph


class _Rewriting:
    def __init__(self, graph: fx.GraphModule, rows: slice, times: int) -> None:
        self.old, self.times = graph.graph, times
        inputs = placeholders(self.old)
        self.owned, self.rows = set(inputs[: rows.start]), set(inputs[rows])
        self.number = {_shape(node)[0] for node in self.rows if _shape(node)}
        self.new = fx.Graph()
        self.whole: dict[fx.Node, fx.Node] = {}
        self.once: dict[fx.Node, fx.Node] = {}

    def graph(self) -> fx.Graph:
        for node in self.old.nodes:
            if len(self.number) == 1 and self._is_by_row(node):
                self._do_once(node)
            else:
                self.whole[node] = self.new.node_copy(node, self._whole)
                if node in self.rows and _shape(node):
                    self.once[node] = self._one_of_each(node)
        return self._without_unused()

    def _without_unused(self) -> fx.Graph:
        """Drop the choice of rows that nothing takes."""
        for node in list(self.once.values()):
            if not node.users:
                self.new.erase_node(node)
        return self.new

    def _one_of_each(self, node: fx.Node) -> fx.Node:
        end = torch.iinfo(torch.int64).max
        args = (self.whole[node], 0, 0, end, self.times)
        return self._call(aten.slice.Tensor, args, node)

    def _is_by_row(self, node: fx.Node) -> bool:
        taken = [arg for arg in node.all_input_nodes if arg in self.once]
        if not taken or node.kwargs.get("out") is not None or not _shape(node):
            return False
        (number,) = self.number
        if _shape(node)[0] != number:
            return False
        others = [arg for arg in node.all_input_nodes if arg not in self.once]
        if node.target in _VIEWS:
            return True
        if node.target in _ROWS_OF:
            return node.args[_ROWS_OF[node.target]] in self.once and self._are_owned(others)
        return node.target in _BY_ELEMENT and all(self._is_broadcast(o, node) for o in others)

    def _are_owned(self, nodes: list[fx.Node]) -> bool:
        """Whether nodes are made of parameters, buffers and constants alone."""
        return all(
            node in self.owned
            or node.op == "get_attr"
            or (node.target is aten.t.default and self._are_owned(node.all_input_nodes))
            for node in nodes
        )

    def _is_broadcast(self, node: fx.Node, result: fx.Node) -> bool:
        """Whether a tensor is the same for all rows of a result."""
        shape = _shape(node)
        whole = len(shape) == len(_shape(result))
        return self._are_owned([node]) and not (whole and shape[0] != 1)

    def _do_once(self, node: fx.Node) -> None:
        if node.target in _VIEWS:
            size = [_shape(node)[0] // self.times, *_shape(node)[1:]]
            source = self.once[node.all_input_nodes[0]]
            new = self._call(aten.reshape.default, (source, size), node)
        else:
            new = self.new.node_copy(node, lambda arg: self.once.get(arg) or self._whole(arg))
        self.once[node] = new

    def _whole(self, node: fx.Node) -> fx.Node:
        if node not in self.whole:
            once = self.once[node]
            args = (once, self.times, 0)
            self.whole[node] = self._call(aten.repeat_interleave.self_int, args, node)
        return self.whole[node]

    def _call(self, target: OpOverload, args: tuple[Any, ...], node: fx.Node) -> fx.Node:
        """Call an operation, described as the node is whose rows it gives.

        What is not described at all is called the slow way; of rows that are computed once the
        number is that of all, which nothing asks for.
        """
        new = self.new.call_function(target, args)
        new.meta = dict(node.meta)
        return new


def _shape(node: fx.Node) -> tuple[int, ...]:
    value = node.meta.get("val")
    return tuple(value.shape) if isinstance(value, Tensor) else ()
