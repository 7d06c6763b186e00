"""Operations of a graph as torch's own functions, which are called five times as fast.

A graph names operations as ``torch.ops.aten.add.Tensor``. Called from Python, such an object looks
its arguments up by a schema (about 4 us); ``torch.add``, which ends in the same kernel, parses them
in C (0.8 us). Most operations of a small net take less than either.
"""

from collections.abc import Iterator
from typing import Any, Never

import torch
from torch import Tensor, fx
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

__all__ = ["bind"]

# Private, as in torch 2.13: where the functions stand that parse their arguments in C.
_PLACES = ("_VariableFunctions", "_nn", "_linalg", "_special", "TensorBase")


def bind(graph: fx.Graph) -> None:
    """Call each operation by the function of torch that dispatches to just that operation.

    Which one it is depends on the kinds of arguments and on nothing else; it is tried, without
    computing anything, and what has none stays as it is.
    """
    functions: dict[object, Any] = {}
    for node in graph.nodes:
        if node.op != "call_function" or not isinstance(node.target, OpOverload):
            continue
        leaves, structure = tree_flatten((node.args, dict(node.kwargs)))
        key = (node.target, str(structure), *map(type, leaves))
        if key not in functions:
            functions[key] = _function_for(node)
        node.target = functions[key]


def _function_for(node: fx.Node) -> Any:
    target = node.target
    assert isinstance(target, OpOverload)
    if target.namespace != "aten":
        return target
    try:
        args, kwargs = fx.node.map_arg((node.args, node.kwargs), lambda other: other.meta["val"])
    except KeyError:  # a node that is not described
        return target
    expected = _by_name(target, args, kwargs)
    functions = _candidates(target._schema.name.removeprefix("aten::"))
    return next((f for f in functions if _asked_for(f, args, kwargs) == expected), target)


def _candidates(name: str) -> Iterator[Any]:
    for place in _PLACES:
        function = getattr(getattr(torch._C, place, None), name, None)
        if function is not None:
            yield function


def _asked_for(function: Any, args: Any, kwargs: Any) -> object:
    """Return the operation that a function dispatches to first, and what with."""
    try:
        with _Stop():  # type: ignore[no-untyped-call]
            function(*args, **kwargs)
    except _DispatchedError as dispatched:
        return _by_name(*dispatched.call)
    except (TypeError, RuntimeError):  # it does not take such arguments
        return None
    return None


def _by_name(target: Any, args: Any, kwargs: Any) -> tuple[object, ...]:
    """Return a call that compares equal to others of the same arguments: defaults filled in."""
    schema = target._schema.arguments
    values = dict(zip([argument.name for argument in schema], args, strict=False)) | dict(kwargs)
    pairs = [(a.name, values.get(a.name, a.default_value)) for a in schema]
    return target, *[(name, *map(_comparable, tree_flatten(value)[0])) for name, value in pairs]


def _comparable(leaf: Any) -> object:
    return id(leaf) if isinstance(leaf, Tensor) else (type(leaf), repr(leaf))


class _DispatchedError(Exception):
    def __init__(self, *call: Any) -> None:
        super().__init__()
        self.call = call


class _Stop(TorchDispatchMode):
    """Computes nothing: the first operation is raised."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Never:
        raise _DispatchedError(func, args, kwargs or {})
