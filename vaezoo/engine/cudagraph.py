"""A whole step as one CUDA graph: the processor starts it with a single call."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from vaezoo.runtime.device import rng_state, set_rng_state

__all__ = ["CudaGraph", "NotRecordedError", "is_recordable", "record"]

_WARM_UP_CALLS = 3


class NotRecordedError(Exception):
    """A step waits for the device, so that it cannot be recorded. The message is a clause."""


def is_recordable(device: torch.device) -> bool:
    """Whether steps on a device can be recorded."""
    return device.type == "cuda"


def record(
    step: Callable[[Sequence[Tensor]], Tensor],
    inputs: Sequence[Tensor],
    state: Sequence[Tensor],
    pool: Any,
    notify: Callable[[str, str], None],
) -> "CudaGraph | None":
    """Return a recorded step; None, and say why, for one that waits for the device."""
    try:
        return CudaGraph(step, inputs, state, pool)
    except NotRecordedError as error:
        notify("recording", f"steps are not recorded as one CUDA graph: {error}")
        return None


class CudaGraph:
    """Records a step on its first inputs and replays it on others of the same shapes.

    Parameters
    ----------
    step
        From inputs to the loss; it changes tensors in place and waits for nothing.
    inputs
        Where the step reads: a later input that is another tensor is copied there.
    state
        Tensors that the step changes, set back after the calls that warm it up.
    pool
        Memory that graphs share: one is replayed at a time, and what it gives is copied at once.

    Raises
    ------
    NotRecordedError
        When the step waits for the device.
    """

    def __init__(
        self,
        step: Callable[[Sequence[Tensor]], Tensor],
        inputs: Sequence[Tensor],
        state: Sequence[Tensor],
        pool: Any = None,
    ) -> None:
        self.inputs = tuple(inputs)
        self.graph = torch.cuda.CUDAGraph()
        # The first calls choose kernels, fill caches and start libraries, none of which may be
        # recorded; torch asks for them on another stream than the default one.
        with _set_back(state, inputs[0].device):
            stream = torch.cuda.Stream()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(_WARM_UP_CALLS):
                    step(self.inputs)
                with _refusing_to_wait():
                    step(self.inputs)
            torch.cuda.current_stream().wait_stream(stream)
        # Recording runs nothing, so that the state needs no setting back after it.
        with torch.cuda.graph(self.graph, pool=pool):
            self.loss = step(self.inputs)

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        for recorded, value in zip(self.inputs, inputs, strict=True):
            if recorded is not value:
                recorded.copy_(value)
        self.graph.replay()
        return self.loss.clone()  # the next replay writes to the same memory


@contextmanager
def _refusing_to_wait() -> Iterator[None]:
    """Say it in words when a step waits; a recording would break off, and leave its stream so."""
    mode = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    except RuntimeError as error:
        raise NotRecordedError(str(error).partition("\n")[0]) from error
    finally:
        torch.cuda.set_sync_debug_mode(mode)


@contextmanager
def _set_back(state: Sequence[Tensor], device: torch.device) -> Iterator[None]:
    """Undo what happens to tensors and generators."""
    rng, values = rng_state(device), [tensor.clone() for tensor in state]
    try:
        yield
    finally:
        torch.cuda.synchronize(device)
        set_rng_state(rng, device)
        with torch.no_grad():
            for tensor, value in zip(state, values, strict=True):
                tensor.copy_(value)
