"""A captured function is the function: same values, same noise, same changes, and no trace left."""

import contextlib
import random
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyro
import pytest
import torch
from pyro import distributions as dist
from pyro.nn import PyroModule, PyroParam
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import get_proxy_mode

from vaezoo.engine.capture import Function, NotCapturedError, capture
from vaezoo.engine.gradients import loss_and_gradients
from vaezoo.models.vae import VAEBernoulli, VAEGaussian
from vaezoo.objectives import ELBO
from vaezoo.parts.axes import Part
from vaezoo.registry import get_model

Plain: Any = get_model(str(Path(__file__).parent / "pairs" / "plain.py"))


def step_of(pair: nn.Module, x: Tensor) -> tuple[Function, list[Tensor]]:
    """Loss and gradients of the ELBO as a function of ``(beta, step, x)``, and arguments for it."""
    objective = ELBO()
    objective.prepare(pair, (x,))
    parameters = [parameter for parameter in pair.parameters() if parameter.requires_grad]
    function = loss_and_gradients(
        pair,
        objective,
        {"pair": parameters},
        tuple,
        max_norm=float("inf"),
        precision="float32",
        masked=False,
    )
    return function, [torch.tensor(0.7), torch.zeros(()), x]


def outcome(function: Function, args: Sequence[Tensor], seed: int) -> list[Tensor]:
    torch.manual_seed(seed)
    return [result.clone() for result in function(args)]


def require_equal(one: Sequence[Tensor], other: Sequence[Tensor]) -> None:
    assert [tuple(a.shape) for a in one] == [tuple(b.shape) for b in other]
    assert all(map(torch.equal, one, other))


class DropsOut(Plain):
    def encode(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return nn.functional.dropout(h, 0.5) + nn.functional.dropout(h, 0.5)


class DrawsTwice(Plain):
    def encode(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return h + torch.randn_like(h) * torch.randn_like(h)


class DrawsInPlace(Plain):
    def encode(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        return h + torch.empty_like(h).exponential_() - torch.empty_like(h).exponential_()


class DrawsForNothing(Plain):
    def encode(self, x: Tensor) -> Tensor:
        torch.randn(3)
        torch.rand_like(x)
        return self.encoder(x)


class Detaches(Plain):
    def encode(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            shift = self.encoder(x).mean(0)
        h = self.encoder(x)
        return h - shift + (h.detach() ** 2) * self.encoder.bias


class Closes(Plain):
    def __init__(self) -> None:
        super().__init__()
        weight = self.encoder.weight
        self.networks: list[Callable[[Tensor], Tensor]] = [lambda x: x @ weight.T]

    def encode(self, x: Tensor) -> Tensor:
        return self.networks[0](x)


class Clipped(torch.autograd.Function):
    """The identity, with a gradient of its own."""

    @staticmethod
    def forward(ctx: Any, h: Tensor) -> Tensor:
        return h.clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        return gradient.clamp(-0.01, 0.01)


class HasAGradientOfItsOwn(Plain):
    def encode(self, x: Tensor) -> Tensor:
        return torch.as_tensor(Clipped.apply(self.encoder(x)))


class MinibatchNorm(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(2)

    def encode(self, x: Tensor) -> Tensor:
        return self.norm(self.encoder(x))


class ChangesOrder(Plain):
    """Two latents, which model and guide visit in different orders: Trace_ELBO."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            y = pyro.sample("y", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            z = pyro.sample("z", dist.Normal(y, 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decode(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(self.encode(x), 0.5).to_event(1))
            pyro.sample("y", dist.Normal(z / 2, 0.7).to_event(1))


class IsDiscrete(Plain):
    """A latent without a path derivative: its score function."""

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Bernoulli(torch.full((2,), 0.5)).to_event(1))
            pyro.sample("x", dist.Normal(self.decode(z), 1.0).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Bernoulli(logits=self.encode(x)).to_event(1))


class OfPyro(PyroModule):
    """Modules and a constrained parameter of Pyro's."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = PyroModule[nn.Linear](4, 2)
        self.decoder = PyroModule[nn.Linear](2, 4)
        self.scale = PyroParam(torch.ones(4), constraint=dist.constraints.positive)

    def model(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            z = pyro.sample("z", dist.Normal(torch.zeros(2), 1.0).to_event(1))
            pyro.sample("x", dist.Normal(self.decoder(z), self.scale).to_event(1), obs=x)

    def guide(self, x: Tensor) -> None:
        with pyro.plate("data", len(x)):
            pyro.sample("z", dist.Normal(self.encoder(x), 0.5).to_event(1))


class HasNoUseForAParameter(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.ones(3))


class Draws(Plain):
    """Gamma, exponential, Laplace and categorical draws, whose noise is not normal."""

    def encode(self, x: Tensor) -> Tensor:
        h = self.encoder(x)
        scale = dist.Gamma(h.exp(), 1.0).rsample() + dist.Exponential(h.exp()).rsample()
        shift = dist.Laplace(h, 1.0).rsample() + dist.Laplace(h, 1.0).rsample()
        which = dist.Categorical(logits=h).sample()
        return h / (1 + scale) + 0.1 * shift + which[:, None]


def analytic() -> nn.Module:
    likelihood = Part("likelihood", "gaussian", get_gaussian(), {"sigma": "analytic"})
    return VAEGaussian(x_shape=(4,), z_dim=2, hidden=(4,), likelihood=likelihood)


def get_gaussian() -> Any:
    from vaezoo.parts.likelihoods import Gaussian

    return Gaussian


PAIRS: dict[str, Callable[[], nn.Module]] = {
    "plain": Plain,
    "dropout": DropsOut,
    "two-draws-of-one-tensor": DrawsTwice,
    "two-draws-in-place": DrawsInPlace,
    "unused-draws": DrawsForNothing,
    "no-grad-and-detach": Detaches,
    "closure": Closes,
    "autograd-function": HasAGradientOfItsOwn,
    "batch-norm": MinibatchNorm,
    "other-order": ChangesOrder,
    "score-function": IsDiscrete,
    "pyro-module": OfPyro,
    "unused-parameter": HasNoUseForAParameter,
    "other-families": Draws,
    "analytic-sigma": analytic,
}


@pytest.fixture(params=PAIRS)
def pair(request: pytest.FixtureRequest) -> nn.Module:
    return PAIRS[request.param]()


@pytest.fixture
def x() -> Tensor:
    return torch.randn(8, 4)


def test_equals_the_function_bit_by_bit(pair: nn.Module, x: Tensor) -> None:
    """On another batch, another weight of the KL term, and other noise than it was captured on."""
    function, args = step_of(pair, x)
    captured = capture(function, pair, args)
    args = [torch.tensor(1.9), torch.ones(()), torch.randn(8, 4)]
    loss, *gradients = outcome(captured, args, 3)
    expected_loss, *expected = outcome(function, args, 3)
    require_equal(gradients, expected)
    # Pyro adds up the loss of a score function in Python's numbers
    torch.testing.assert_close(loss, expected_loss, rtol=3e-7, atol=0.0)


def test_generators_go_on_as_after_the_function(pair: nn.Module, x: Tensor) -> None:
    """What is drawn and not used is drawn all the same, or the noise of the next step differs."""
    function, args = step_of(pair, x)
    captured = capture(function, pair, args)
    outcome(function, args, 3)
    expected = torch.get_rng_state()
    outcome(captured, args, 3)
    assert torch.equal(torch.get_rng_state(), expected)


def test_leaves_buffers_generators_and_gradients_alone(pair: nn.Module, x: Tensor) -> None:
    function, args = step_of(pair, x)
    before = [value.clone() for value in pair.state_dict().values()]
    states = (torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate())
    capture(function, pair, args)
    require_equal(list(pair.state_dict().values()), before)
    assert torch.equal(torch.get_rng_state(), states[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == states[1:]
    assert all(parameter.grad is None for parameter in pair.parameters())


def test_leaves_its_arguments_alone(x: Tensor) -> None:
    class Scales(Plain):
        def encode(self, x: Tensor) -> Tensor:
            return self.encoder(x.mul_(0.5))

    pair = Scales()
    function, args = step_of(pair, x)
    before = x.clone()
    with contextlib.suppress(NotCapturedError):
        capture(function, pair, args)
    assert torch.equal(x, before)


def test_draws_new_noise_in_every_call(x: Tensor) -> None:
    pair = Plain()
    function, args = step_of(pair, x)
    captured = capture(function, pair, args)
    losses = {float(captured(args)[0]) for _ in range(5)}
    assert len(losses) == 5


def test_sees_parameters_that_were_updated_in_place(x: Tensor) -> None:
    pair = Plain()
    function, args = step_of(pair, x)
    captured = capture(function, pair, args)
    with torch.no_grad():
        for parameter in pair.parameters():
            parameter.add_(torch.randn_like(parameter))
    require_equal(outcome(captured, args, 3), outcome(function, args, 3))


def test_sees_weights_that_were_loaded(x: Tensor) -> None:
    pair = Plain()
    function, args = step_of(pair, x)
    captured = capture(function, pair, args)
    pair.load_state_dict(Plain().state_dict())
    require_equal(outcome(captured, args, 3), outcome(function, args, 3))


@pytest.mark.parametrize("build", [MinibatchNorm, analytic], ids=["batch-norm", "analytic-sigma"])
def test_buffers_follow_over_several_calls(build: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    ours, theirs = build(), build()
    theirs.load_state_dict(ours.state_dict())
    batches = list(torch.randn(6, 8, 4))
    function, args = step_of(theirs, batches[0])
    captured = capture(*_in_order(ours, batches[0]))
    for x in batches:
        require_equal(outcome(captured, [*args[:2], x], 3), outcome(function, [*args[:2], x], 3))
    require_equal(list(ours.buffers()), list(theirs.buffers()))


def _in_order(pair: nn.Module, x: Tensor) -> tuple[Function, nn.Module, list[Tensor]]:
    function, args = step_of(pair, x)
    return function, pair, args


def test_leaves_the_parameter_store_alone(x: Tensor) -> None:
    pair = OfPyro()
    function, args = step_of(pair, x)
    function(args)
    names = set(pyro.get_param_store())
    capture(function, pair, args)
    assert set(pyro.get_param_store()) == names


def test_gradient_of_a_tensor_of_its_own_is_kept(x: Tensor) -> None:
    """The gradient that Clipped gives, not that of the identity."""
    gradients = []
    for cls in (HasAGradientOfItsOwn, Plain):
        torch.manual_seed(0)
        pair = cls()
        function, args = step_of(pair, 10 * x)
        gradients.append(outcome(capture(function, pair, args), args, 3)[3:])
    bias = [gradient for gradient in gradients[0] if gradient.shape == (2,)]
    assert bias
    assert any(not torch.equal(a, b) for a, b in zip(*gradients, strict=True))


# What is refused, and where that is


def refusal(cls: type[nn.Module], x: Tensor) -> str:
    pair = cls()
    function, args = step_of(pair, x)
    with pytest.raises(NotCapturedError) as caught:
        capture(function, pair, args)
    return str(caught.value)


def here(text: str) -> str:
    """Return ``file.py:line`` of the line of this file that ends in a comment."""
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    return f"{Path(__file__).name}:{next(i for i, li in enumerate(lines, 1) if li.endswith(text))}"


def test_a_value_that_is_read_is_refused_with_its_line(x: Tensor) -> None:
    class Reads(Plain):
        def encode(self, x: Tensor) -> Tensor:
            return self.encoder(x) * float(x.max())  # line of the read

    message = refusal(Reads, x)
    assert message.startswith("the value of a tensor is read")
    assert message.endswith(here("# line of the read"))


def test_a_number_that_changes_is_refused_with_its_line(x: Tensor) -> None:
    numbers = iter(range(1000))

    class Counts(Plain):
        def encode(self, x: Tensor) -> Tensor:
            return self.encoder(x) * next(numbers)  # line of the number

    message = refusal(Counts, x)
    assert message.startswith("what is computed changes from call to call")
    assert message.endswith(here("# line of the number"))


def test_a_tensor_that_changes_is_refused_with_its_line(x: Tensor) -> None:
    class Draws(Plain):
        def encode(self, x: Tensor) -> Tensor:
            noise = torch.from_numpy(np.random.default_rng().normal(size=2))
            return self.encoder(x) + noise.float()  # line of the tensor

    message = refusal(Draws, x)
    assert message.startswith("what is computed changes from call to call")
    assert re.search(rf"{Path(__file__).name}:\d+$", message)
    line = int(message.rpartition(":")[2])
    assert abs(line - int(here("# line of the tensor").rpartition(":")[2])) <= 1


def test_operations_that_change_are_refused(x: Tensor) -> None:
    class Alternates(Plain):
        calls = 0

        def encode(self, x: Tensor) -> Tensor:
            type(self).calls += 1
            return self.encoder(x).tanh() if type(self).calls % 3 else self.encoder(x)

    assert refusal(Alternates, x).startswith("what is computed changes from call to call")


def test_an_error_under_capture_is_one_line_that_says_where(x: Tensor) -> None:
    class Fails(Plain):
        def encode(self, x: Tensor) -> Tensor:
            if get_proxy_mode() is not None:
                raise ValueError("something\nis wrong")  # line of the error
            return self.encoder(x)

    message = refusal(Fails, x)
    assert message.startswith("ValueError: something is wrong: ")
    assert message.endswith(here("# line of the error"))


class Borrows(Plain):
    def __init__(self) -> None:
        super().__init__()
        self.lent = torch.ones(2)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x) * self.lent  # line of the loan


def test_tensors_of_no_module_are_named_with_their_lines(x: Tensor) -> None:
    pair = Borrows()
    function, args = step_of(pair, x)
    (line,) = capture(function, pair, args).unowned
    assert line.endswith(here("# line of the loan"))


def test_constants_are_not_named(x: Tensor) -> None:
    class MakesConstants(Plain):
        def encode(self, x: Tensor) -> Tensor:
            return self.encoder(x) * torch.tensor([1.0, 2.0]) + torch.ones(2)

    pair = MakesConstants()
    function, args = step_of(pair, x)
    assert capture(function, pair, args).unowned == ()


def test_tensors_of_no_module_are_followed_in_place(x: Tensor) -> None:
    pair = Borrows()
    function, args = step_of(pair, x)
    captured = capture(function, pair, args)
    pair.lent.mul_(3.0)
    require_equal(outcome(captured, args, 3), outcome(function, args, 3))


def test_tensors_of_no_module_are_followed_where_buffers_change(x: Tensor) -> None:
    """The graph is rewritten then; it must still hold the very tensor."""

    class BorrowsAndCounts(Borrows):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("calls", torch.zeros(()))

        def encode(self, x: Tensor) -> Tensor:
            self.calls.add_(1)
            return super().encode(x)

    pair = BorrowsAndCounts()
    function, args = step_of(pair, x)
    captured = capture(function, pair, args)
    pair.lent.mul_(3.0)
    require_equal(outcome(captured, args, 3), outcome(function, args, 3))


def test_a_pair_of_the_zoo_needs_no_python_of_its_own(x: Tensor) -> None:
    """The graph runs without the pair: its methods may be gone."""
    pair = VAEBernoulli(x_shape=(4,), z_dim=2, hidden=(4,))
    function, args = step_of(pair, torch.bernoulli(torch.rand(8, 4)))
    captured = capture(function, pair, args)
    expected = outcome(function, args, 3)
    pair.model = pair.guide = None
    require_equal(outcome(captured, args, 3), expected)
