"""Sequence pairs whose steps take more than the past: actions, labels."""

import pyro.distributions as dist
import pytest
import torch
from torch import Tensor, nn

from vaezoo.engine.recurrence.planned import Planned
from vaezoo.errors import RequestError
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.sites import argument_names, trace_pair
from vaezoo.sequences import PathPair, SequencePair


class Steered(SequencePair):
    """z_t | z_{t-1}, u_t with a label of the whole sequence in the likelihood."""

    hidden = 2

    def __init__(self, *, x_shape: tuple[int, ...] = (3,)) -> None:
        super().__init__()
        self.push, self.show = nn.Linear(4, 2), nn.Linear(3, *x_shape)
        self.see = nn.Linear(x_shape[0] + 4, 2)
        self.scale = nn.Parameter(torch.zeros(2))
        self.sigma = nn.Parameter(torch.zeros(x_shape))

    def prior(self, h: Tensor, u: Tensor) -> dist.Independent:
        return dist.Normal(self.push(torch.cat([h, u], -1)), self.scale.exp()).to_event(1)

    def posterior(self, e: Tensor, h: Tensor, u: Tensor) -> dist.Independent:
        return dist.Normal(self.see(torch.cat([e, h, u], -1)), self.scale.exp()).to_event(1)

    def likelihood(self, z: Tensor, h: Tensor, c: Tensor) -> dist.Independent:
        return dist.Normal(self.show(torch.cat([z, c], -1)), self.sigma.exp()).to_event(1)

    def transition(self, f: Tensor, z: Tensor, h: Tensor) -> Tensor:
        return z


class Forgetful(Steered):
    def model(self, x: Tensor, length: Tensor, *inputs: Tensor) -> None:
        super().model(x, length)


def batch() -> tuple[Tensor, ...]:
    torch.manual_seed(0)
    x, u, c = torch.randn(4, 6, 3), torch.randn(4, 6, 2), torch.randn(4, 1)
    return x, torch.tensor([6, 2, 5, 6]), u, c


def test_arguments_are_those_that_the_conditionals_take() -> None:
    assert argument_names(Steered) == ("x", "length", "u", "c")
    assert argument_names(PathPair(Steered())) == ("x", "length", "u", "c")


def log_joint(pair: nn.Module, steps: nn.Module, z: Tensor) -> tuple[Tensor, list[Tensor]]:
    """log p(x, z) + log q(z | x) of all rows, and its gradients."""
    numbered = {f"z_{t}": z[:, t] for t in range(z.shape[1])}
    with hold({"z": z, **numbered}):
        trace = trace_pair(pair, batch())
    total = trace.model.log_prob_sum() + trace.guide.log_prob_sum()
    return total, list(torch.autograd.grad(total, list(steps.parameters())))


def test_both_forms_have_one_density_and_its_gradients() -> None:
    steps = Steered()
    z = torch.randn(4, 6, 2)
    ours, theirs = (log_joint(form, steps, z) for form in (steps, PathPair(steps)))
    assert torch.allclose(ours[0], theirs[0], rtol=1e-5)
    for one, other in zip(ours[1], theirs[1], strict=True):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)


def test_a_model_that_keeps_inputs_for_itself_is_told() -> None:
    with pytest.raises(RequestError, match=r"`super\(\).model\(x, length, u, c\)`"):
        trace_pair(Forgetful(), batch())


def test_its_loop_is_planned() -> None:
    lines: list[str] = []
    steps = Steered()
    pair = PathPair(steps, Planned(lambda kind, line: lines.append(line)))
    trace = trace_pair(pair, batch())
    total = trace.model.log_prob_sum() - trace.guide.log_prob_sum()
    gradients = torch.autograd.grad(total, list(steps.parameters()))
    assert lines == []
    z = trace.guide.nodes["z"]["value"].detach()
    assert torch.allclose(log_joint(pair, steps, z)[0], log_joint(PathPair(steps), steps, z)[0])
    assert all(gradient.isfinite().all() for gradient in gradients)
