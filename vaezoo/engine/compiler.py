"""Inductor: a captured graph as compiled loops, and what compiling it costs."""

import copy
import getpass
import hashlib
import os
import re
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from vaezoo.engine.capture import Captured, Function, one_fake_mode
from vaezoo.engine.reduction import placeholders
from vaezoo.runtime.private import make_private
from vaezoo.runtime.storage import cache_folder

__all__ = [
    "SECONDS_PER_NODE",
    "NotCompiledError",
    "compile_function",
    "compile_graph",
    "expected_seconds",
    "plain_tanh",
    "seconds_saved",
]

SECONDS_PER_NODE = 0.15
SECONDS_FROM_CACHE = 4.0
SECONDS_SAVED_PER_NODE = 3e-6
aten = torch.ops.aten
_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


class NotCompiledError(Exception):
    """Inductor cannot compile a graph on this machine. The message is a line."""


def compile_graph(captured: Captured, args: Sequence[Tensor]) -> Function:
    """Return a captured function, compiled; random numbers stay those of torch's generators.

    Inductor keeps what it compiles on disk (``TORCHINDUCTOR_CACHE_DIR``), so that the next run of
    the same step starts in seconds.

    Raises
    ------
    NotCompiledError
        When there is no C++ compiler, or Inductor refuses the graph.
    """
    # Not torch.compile: its Dynamo would look for a graph that is there already, and put guards in
    # front of it that every step pays for. Inductor draws by a generator of its own unless it falls
    # back on torch's; then no tier would have the noise of the others.
    inputs: list[Tensor | int | torch.SymInt | None] = [
        *captured.owned,
        *args,
        *[draw.memory() for draw in captured.noise],
    ]
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            compiled = _compiled(captured.graph, inputs, {"fallback_random": True})
            _mark(captured.graph).touch()
    except Exception as error:
        raise NotCompiledError(_reason(error)) from error

    @torch.inference_mode()
    def run(args: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(compiled(*captured.inputs(args)))

    return run


def compile_function(
    function: Callable[..., Sequence[Tensor]], examples: Sequence[Tensor]
) -> Callable[..., Sequence[Tensor]]:
    """Return a function of tensors, compiled for the shapes and strides of some examples.

    Raises
    ------
    NotCompiledError
        When there is no C++ compiler, or Inductor refuses the function.
    """
    try:
        with torch.no_grad(), one_fake_mode(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            graph = make_fx(function)(*examples)
            compiled: Callable[..., Sequence[Tensor]] = _compiled(graph, list(examples), {})
    except Exception as error:
        raise NotCompiledError(_reason(error)) from error
    return compiled


def _compiled(graph: fx.GraphModule, inputs: list[Any], options: dict[str, bool]) -> Any:
    """Return a graph, compiled: on the CPU what calls the kernels, too, where Inductor can."""
    _cache_folder()
    inductor = _inductor()
    if inputs[0].device.type != "cpu":
        return inductor.compile(graph, inputs, options=options)
    graph = _with_plain_tanh(graph)
    with suppress(Exception):  # an operation that only Python can call
        return inductor.compile(graph, inputs, options={**options, "cpp_wrapper": True})
    return inductor.compile(graph, inputs, options=options)


def _with_plain_tanh(graph: fx.GraphModule) -> fx.GraphModule:
    """Return a copy of a graph whose tanh is written out."""
    changed = fx.GraphModule(graph, copy.deepcopy(graph.graph))
    for node in changed.graph.find_nodes(op="call_function", target=aten.tanh.default):
        value = node.meta.get("val")
        if value is not None and value.dtype == torch.float32:
            with changed.graph.inserting_before(node):
                node.replace_all_uses_with(plain_tanh(fx.Proxy(node.args[0])).node)
            changed.graph.erase_node(node)
    changed.recompile()
    return changed


def plain_tanh(x: Any) -> Any:
    """Return tanh, to 4e-7 of its value: near 0 a polynomial, elsewhere 1 - 2 / (exp(2 x) + 1).

    As in Cephes (Moshier 1992). The one that Inductor calls takes a twelfth of a step of 64-128-16
    more.
    """
    square = x * x
    series = square * -5.70498872745e-3 + 2.06390887954e-2
    for coefficient in (-5.37397155531e-2, 1.33314422036e-1, -3.33332819422e-1):
        series = series * square + coefficient
    near = series * square * x + x
    far = 1 - 2 / (torch.exp(2 * x) + 1)
    return torch.where(torch.abs(x) < 0.625, near, far)


def expected_seconds(graph: fx.GraphModule) -> float:
    """Return about how long compiling a graph will take; short when it has been done before."""
    seconds = SECONDS_PER_NODE * len(graph.graph.nodes)
    return min(seconds, SECONDS_FROM_CACHE) if _mark(graph).exists() else seconds


def seconds_saved(num_operations: float) -> float:
    """Return about how much shorter so many operations take when they are compiled."""
    return SECONDS_SAVED_PER_NODE * num_operations


def _mark(graph: fx.GraphModule) -> Path:
    """A file beside Inductor's own that says that a graph has been compiled here."""
    kinds = [str(node.meta.get("val", "")) for node in placeholders(graph.graph)]
    text = repr((graph.code, kinds, torch.__version__, torch.get_num_threads()))
    return _cache_folder() / f"vaezoo-{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def _inductor() -> Any:
    """Return Inductor, which with Dynamo takes as long to import as torch: once it is needed."""
    return import_module("torch._inductor")


def _cache_folder() -> Path:
    """Return where Inductor keeps what it compiles, and executes when it is there already.

    Its name below the folder for temporary files can be guessed, so that on a machine of many users
    somebody else could have made it: then it is one in the user's cache.
    """
    if _VARIABLE not in os.environ:
        choices = (_usual_folder(), cache_folder() / "inductor")
        own = next((str(folder) for folder in choices if make_private(folder)), None)
        os.environ[_VARIABLE] = own or tempfile.mkdtemp(prefix="vaezoo-inductor-")
    folder = Path(os.environ[_VARIABLE]).absolute()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _usual_folder() -> Path:
    """Return the folder that Inductor itself would take, without importing it."""
    try:
        user = getpass.getuser()
    except (ImportError, KeyError, OSError):  # a user whom the machine does not know by name
        user = f"uid_{os.getuid()}" if hasattr(os, "getuid") else "unknown_user"
    return Path(tempfile.gettempdir()) / ("torchinductor_" + re.sub(r'[\\/:*?"<>|]', "_", user))


def _reason(error: Exception) -> str:
    # By name, since the error is one of Inductor's own, and often wrapped in another.
    if "InvalidCxxCompiler" in f"{type(error)}{error}":
        return "no C++ compiler was found; install one (g++, clang or MSVC)"
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:160] if lines else ''}"
