"""Isolation: a pair is run to learn something of it, and nothing remembers that it was."""

import gc
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import pyro
import torch
from torch import Tensor, nn

from vaezoo.runtime.device import rng_state, set_rng_state

__all__ = ["isolated", "plain_state", "uncollected", "uncompiled", "untouched"]

OF_TORCH = frozenset(vars(nn.Module()))

Undo = Callable[[], None]


@contextmanager
def isolated() -> Iterator[None]:
    """Run with an empty global parameter store, and leave the caller's store untouched.

    Examples
    --------
    >>> with isolated():
    ...     _ = pyro.param("scale", torch.ones(()))
    >>> "scale" in pyro.get_param_store()
    False
    """
    store = pyro.get_param_store()
    with store.scope(store.__class__().get_state()):
        yield


@contextmanager
def untouched(pair: nn.Module, device: torch.device) -> Iterator[None]:
    """Set back, at the end, what running a pair may change, except for its parameters.

    That is the buffers and attributes of its modules, lists and tensors among them, and the
    generators of torch, numpy and Python.

    Examples
    --------
    >>> norm = nn.BatchNorm1d(2)
    >>> with untouched(norm, torch.device("cpu")):
    ...     _ = norm(torch.rand(5, 2))
    >>> norm.running_mean
    tensor([0., 0.])
    """
    generators = (rng_state(device), np.random.get_state(), random.getstate())
    with ExitStack() as undo:
        undo.callback(_set_generators, *generators, device)
        for module in pair.modules():
            undo.callback(_undo_attributes(module))
            undo.callback(_undo_buffers(module))
        yield


def _set_generators(
    torch_states: dict[str, Tensor],
    numpy_state: Any,
    python_state: Any,
    device: torch.device,
) -> None:
    set_rng_state(torch_states, device)
    np.random.set_state(numpy_state)
    random.setstate(python_state)


@contextmanager
def uncompiled() -> Iterator[None]:
    """Run what a user has put into ``torch.compile`` as it is, also where torch traces it.

    Every new shape and mode would be compiled, and nothing of it is used.

    Examples
    --------
    >>> network = nn.ReLU()  # or torch.compile(network)
    >>> with uncompiled():
    ...     network(torch.tensor([-1.0, 1.0]))
    tensor([0., 1.])
    """
    if "torch._dynamo" not in sys.modules:  # nothing is compiled
        yield
        return
    nested = torch._dynamo.config.patch(error_on_nested_fx_trace=False)
    with nested, torch.compiler.set_stance("force_eager"):
        yield


@contextmanager
def uncollected() -> Iterator[None]:
    """Let Python's collector of cycles wait, where many objects are made that stay.

    It would go through all that torch has imported, which takes a tenth of a second or two; and
    again when it is back, unless what has been made counts among the old objects.

    Examples
    --------
    >>> with uncollected():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if not gc.get_freeze_count():  # what somebody has frozen stays so
            gc.freeze()
            gc.unfreeze()  # into the oldest generation
        if was_enabled:
            gc.enable()


def _undo_buffers(module: nn.Module) -> Undo:
    before = [(name, b, b.clone()) for name, b in module.named_buffers(recurse=False)]

    @torch.no_grad()
    def undo() -> None:
        for name, buffer, value in before:
            setattr(module, name, buffer.copy_(value))

    return undo


def _undo_attributes(module: nn.Module) -> Undo:
    own = {name: value for name, value in vars(module).items() if name not in OF_TORCH}
    contents = {name: _content(value) for name, value in own.items()}

    def undo() -> None:
        for name in [name for name in vars(module) if name not in OF_TORCH]:
            if name not in own:
                del vars(module)[name]
        for name, value in own.items():
            vars(module)[name] = value
            _set_content(value, contents[name])

    return undo


def _content(value: Any) -> Any:
    """Return a copy of what can change inside a value."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    return value.copy() if type(value) in (list, dict, set, np.ndarray) else None


@torch.no_grad()
def _set_content(value: Any, content: Any) -> None:
    if isinstance(value, Tensor):
        value.copy_(content)
    elif type(value) is np.ndarray:
        value[...] = content
    elif type(value) is list:
        value[:] = content
    elif type(value) in (dict, set):
        value.clear()
        value.update(content)


def plain_state(pair: nn.Module) -> dict[str, object]:
    """Return what in Python changes from call to call where a call counts or draws.

    Plain values and sizes of containers by the name of the attribute, and the states of the global
    generators by the name of their module.

    Examples
    --------
    >>> plain_state(nn.Dropout(0.5))["p"]
    0.5
    """
    state: dict[str, object] = {}
    for prefix, module in pair.named_modules():
        for name, value in vars(module).items():
            if name in OF_TORCH:
                continue
            key = f"{prefix}.{name}".lstrip(".")
            if isinstance(value, bool | int | float | str):
                state[key] = value
            elif isinstance(value, list | dict | set):
                state[key] = len(value)
    algorithm, keys, *rest = np.random.get_state()
    state["numpy.random"] = (algorithm, np.asarray(keys).tobytes(), *rest)
    state["random"] = random.getstate()
    return state
