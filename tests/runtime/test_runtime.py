"""What all rooms stand on leaves the machine as it was, and files whole."""

import gc
import os
import random
import signal
import subprocess
import sys
import weakref
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from torch import Tensor, nn

from vaezoo import RequestError
from vaezoo.runtime.device import device_of, find_device, seeded
from vaezoo.runtime.isolation import isolated, plain_state, uncollected, untouched
from vaezoo.runtime.signals import asked_to_stop

CPU = torch.device("cpu")


class Changing(nn.Module):
    """Changes in every way that a call may change it."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(2))
        self.weight = nn.Parameter(torch.ones(2))
        self.calls, self.seen, self.cache = 0, [1], {"a": 1}
        self.array, self.tensor = np.zeros(2), torch.zeros(2)

    def forward(self) -> None:
        self.count += 1
        self.count = torch.full((2,), 5.0)  # another tensor in its place
        self.calls += 1
        self.seen.append(2)
        self.cache["b"] = 2
        self.array += 1
        self.tensor.add_(1)
        self.other = "new"
        random.random(), np.random.rand(), torch.rand(())


def numpy_state() -> list[int]:
    state: Any = np.random.get_state()
    numbers: list[int] = state[1].tolist()
    return numbers


def attributes(module: Changing) -> list[Any]:
    values = (module.count, module.tensor, module.array)
    return [module.calls, list(module.seen), dict(module.cache), *[v.tolist() for v in values]]


def test_a_call_leaves_nothing_behind() -> None:
    module = Changing()
    buffer, before = module.count, attributes(module)
    generators = torch.get_rng_state(), random.getstate(), numpy_state()
    with untouched(module, CPU):
        module()
        assert attributes(module) != before
    assert attributes(module) == before
    assert module.count is buffer
    assert not hasattr(module, "other")
    assert torch.equal(torch.get_rng_state(), generators[0])
    assert (random.getstate(), numpy_state()) == generators[1:]


def test_nor_does_one_that_fails() -> None:
    module = Changing()
    before = attributes(module)
    with pytest.raises(RuntimeError, match="made up"):
        _fail_within(module)
    assert attributes(module) == before


def _fail_within(module: Changing) -> None:
    with untouched(module, CPU):
        module()
        raise RuntimeError("made up")


def test_state_says_what_a_call_changes() -> None:
    module = Changing()
    before = plain_state(module)
    module()
    after = plain_state(module)
    changed = {name for name in after if after[name] != before.get(name)}
    assert changed == {"calls", "seen", "cache", "other", "random", "numpy.random"}


def test_the_callers_parameter_store_is_set_aside() -> None:
    pyro.clear_param_store()
    pyro.param("own", torch.ones(()))
    with isolated():
        assert not list(pyro.get_param_store().keys())
        pyro.param("other", torch.ones(()))
    assert list(pyro.get_param_store().keys()) == ["own"]
    pyro.clear_param_store()


def test_a_seed_is_that_of_the_block() -> None:
    before = torch.get_rng_state()
    with seeded(3, CPU):
        first = torch.rand(3)
    assert torch.equal(torch.get_rng_state(), before)
    with seeded(3, CPU):
        assert torch.equal(torch.rand(3), first)


def test_a_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert find_device() == CPU
    with pytest.raises(RequestError, match=r"no cuda device; `device` takes: auto, cpu"):
        find_device("cuda")


def test_a_module_without_parameters_is_on_the_cpu() -> None:
    assert device_of(nn.Identity()) == CPU


def test_a_second_signal_stops_at_once() -> None:
    handler = signal.getsignal(signal.SIGTERM)
    with asked_to_stop() as is_asked:
        assert not is_asked()
        signal.raise_signal(signal.SIGTERM)
        assert is_asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is handler


def test_a_collector_that_was_off_stays_off() -> None:
    gc.disable()
    try:
        with uncollected():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_what_is_made_uncollected_is_collected_later() -> None:
    class Cycle:
        pass

    with uncollected():
        cycle = Cycle()
        cycle.itself = cycle  # type: ignore[attr-defined]
    alive = weakref.ref(cycle)
    del cycle
    gc.collect()
    assert alive() is None


FAULTS = """
import resource, torch
from vaezoo.runtime.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        [torch.ones(2**21) for _ in range(4)]  # four of 8 MB at a time
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

before = faults()
keep_freed_memory()
faults()
print(before, faults())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is kept on Linux alone")
def test_memory_that_is_freed_is_not_cleared_for_the_next_tensor() -> None:
    unset = {k: v for k, v in os.environ.items() if "MALLOC" not in k and k != "GLIBC_TUNABLES"}
    command = [sys.executable, "-c", FAULTS]
    result = subprocess.run(command, capture_output=True, text=True, check=True, env=unset)
    before, after = map(int, result.stdout.split())
    assert after < 0.1 * before
