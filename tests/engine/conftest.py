"""What the tests of the engine share: a pair that keeps the rules, and runs of steps to compare."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vaezoo.config import build_model, resolve
from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.tiers import Engine
from vaezoo.objectives import ELBO, Objective
from vaezoo.registry import entry_of, get_model
from vaezoo.runtime.isolation import isolated
from vaezoo.testing import made_up_batch

Batch = tuple[Tensor, ...]


@pytest.fixture(autouse=True)
def _own_parameter_store() -> Iterator[None]:
    with isolated():
        yield


@pytest.fixture(scope="session")
def pairs() -> Path:
    """The folder of pairs: ``plain.py`` keeps the rules, each of the others breaks one."""
    return Path(__file__).parent / "pairs"


@pytest.fixture(scope="session")
def plain(pairs: Path) -> type[nn.Module]:
    """A pair for vectors whose networks may be overridden: ``encode`` and ``decode``."""
    return get_model(str(pairs / "plain.py"))


@dataclass
class Steps:
    """What some steps did: the losses, and at their end weights, buffers and optimiser."""

    losses: list[float]
    state: dict[str, Tensor]
    notices: list[str]
    engine: Engine = field(repr=False)

    def require_same(self, other: "Steps", *, rtol: float = 0.0, atol: float = 0.0) -> None:
        """Fail unless losses and states agree; bit by bit by default."""
        ours, theirs = torch.tensor(self.losses), torch.tensor(other.losses)
        torch.testing.assert_close(ours, theirs, rtol=rtol, atol=0.0, msg=_prefixed("losses"))
        for name, value in other.state.items():
            torch.testing.assert_close(
                self.state[name], value, rtol=rtol, atol=atol, msg=_prefixed(name)
            )


def _prefixed(name: str) -> Callable[[str], str]:
    return lambda message: f"{name}: {message}"


TakeSteps = Callable[..., Steps]


@pytest.fixture
def take_steps() -> TakeSteps:
    """Build a pair from a seed, and train it on batches with one noise."""

    def take(
        build: Callable[[], nn.Module],
        batches: Sequence[Batch],
        *,
        engine: Any = "graph",
        objective: Objective | None = None,
        betas: Callable[[int], float] = lambda step: 1.0,
        before: Callable[[int, nn.Module], None] = lambda step, pair: None,
        optimizer: Any = "adam",
        **options: Any,
    ) -> Steps:
        torch.manual_seed(0)
        pair = build()
        objective = objective or ELBO()
        objective.prepare(pair, options.get("prepare", tuple)(batches[0]))
        updates = Optimizer(optimizer, list(pair.parameters()), lr=1e-2)
        notices: list[str] = []
        stepper = Engine(
            pair,
            objective,
            updates,
            engine=engine,
            notify=lambda kind, line: notices.append(line),
            **options,
        )
        torch.manual_seed(1)
        losses = []
        for step, batch in enumerate(batches):
            before(step, pair)
            losses.append(float(stepper(batch, betas(step))))
        state = {**pair.state_dict(), **updates.state_dict()}
        return Steps(losses, {k: v.clone() for k, v in state.items()}, notices, stepper)

    return take


@pytest.fixture
def vectors() -> Callable[..., list[Batch]]:
    """Different batches of normal vectors, ``(num_rows, 4)``."""

    def draw(number: int, num_rows: int = 8) -> list[Batch]:
        generator = torch.Generator().manual_seed(7)
        return [(torch.randn(num_rows, 4, generator=generator),) for _ in range(number)]

    return draw


@pytest.fixture(scope="session", autouse=True)
def _own_compiler_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path_factory.mktemp("inductor")))
        yield


# Small pairs of the zoo

_X_SHAPES = {"images": (2, 3), "vectors": (4,), "sequences": (3,)}
_NUM_FRAMES = 2


def _small(name: str) -> nn.Module:
    cls = get_model(name)
    config: dict[str, Any] = {}
    for setting, default in resolve(cls, {}).items():
        if setting == "z_dim" or (setting == "hidden" and isinstance(default, int)):
            config[setting] = 3
        elif setting in ("hidden", "decoder_hidden") and isinstance(default, list):
            config[setting] = [5]
    return build_model(cls, config, _X_SHAPES[entry_of(cls).data])


def _batches(name: str, number: int = 20) -> list[Batch]:
    pair, shape = _small(name), _X_SHAPES[entry_of(get_model(name)).data]
    torch.manual_seed(5)
    batches = [made_up_batch(pair, shape) for _ in range(number)]
    if not is_of_sequences(name):
        return batches
    return [tuple(map(_cut, batch)) for batch in batches]


def _cut(arg: Tensor) -> Tensor:
    """Cut an argument in time, or lengths, to the frames of the tests."""
    return arg.clamp(max=_NUM_FRAMES) if arg.dim() == 1 else arg[:, :_NUM_FRAMES]


def is_of_sequences(name: str) -> bool:
    return entry_of(get_model(name)).data == "sequences"


@pytest.fixture(scope="session")
def exact_small() -> Callable[[str], nn.Module]:
    """Build a small pair in the precision in which its tiers can be compared.

    A plan adds the gradients of the steps of a sequence in another order than autograd does, which
    float32 shows: Adam turns the last digit of a small gradient into a part of a step. In float64
    the orders differ by less than any tolerance of the tests.
    """
    return lambda name: _small(name).double() if is_of_sequences(name) else _small(name)


@pytest.fixture(scope="session")
def exact_batches_for() -> Callable[..., list[Batch]]:
    """Make up batches for such a pair."""

    def exact(name: str, number: int = 20) -> list[Batch]:
        batches = _batches(name, number)
        if not is_of_sequences(name):
            return batches
        return [
            tuple(arg.double() if arg.is_floating_point() else arg for arg in batch)
            for batch in batches
        ]

    return exact


@pytest.fixture(scope="session")
def small() -> Callable[[str], nn.Module]:
    """Build a pair of the zoo with narrow layers."""
    return _small


@pytest.fixture(scope="session")
def batches_for() -> Callable[..., list[Batch]]:
    """Make up different small batches for such a pair; sequences have two frames at most."""
    return _batches
