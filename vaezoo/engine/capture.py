"""Capture: what a function of a pair does to tensors, as one graph.

The function runs once under ``make_fx``, which records every operation on tensors, those of the
backward pass included; Python, and with it Pyro's handlers, is left behind. What the graph may
depend on has to be among its inputs: parameters, buffers and arguments. Everything else is frozen
into it, so a function is captured twice and the two graphs must say the same.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from types import CodeType
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch._guards import TracingContext, tracing
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.fx.experimental.proxy_tensor import get_proxy_mode, make_fx
from torch.overrides import TorchFunctionMode

from vaezoo.checks.blame import (
    calling_line,
    class_of,
    line_of,
    line_that_sets,
    location,
    one_line,
    raised_at,
)
from vaezoo.engine.many.noise import Draw, draw_all, lift_noise
from vaezoo.engine.reduction import changes, origin, reduce_graph
from vaezoo.engine.replay.flat import flat_function
from vaezoo.engine.traps import (
    is_of_changing_shape,
    without_reads,
    words_for_reading,
    words_for_shape,
)
from vaezoo.runtime.device import rng_state
from vaezoo.runtime.isolation import plain_state, uncollected, uncompiled, untouched

__all__ = [
    "Captured",
    "Function",
    "NotCapturedError",
    "capture",
    "one_fake_mode",
    "recapture",
]

_LINE = "vaezoo_line"
_GENERATIONS = 4
_READS = (
    *(Tensor.item, Tensor.tolist, Tensor.numpy, Tensor.__array__, Tensor.__bool__),
    *(Tensor.__int__, Tensor.__float__, Tensor.__index__, Tensor.__contains__),
)

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
        Takes ``owned``, the arguments and the noise, flat, and returns what the function returned.
    owned
        Parameters and buffers of the pair: the very tensors, so that updates in place are seen.
    unowned
        Lines that use a tensor which belongs to no module: seen when it is changed in place, but
        neither saved nor moved with the pair.
    noise
        What is drawn before each call, in the order in which the function draws it.
    flat
        Gives what ``graph`` gives, bit by bit, and is faster.
    """

    graph: fx.GraphModule
    owned: tuple[Tensor, ...]
    unowned: tuple[str, ...]
    noise: tuple[Draw, ...]
    flat: Callable[..., tuple[Tensor, ...]]

    def inputs(self, args: Sequence[Tensor]) -> list[Tensor]:
        """Return what the graph takes, with noise drawn anew."""
        return [*self.owned, *args, *draw_all(self.noise)]

    @torch.inference_mode()
    def __call__(self, args: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(self.flat(*self.inputs(args)))


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
    owned, cls = (*pair.parameters(), *pair.buffers()), class_of(pair)
    with uncollected(), uncompiled(), one_fake_mode():
        first, second = _trace_twice(function, pair, owned, args)
        _refuse_changing_shapes(first, cls)
        _refuse_difference(first, second, cls)
        _refuse_generators(first, cls)
        # A constant that is the same object in both outlives a call: it is followed in place.
        lent = _lent(first, second)
        _refuse_changes_of(lent, first, cls)
        # That of the library, as what the data are standardised by, has no line of the user's.
        lines = dict.fromkeys(str(node.meta.get(_LINE, "")) for node in lent)
        unowned = tuple(filter(None, lines))
        graph, noise = _reduced(first, pair, owned, args)
        return Captured(graph, owned, unowned, noise, flat_function(graph))


def recapture(function: Function, pair: nn.Module, args: Sequence[Tensor]) -> Captured:
    """Capture for other shapes what :func:`capture` has admitted: by one record instead of two."""
    owned = (*pair.parameters(), *pair.buffers())
    with uncollected(), uncompiled(), one_fake_mode():
        with untouched(pair, args[0].device):
            graph = _trace(function, pair, owned, args)
        _refuse_changing_shapes(graph, class_of(pair))
        graph, noise = _reduced(graph, pair, owned, args)
        return Captured(graph, owned, (), noise, flat_function(graph))


def _reduced(
    graph: fx.GraphModule, pair: nn.Module, owned: Sequence[Tensor], args: Sequence[Tensor]
) -> tuple[fx.GraphModule, tuple[Draw, ...]]:
    try:
        with untouched(pair, args[0].device):
            graph = reduce_graph(graph, (*owned, *_copies(args)))
            return graph, lift_noise(graph)
    except Exception as error:  # an operation that is recorded, but does not run again
        reason = f"what was captured does not run ({one_line(error)})"
        raise NotCapturedError(reason, line_of(class_of(pair))) from error


@contextmanager
def one_fake_mode() -> Iterator[None]:
    """Describe all nodes of a graph in one mode.

    A graph is recorded on real tensors, and each node described by a fake one. Where no mode is in
    force, ``extract_val`` of torch's proxy_tensor (2.13) makes a new one for every node.
    """
    with tracing(TracingContext(FakeTensorMode(allow_non_fake_inputs=True))):
        yield


def _other_seed(state: dict[str, Tensor], device: torch.device) -> dict[str, Tensor]:
    """Seed torch's generators otherwise, and return their states.

    A function that sets the seed ends where it did the first time, wherever it began.
    """
    torch.manual_seed(1)
    if torch.equal(rng_state(device)["cpu"], state["cpu"]):
        torch.manual_seed(2)
    return rng_state(device)


def _copies(args: Sequence[Tensor]) -> list[Tensor]:
    """Return arguments that a trial may change."""
    return [arg.clone() for arg in args]


class _Watch(TorchFunctionMode):
    """Notes on nodes the user's line they come from, and refuses what a graph does not see.

    That is what takes the value of a tensor to Python.
    """

    def __init__(self, cls: type, function: CodeType) -> None:
        super().__init__()
        self.file = line_of(cls, full=True).rpartition(":")[0]
        self.function = function
        self.operation = ""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in _READS:
            self.operation = getattr(func, "__name__", "")
            raise _ReadError
        mode = get_proxy_mode()
        if mode is None:
            return func(*args, **(kwargs or {}))
        # One call of torch may record several nodes: all behind the one that was last before it.
        node = next(iter(reversed(mode.tracer.graph.nodes)), None)
        try:
            result = func(*args, **(kwargs or {}))
        except Exception:
            self.operation = self.operation or getattr(func, "__name__", "")
            raise
        line = ""
        while node is not None and node.next.op != "root":
            node = node.next
            line = line or calling_line(self.file, below=self.function)
            node.meta.setdefault(_LINE, line)
        return result


class _ReadError(Exception):
    pass


def _trace_twice(
    function: Function, pair: nn.Module, owned: Sequence[Tensor], args: Sequence[Tensor]
) -> tuple[fx.GraphModule, fx.GraphModule]:
    """Record two calls, from one state of the pair, and two of the generators.

    What is no input of a graph is a constant of it. One record cannot tell what would be another
    number in the next call; where two differ, something is frozen that changes.
    """
    device = args[0].device
    with untouched(pair, device):
        before, first_start = plain_state(pair), rng_state(device)
        first = _trace(function, pair, owned, args)
        first_end = rng_state(device)
        _refuse_changes(pair, before)  # here, because what changed is set back at the end
        _refuse_new_buffers(pair, owned)
    with untouched(pair, device):
        start = _other_seed(first_start, device)
        second = _trace(function, pair, owned, args)
        _refuse_reseeding(class_of(pair), start, first_end)
    return first, second


def _trace(
    function: Function, pair: nn.Module, owned: Sequence[Tensor], args: Sequence[Tensor]
) -> fx.GraphModule:
    """Record one call. Tensors are known by identity: the pair's own are inputs wherever used."""

    def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
        return function(tensors[len(owned) :])

    watch = _Watch(class_of(pair), flat.__code__)
    try:
        with without_reads(), watch:
            return make_fx(flat)(*owned, *_copies(args))
    except Exception as error:
        if isinstance(error, _ReadError) or "aten._local_scalar_dense" in str(error):
            reason = words_for_reading(watch.operation)
        else:
            reason = one_line(error)
        raise NotCapturedError(reason, raised_at(error, class_of(pair))) from error


def _refuse_changes(pair: nn.Module, before: Mapping[str, object]) -> None:
    after = plain_state(pair)
    for name in after:
        if after[name] == before.get(name):
            continue
        if name in ("random", "numpy.random"):
            where = _line_with(class_of(pair), f"{name}.", "np.random.")
            raise NotCapturedError(f"numbers are drawn from {name} instead of torch", where)
        attribute, where = _attribute(pair, name)
        raise NotCapturedError(f"'{attribute}' changes with every call", where)


def _refuse_new_buffers(pair: nn.Module, owned: Sequence[Tensor]) -> None:
    inputs = {id(tensor) for tensor in owned}
    for name, buffer in pair.named_buffers():
        if id(buffer) not in inputs:
            attribute, where = _attribute(pair, name)
            reason = f"'{attribute}' changes into another tensor; update the buffer in place"
            raise NotCapturedError(reason, where)


def _attribute(pair: nn.Module, name: str) -> tuple[str, str]:
    """Return the attribute of ``module.attribute``, and the line that changes it."""
    owner, _, attribute = name.rpartition(".")
    cls = type(pair.get_submodule(owner))
    return attribute, line_that_sets(cls, attribute, after_init=True)


def _refuse_reseeding(cls: type, start: dict[str, Tensor], end: dict[str, Tensor]) -> None:
    """Refuse a function whose generators end where they did from another beginning."""
    now = rng_state(next(iter(start.values())).device)
    for name in now:
        if torch.equal(now[name], end[name]) and not torch.equal(now[name], start[name]):
            raise NotCapturedError("torch's seed is set", _line_with(cls, "seed("))


def _refuse_generators(graph: fx.GraphModule, cls: type) -> None:
    for node in graph.graph.nodes:
        is_one = node.op == "get_attr" and not isinstance(getattr(graph, str(node.target)), Tensor)
        if is_one or any(isinstance(value, torch.Generator) for value in node.kwargs.values()):
            where = _line_of_node(node) or line_of(cls)
            raise NotCapturedError("a torch.Generator of its own is drawn from", where)


def _line_with(cls: type, *words: str) -> str:
    """Return the first line of a class that has one of some words, or else that of the class."""
    with suppress(OSError, TypeError):
        lines, start = inspect.getsourcelines(cls)
        for number, line in enumerate(lines, start):
            if any(word in line for word in words):
                return location(inspect.getfile(cls), number)
    return line_of(cls)


def _refuse_changing_shapes(graph: fx.GraphModule, cls: type) -> None:
    """Refuse what a graph would repeat with the sizes of the batch that it was recorded on."""
    for node in graph.graph.nodes:
        if is_of_changing_shape(node):
            raise NotCapturedError(words_for_shape(node), _line_of_node(node) or line_of(cls))


def _refuse_difference(first: fx.GraphModule, second: fx.GraphModule, cls: type) -> None:
    a_nodes, b_nodes = list(first.graph.nodes), list(second.graph.nodes)
    for a, b in zip(a_nodes, b_nodes, strict=False):
        if not _same(a, b, first, second):
            where = _line_of_node(a) or _line_of_node(b) or line_of(cls)
            raise NotCapturedError("what is computed changes from call to call", where)


def _same(a: fx.Node, b: fx.Node, first: fx.GraphModule, second: fx.GraphModule) -> bool:
    if a.op == b.op == "get_attr":
        ours, theirs = getattr(first, str(a.target)), getattr(second, str(b.target))
        return ours is theirs or torch.equal(ours, theirs)
    return repr((a.op, a.target, a.args, a.kwargs)) == repr((b.op, b.target, b.args, b.kwargs))


def _line_of_node(node: fx.Node) -> str:
    """Return the user's line that a node, or the first one that uses it, comes from.

    A constant is recorded where it is first used, which may be deep inside torch or Pyro.
    """
    generation = [node]
    for _ in range(_GENERATIONS):
        for member in generation:
            if member.meta.get(_LINE):
                return str(member.meta[_LINE])
        generation = [user for member in generation for user in member.users]
    return ""


def _lent(first: fx.GraphModule, second: fx.GraphModule) -> list[fx.Node]:
    """Return the nodes of tensors that came in twice, and not as an input."""
    seen = {id(getattr(second, str(n.target))) for n in second.graph.nodes if n.op == "get_attr"}
    nodes = [node for node in first.graph.nodes if node.op == "get_attr"]
    return [node for node in nodes if id(getattr(first, str(node.target))) in seen]


def _refuse_changes_of(lent: Sequence[fx.Node], graph: fx.GraphModule, cls: type) -> None:
    for node in graph.graph.nodes:
        if changes(node) and origin(node.args[0]) in lent:
            reason = "a tensor that belongs to no module changes; make it a buffer"
            raise NotCapturedError(reason, _line_of_node(node) or line_of(cls))
