"""A captured graph as one flat function of Python."""

from collections.abc import Callable

import torch
from torch import Tensor, fx

from vaezoo.engine.replay.bindings import bind
from vaezoo.engine.replay.shorter import shorten

__all__ = ["flat_function"]


@torch.inference_mode()
def flat_function(graph: fx.GraphModule) -> Callable[..., tuple[Tensor, ...]]:
    """Return a function that gives what a graph gives, bit by bit, under ``inference_mode``.

    Examples
    --------
    >>> from torch.fx.experimental.proxy_tensor import make_fx
    >>> graph = make_fx(lambda x: (2 * x + torch.ones(2).sum(),))(torch.zeros(3))
    >>> with torch.inference_mode():
    ...     flat_function(graph)(torch.ones(3))
    (tensor([4., 4., 4.]),)
    """
    # The constants of the graph stay the tensors that they are: one may be changed from outside.
    own = fx.GraphModule(graph, _copy(graph.graph))
    shorten(own)
    bind(own.graph)
    own.graph.lint()
    own.recompile()
    function: Callable[..., tuple[Tensor, ...]] = own.forward
    return function


def _copy(graph: fx.Graph) -> fx.Graph:
    copy = fx.Graph()
    copy.output(copy.graph_copy(graph, {}))
    return copy
