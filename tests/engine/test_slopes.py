"""Densities whose gradient is captured."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor

from vaezoo.engine.functions.slopes import Slope
from vaezoo.inference import target as targets
from vaezoo.inference.hmc import hmc
from vaezoo.inference.target import Target
from vaezoo.pairs.particles import probing
from vaezoo.testing.pairs import LinearPair

X = torch.linspace(-1, 1, 12).reshape(3, 4)


def _quadratic(u: Tensor, args: Sequence[Tensor]) -> Tensor:
    return -(u - args[0].mean()).square().sum(-1)


def test_gradient_through_a_map_is_that_of_autograd() -> None:
    slope = Slope(_quadratic, LinearPair(), [X])
    w = torch.randn(2, 3, 2, requires_grad=True)
    factor = torch.randn(2, 2)
    ours = torch.autograd.grad(slope(w @ factor).sum(), w)[0]
    theirs = torch.autograd.grad(_quadratic(w @ factor, [X]).sum(), w)[0]
    assert torch.equal(ours, theirs)


def test_few_gradients_are_not_captured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "Slope", None)  # would be called
    with probing(LinearPair(), X.device):
        Target(LinearPair(), (X,), "a test").expect(10)


def test_draws_are_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    pair = LinearPair()
    plain = hmc(pair, (X,), num_samples=10, num_warmup=10).unconstrained
    monkeypatch.setattr(targets, "FEWEST_GRADIENTS_CAPTURED", 1)
    assert torch.equal(hmc(pair, (X,), num_samples=10, num_warmup=10).unconstrained, plain)


def test_what_cannot_be_captured_runs_as_it_is() -> None:
    def reads(u: Tensor, args: Sequence[Tensor]) -> Tensor:
        return _quadratic(u, args) * float(args[0].max().item())

    u = torch.ones(1, 3, 2, requires_grad=True)
    assert torch.equal(Slope(reads, LinearPair(), [X])(u), reads(u, [X]))
