"""Optimisers against those of torch and pyro, on the same gradients."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from pyro.optim.clipped_adam import ClippedAdam
from torch import Tensor, nn

from vaezoo.engine.optimizers import Optimizer
from vaezoo.engine.tiers import Engine
from vaezoo.errors import RequestError
from vaezoo.objectives import ELBO

SHAPES = [(3, 4), (3,), (), (1, 2, 2)]


def parameters(seed: int = 0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return [nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def gradients(number: int = 12, scale: float = 1.0) -> Iterator[list[Tensor]]:
    generator = torch.Generator().manual_seed(1)
    for _ in range(number):
        yield [scale * torch.randn(shape, generator=generator) for shape in SHAPES]


def take(optimizer: Optimizer, grads: list[Tensor], *, finite: bool = True) -> None:
    """Take a step on copies of gradients, which it may overwrite."""
    copies = [gradient.clone() for gradient in grads]
    optimizer.update(copies, torch.ones(()), torch.tensor(finite))


def follow(reference: torch.optim.Optimizer, grads: list[Tensor]) -> None:
    (group,) = reference.param_groups
    for parameter, gradient in zip(group["params"], grads, strict=True):
        parameter.grad = gradient.clone()
    reference.step()


REFERENCES: dict[str, tuple[dict[str, Any], Callable[..., torch.optim.Optimizer]]] = {
    "adam": ({}, torch.optim.Adam),
    "adam-with-decay": ({"weight_decay": 0.1}, torch.optim.Adam),
    "adamw": ({}, torch.optim.AdamW),
    "adamw-without-decay": ({"weight_decay": 0.0}, torch.optim.AdamW),
    "adagrad": ({}, torch.optim.Adagrad),
    "adagrad-with-decay": ({"weight_decay": 0.1}, torch.optim.Adagrad),
    "clipped-adam": ({}, ClippedAdam),
    "clipped-adam-with-decay": ({"weight_decay": 0.1}, ClippedAdam),
}


@pytest.mark.parametrize("case", REFERENCES)
def test_equals_the_reference(case: str) -> None:
    """Gradients of a size that clipped-adam clips, at 10."""
    options, reference_class = REFERENCES[case]
    name: Any = case.partition("-with")[0]
    ours, theirs = parameters(), parameters()
    optimizer = Optimizer(name, ours, lr=0.03, **options)
    reference = reference_class(theirs, lr=0.03, **options)
    for grads in gradients(scale=8.0):
        take(optimizer, grads)
        follow(reference, grads)
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_equals_the_fused_one_of_torch_bit_by_bit(name: Any) -> None:
    ours, theirs = parameters(), parameters()
    optimizer = Optimizer(name, ours, lr=0.03)
    cls = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    reference = cls(theirs, lr=torch.tensor(0.03), fused=True)
    for grads in gradients():
        take(optimizer, grads)
        follow(reference, grads)
    assert all(map(torch.equal, ours, theirs))


def test_the_first_step_of_adam_is_the_learning_rate() -> None:
    ours, before = parameters(), parameters()
    take(Optimizer("adam", ours, lr=0.03), next(gradients()))
    for new, old in zip(ours, before, strict=True):
        torch.testing.assert_close((new - old).abs(), torch.full_like(old, 0.03), rtol=1e-4, atol=0)


def test_the_learning_rate_decays_as_that_of_pyro() -> None:
    ours, theirs = parameters(), parameters()
    optimizer = Optimizer("clipped-adam", ours, lr=0.03, lr_decay=0.9)
    reference = ClippedAdam(theirs, lr=0.03, lrd=0.9)
    for grads in gradients():
        take(optimizer, grads)
        follow(reference, grads)
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)
    assert float(optimizer.lr) == pytest.approx(0.03 * 0.9**12, rel=1e-5)


# Clipping by norm


@pytest.mark.parametrize("name", ["adam", "adamw", "adagrad", "clipped-adam"])
@pytest.mark.parametrize("max_norm", [0.3, 100.0], ids=["clipped", "not-clipped"])
def test_clipping_by_norm_is_that_of_torch(name: Any, max_norm: float) -> None:
    ours, theirs = parameters(), parameters()
    optimizer, reference = (Optimizer(name, some, lr=0.03) for some in (ours, theirs))
    for grads in gradients():
        norm = torch.cat([gradient.flatten() for gradient in grads]).norm()
        divisor = (norm / max_norm).clamp(min=1.0)
        optimizer.update([g.clone() for g in grads], divisor, torch.tensor(True))
        for parameter, gradient in zip(theirs, grads, strict=True):
            parameter.grad = gradient.clone()
        nn.utils.clip_grad_norm_(theirs, max_norm)
        take(reference, [torch.as_tensor(parameter.grad) for parameter in theirs])
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["adam", "adamw", "adagrad", "clipped-adam"])
def test_one_gradient_of_two_parameters_is_clipped_once(name: Any) -> None:
    """Autograd hands the same tensor to both terms of a sum."""
    ours, gradient = [nn.Parameter(torch.zeros(3)) for _ in range(2)], torch.ones(3)
    optimizer = Optimizer(name, ours, lr=0.03)
    for _ in range(3):
        shared = gradient.clone()
        optimizer.update([shared, shared], torch.tensor(4.0), torch.tensor(True))
    assert torch.equal(ours[0], ours[1])
    assert torch.equal(optimizer.second[0], optimizer.second[1])


@pytest.mark.parametrize("tier", ["eager", "graph"])
def test_one_gradient_of_two_parameters_is_clipped_once_in_a_step(tier: Any, plain: Any) -> None:
    class HasTwoBiases(plain):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = (nn.Parameter(torch.zeros(2)) for _ in range(2))

        def encode(self, x: Tensor) -> Tensor:
            return self.encoder(x) + (self.a + self.b)

    pair = HasTwoBiases()
    engine = Engine(
        pair,
        ELBO(),
        Optimizer("adam", list(pair.parameters()), lr=0.01),
        clip_norm=0.1,
        engine=tier,
    )
    for _ in range(5):
        engine((torch.randn(8, 4),), 1.0)
    assert torch.equal(pair.a, pair.b)


# The state


@pytest.mark.parametrize("name", ["adam", "adamw", "adagrad", "clipped-adam"])
def test_the_state_is_all_there_is(name: Any) -> None:
    """A second optimiser that takes it over goes on in the same way, bit by bit."""
    ours, theirs = parameters(), parameters()
    first = Optimizer(name, ours, lr=0.03, lr_decay=0.99)
    for grads in gradients(5):
        take(first, grads)
    with torch.no_grad():
        for one, other in zip(ours, theirs, strict=True):
            other.copy_(one)
    second = Optimizer(name, theirs, lr=0.5, lr_decay=0.99)
    second.load_state_dict({key: value.clone() for key, value in first.state_dict().items()})
    for grads in gradients(5):
        take(first, grads)
        take(second, grads)
    assert all(map(torch.equal, ours, theirs))
    assert all(map(torch.equal, first.state_dict().values(), second.state_dict().values()))


def test_the_state_is_set_in_place() -> None:
    """A recorded step knows the tensors, not their names."""
    optimizer = Optimizer("adam", parameters(), lr=0.03)
    addresses = [value.data_ptr() for value in optimizer.state_dict().values()]
    optimizer.load_state_dict({k: v + 1 for k, v in optimizer.state_dict().items()})
    assert [value.data_ptr() for value in optimizer.state_dict().values()] == addresses


def test_the_state_of_other_parameters_is_refused() -> None:
    optimizer = Optimizer("adam", parameters(), lr=0.03)
    with pytest.raises(KeyError):
        optimizer.load_state_dict({"lr": torch.tensor(0.1)})
    wrong = {**optimizer.state_dict(), "0/first": torch.zeros(9)}
    with pytest.raises(ValueError, match=r"0/first has shape \(9,\)"):
        optimizer.load_state_dict(wrong)


def test_a_state_that_is_refused_changes_nothing() -> None:
    optimizer = Optimizer("adam", parameters(), lr=0.03)
    take(optimizer, next(gradients()))
    before = {key: value.clone() for key, value in optimizer.state_dict().items()}
    state = {**{key: value + 1 for key, value in before.items()}, "3/second": torch.zeros(9)}
    with pytest.raises(ValueError, match="has shape"):
        optimizer.load_state_dict(state)
    assert all(torch.equal(optimizer.state_dict()[key], before[key]) for key in before)


@pytest.mark.parametrize("name", ["adam", "adamw", "adagrad", "clipped-adam"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_step_that_is_not_finite_changes_nothing(name: Any, value: float) -> None:
    ours = parameters()
    optimizer = Optimizer(name, ours, lr=0.03, lr_decay=0.9, weight_decay=0.1)
    for grads in gradients(3):
        take(optimizer, grads)
    before = [tensor.clone() for tensor in (*ours, *optimizer.state_dict().values())]
    take(optimizer, [torch.full(shape, value) for shape in SHAPES], finite=False)
    assert float(optimizer.failed) == 1.0
    after = [*ours, *optimizer.state_dict().values()]
    assert all(map(torch.equal, before, after))


@pytest.mark.parametrize("name", ["adam", "adamw", "adagrad", "clipped-adam"])
def test_after_a_failure_no_step_is_taken(name: Any) -> None:
    """So that steps in flight on a GPU do no harm until somebody looks."""
    ours = parameters()
    optimizer = Optimizer(name, ours, lr=0.03)
    take(optimizer, next(gradients()), finite=False)
    for grads in gradients(3):
        take(optimizer, grads)
    assert all(map(torch.equal, ours, parameters()))
    assert float(optimizer.step) == 0.0


def test_a_loaded_state_may_go_on_after_a_failure() -> None:
    ours = parameters()
    optimizer = Optimizer("adam", ours, lr=0.03)
    state = {key: value.clone() for key, value in optimizer.state_dict().items()}
    take(optimizer, next(gradients()), finite=False)
    optimizer.load_state_dict(state)
    take(optimizer, next(gradients()))
    assert not torch.equal(ours[0], parameters()[0])


def test_frozen_parameters_are_left_out() -> None:
    some = parameters()
    some[1].requires_grad_(False)
    optimizer = Optimizer("adam", some, lr=0.03)
    assert [tuple(p.shape) for p in optimizer.parameters] == [SHAPES[0], SHAPES[2], SHAPES[3]]


def test_nothing_to_train_is_refused() -> None:
    with pytest.raises(RequestError, match="the pair has no parameter to train"):
        Optimizer("adam", [], lr=0.03)


def test_a_default_of_float64_changes_nothing() -> None:
    parameter = torch.nn.Parameter(torch.zeros(2, dtype=torch.float64))
    torch.set_default_dtype(torch.float64)
    try:
        optimizer = Optimizer("adam", [parameter], lr=0.1)
        optimizer.update([torch.ones_like(parameter)], torch.ones(()), torch.tensor(True))
    finally:
        torch.set_default_dtype(torch.float32)
    assert parameter.tolist() == pytest.approx([-0.1, -0.1])
