"""A whole step as one CUDA graph: the processor starts it with a single call."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from vaezoo.runtime.device import rng_state, set_rng_state

__all__ = ["CudaGraph"]

_WARM_UP_CALLS = 3


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
    """

    def __init__(
        self,
        step: Callable[[Sequence[Tensor]], Tensor],
        inputs: Sequence[Tensor],
        state: Sequence[Tensor],
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
            torch.cuda.current_stream().wait_stream(stream)
        # Recording runs nothing, so that the state needs no setting back after it.
        with torch.cuda.graph(self.graph):
            self.loss = step(self.inputs)

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        for recorded, value in zip(self.inputs, inputs, strict=True):
            if recorded is not value:
                recorded.copy_(value)
        self.graph.replay()
        return self.loss.clone()  # the next replay writes to the same memory


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
