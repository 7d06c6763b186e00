"""What a step recorded as one CUDA graph may rely on, with a stand-in where there is no GPU.

The stand-in replays a step as a recording does: on the tensors that it was recorded on, to which
later inputs are copied.
"""

from collections.abc import Callable, Sequence
from typing import Any

import pyro
import pytest
import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vaezoo import load_data
from vaezoo.config import build_model
from vaezoo.data.batches import Batches
from vaezoo.data.sets.sources import DEFAULT_SOURCES
from vaezoo.data.transform import Transform
from vaezoo.engine import cudagraph, tiers
from vaezoo.engine.cudagraph import NotRecordedError
from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.tiers import Engine
from vaezoo.models.vae_linear import VAELinear
from vaezoo.objectives import ELBO
from vaezoo.pairs.sites import argument_names
from vaezoo.registry import entries, get_model
from vaezoo.sequences.paths import training_form


class Replayed:
    """Replays a step on the tensors that it was recorded on."""

    def __init__(
        self, step: Callable[..., Tensor], inputs: Sequence[Tensor], state: Any, pool: Any
    ) -> None:
        self.step, self.inputs = step, tuple(inputs)

    def __call__(self, inputs: Sequence[Tensor]) -> Tensor:
        for recorded, value in zip(self.inputs, inputs, strict=True):
            if recorded is not value:
                recorded.copy_(value)
        return self.step(self.inputs).clone()


class Waiting:
    """A step that cannot be recorded."""

    def __init__(self, *args: Any) -> None:
        raise NotRecordedError("called a synchronizing CUDA operation")


@pytest.fixture
def on_gpu(monkeypatch: pytest.MonkeyPatch) -> Callable[[type], None]:
    """Let the engine take this device for one on which steps are recorded."""

    def take(stand_in: type) -> None:
        monkeypatch.setattr(tiers, "is_recordable", lambda device: True)
        monkeypatch.setattr(torch.cuda, "graph_pool_handle", lambda: (0, 0))
        monkeypatch.setattr(cudagraph, "CudaGraph", stand_in)

    return take


def losses_of(sizes: Sequence[int], said: list[str] | None = None) -> list[float]:
    torch.manual_seed(0)
    pair, rows = VAELinear(x_shape=(4,), z_dim=2), torch.randn(8, 4)
    optimizer = Optimizer("adam", list(pair.parameters()), lr=0.01)
    step = Engine(
        pair,
        ELBO(),
        optimizer,
        engine="graph",
        batch_size=8,
        notify=lambda kind, line: (said or []).append(line),
    )
    torch.manual_seed(1)
    return [float(step((rows[:size].clone(),))) for size in sizes]


def test_a_short_batch_masks_no_row_of_those_behind_it(on_gpu: Callable[[type], None]) -> None:
    sizes = (8, 8, 3, 8, 8)
    expected = losses_of(sizes)
    on_gpu(Replayed)
    assert losses_of(sizes) == pytest.approx(expected, rel=1e-6)


def test_a_step_that_waits_is_taken_without_a_recording(on_gpu: Callable[[type], None]) -> None:
    expected, said = losses_of((8, 8)), [""]
    on_gpu(Waiting)
    assert losses_of((8, 8), said) == expected
    assert said[1].startswith("steps are not recorded as one CUDA graph: called a synchronizing")


# Tensors on the CPU, wherever the batch is

FACTORIES = {
    getattr(torch, name)
    for name in (
        *("tensor", "zeros", "ones", "full", "arange", "eye", "empty", "linspace"),
        *("rand", "randn", "randint", "randperm", "tril_indices", "triu_indices"),
    )
}


class OnTheCPU(TorchFunctionMode):
    """Notes what is made on the default device, of no other tensor, and is more than a number."""

    def __init__(self) -> None:
        super().__init__()
        self.made: list[str] = []

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        if func in FACTORIES and "device" not in (kwargs or {}) and result.numel() > 1:
            self.made.append(f"{func.__name__} {tuple(result.shape)}")
        return result


def test_a_loss_makes_nothing_on_the_cpu(structure: str) -> None:
    """On a GPU it would have to be moved there in each step, which no recording can hold."""
    cls, entry = get_model(structure), {entry.name: entry for entry in entries()}[structure]
    data = load_data(DEFAULT_SOURCES[entry.data])
    pair = build_model(cls, {}, data.x_shape)
    batches = Batches(data, Transform(), argument_names(pair), torch.device("cpu"))
    args = batches.few_frames(next(batches.fixed("train", limit=6)))
    form, objective = training_form(pair), ELBO()
    objective.prepare(form, args)
    with pyro.validation_enabled(False), OnTheCPU() as watch:
        objective.loss(form, args).backward()  # type: ignore[no-untyped-call]
    assert watch.made == []


def test_a_flat_prior_has_its_density_where_its_values_are() -> None:
    """pyro's own has it on the CPU."""
    from pyro.distributions import ImproperUniform, constraints

    from vaezoo.pairs.plates import log_density

    value = torch.zeros(3, 2, device="meta")
    fn: Any = ImproperUniform(constraints.real, (), (2,))
    site: Any = {"fn": fn, "value": value, "scale": 1.0, "mask": None, "cond_indep_stack": ()}
    assert log_density(site).device == value.device
