"""Capture: what a function of a pair does to tensors, as one graph.

The function runs once under ``make_fx``, which records every operation on tensors, those of the
backward pass included; Python, and with it Pyro's handlers, is left behind. What the graph may
depend on has to be among its inputs: parameters, buffers and arguments. Everything else is frozen
into it, so a function is captured twice and the two graphs must say the same.
"""

import inspect
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, fx, nn
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from vaezoo.device import rng_state, set_rng_state
from vaezoo.lines import (
    line_in_traceback,
    line_of,
    line_that_sets,
    location,
    one_line,
    raised_at,
)
from vaezoo.reduction import reduce_graph

__all__ = ["Captured", "NotCapturedError", "capture", "untouched", "without_reads"]

_PYRO_READS = ("trace_elbo", "trace_mean_field_elbo", "tracegraph_elbo", "elbo", "util")
_READS_A_VALUE = "aten._local_scalar_dense"

Function = Callable[[Sequence[Tensor]], tuple[Tensor, ...]]


class NotCapturedError(Exception):
    """A function cannot be captured, or not without freezing what changes. The message is a line.

    Parameters
    ----------
    reason
        What the function does.
    where
        The line of the user's file that does it.
    """

    def __init__(self, reason: str, where: str) -> None:
        super().__init__(f"{reason}: {where}")


@dataclass(frozen=True)
class Captured:
    """A captured function.

    Attributes
    ----------
    graph
        Takes ``owned`` and the arguments, flat, and returns what the function returned.
    owned
        Parameters and buffers of the pair: the very tensors, so that updates in place are seen.
    unowned
        Lines that use a tensor which belongs to no module: seen when it is changed in place, but
        neither saved nor moved with the pair.
    """

    graph: fx.GraphModule
    owned: tuple[Tensor, ...]
    unowned: tuple[str, ...]

    @torch.inference_mode()
    def __call__(self, args: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(self.graph(*self.owned, *args))


def capture(function: Function, pair: nn.Module, args: Sequence[Tensor]) -> Captured:
    """Capture a function of a pair.

    Parameters
    ----------
    function
        From a sequence of tensors to a tuple of tensors; it may call the pair, differentiate, draw
        from torch's generators, and update the pair's buffers in place.
    pair
        Whose parameters and buffers become inputs.
    args
        Example arguments; the graph holds for their shapes, dtypes and device.

    Raises
    ------
    NotCapturedError
        When the function reads a value back from a tensor, or depends on Python state that changes
        from call to call.
    """
    owned = (*pair.parameters(), *pair.buffers())
    with untouched(pair, args[0].device):
        before = _python_state(pair)
        with _one_fake_mode():
            first = _trace(function, pair, owned, args, with_lines=True)
            _refuse_changes(pair, before)
            torch.manual_seed(1)
            second = _trace(function, pair, owned, args, with_lines=False)
        _refuse_difference(first, second, type(pair))
        with _one_fake_mode():
            graph = reduce_graph(first, (*owned, *args))
    return Captured(graph, owned, _unowned(first, second, type(pair)))


@contextmanager
def untouched(pair: nn.Module, device: torch.device) -> Iterator[None]:
    """Set generators and buffers back, at the end, to what they were."""
    rng = rng_state(device)
    buffers = [(buffer, buffer.clone()) for buffer in pair.buffers()]
    try:
        yield
    finally:
        set_rng_state(rng, device)
        with torch.no_grad():
            for buffer, value in buffers:
                buffer.copy_(value)


@contextmanager
def without_reads() -> Iterator[None]:
    """Let Pyro's estimators neither read their loss back from a tensor nor test it for NaN.

    The engine tests every step, on the device.
    """
    replaced: list[tuple[Any, str, Any]] = []
    try:
        for name in _PYRO_READS:
            module = import_module(f"pyro.infer.{name}")
            for attribute, stand_in in (("torch_item", _detached), ("warn_if_nan", _unchanged)):
                if hasattr(module, attribute):
                    replaced.append((module, attribute, getattr(module, attribute)))
                    setattr(module, attribute, stand_in)
        with pyro.validation_enabled(False):
            yield
    finally:
        for module, attribute, original in replaced:
            setattr(module, attribute, original)


def _detached(value: Any) -> Any:
    return value.detach() if isinstance(value, Tensor) else value


def _unchanged(value: Any, *args: Any, **kwargs: Any) -> Any:
    return value


@contextmanager
def _one_fake_mode() -> Iterator[None]:
    """Describe all nodes of a graph in one mode; else make_fx builds one for each, slowly."""
    with tracing(TracingContext(FakeTensorMode(allow_non_fake_inputs=True))):
        yield


def _trace(
    function: Function,
    pair: nn.Module,
    owned: Sequence[Tensor],
    args: Sequence[Tensor],
    *,
    with_lines: bool,
) -> fx.GraphModule:
    """Record one call. Tensors are known by identity: the pair's own are inputs wherever used."""

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        return function(tensors[len(owned) :])

    try:
        with without_reads():
            return make_fx(flat, record_stack_traces=with_lines)(*owned, *args)
    except Exception as error:
        if _READS_A_VALUE in str(error):
            reason = "the value of a tensor is read (.item(), float() or if)"
        else:
            reason = one_line(error)
        raise NotCapturedError(reason, raised_at(error, type(pair))) from error


def _python_state(pair: nn.Module) -> dict[str, object]:
    """Plain values and sizes of containers that hang on the modules, and Python's generators."""
    state: dict[str, object] = {}
    for prefix, module in pair.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_") and name in _OF_TORCH:
                continue
            key = f"{prefix}.{name}".lstrip(".")
            if isinstance(value, bool | int | float | str):
                state[key] = value
            elif isinstance(value, list | dict | set):
                state[key] = len(value)
    numpy_state: Any = np.random.get_state()
    state["numpy.random"] = (numpy_state[1].tobytes(), numpy_state[2])
    state["random"] = hash(random.getstate())
    return state


_OF_TORCH = frozenset(vars(nn.Module()))


def _refuse_changes(pair: nn.Module, before: Mapping[str, object]) -> None:
    after = _python_state(pair)
    for name in after:
        if after[name] == before.get(name):
            continue
        if name in ("random", "numpy.random"):
            where = _line_that_calls(pair, name)
            raise NotCapturedError(f"numbers are drawn from {name} instead of torch", where)
        owner, _, attribute = name.rpartition(".")
        where = line_that_sets(type(pair.get_submodule(owner)), attribute, after_init=True)
        raise NotCapturedError(f"'{attribute}' changes with every call", where)


def _line_that_calls(pair: nn.Module, name: str) -> str:
    aliases = ("np.random", "numpy.random") if name == "numpy.random" else ("random.",)
    for cls in dict.fromkeys(type(module) for module in pair.modules()):
        try:
            lines, start = inspect.getsourcelines(cls)
        except (OSError, TypeError):
            continue
        for number, line in enumerate(lines, start):
            if any(alias in line for alias in aliases):
                return location(inspect.getfile(cls), number)
    return line_of(type(pair))


def _refuse_difference(first: fx.GraphModule, second: fx.GraphModule, cls: type) -> None:
    a_nodes, b_nodes = list(first.graph.nodes), list(second.graph.nodes)
    for a, b in zip(a_nodes, b_nodes, strict=False):
        if not _same(a, b, first, second):
            where = _line_of_node(a, cls) or _line_of_node(b, cls) or line_of(cls)
            raise NotCapturedError("what is computed changes from call to call", where)


def _same(a: fx.Node, b: fx.Node, first: fx.GraphModule, second: fx.GraphModule) -> bool:
    if a.op == b.op == "get_attr":
        ours, theirs = getattr(first, str(a.target)), getattr(second, str(b.target))
        return ours is theirs or bool(torch.equal(ours, theirs))
    return repr((a.op, a.target, a.args, a.kwargs)) == repr((b.op, b.target, b.args, b.kwargs))


def _line_of_node(node: fx.Node, cls: type) -> str:
    """Return the user's line that a node, or the first one that uses it, comes from."""
    nodes = [node, *node.users]
    lines = (line_in_traceback(n.meta.get("stack_trace") or "", cls) for n in nodes)
    return next((line for line in lines if line), "")


def _unowned(first: fx.GraphModule, second: fx.GraphModule, cls: type) -> tuple[str, ...]:
    """Return the user's lines where the same tensor came in twice, and not as an input."""
    seen = {id(getattr(second, str(n.target))) for n in second.graph.nodes if n.op == "get_attr"}
    lines = [
        _line_of_node(node, cls)
        for node in first.graph.nodes
        if node.op == "get_attr" and id(getattr(first, str(node.target))) in seen
    ]
    return tuple(dict.fromkeys(line for line in lines if line))
