"""The same step written by hand in torch, as fast as it gets: what the engine is compared with.

No handlers, no distributions: a closed-form KL, binary cross-entropy from logits, and Adam in one
kernel or fused into the compiled step. Nothing clips gradients or looks for numbers that are not
finite.
"""

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import ClassVar

import torch
from _nets import Architecture, Feed
from torch import Tensor, nn
from torch.nn import functional

from vaezoo.objectives.base import PLAIN, Context
from vaezoo.pairs.sites import Args
from vaezoo.parts.networks import Activation

__all__ = [
    "HandWritten",
    "Networks",
    "Step",
    "fused_adam",
    "joint",
    "recorded",
    "whole",
    "with_kernel",
    "with_optimizer",
]

Step = Callable[[], Tensor | float]

LR, BETA1, BETA2, EPS = 1e-3, 0.9, 0.999, 1e-8
UNGUARDED = {"guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
ACTIVATIONS: dict[Activation, type[nn.Module]] = {"tanh": nn.Tanh, "relu": nn.ReLU}


class Encoder(nn.Module):
    """x to mean and log-variance of q(z | x)."""

    def __init__(self, body: nn.Module, width: int, z_dim: int) -> None:
        super().__init__()
        self.body = body
        self.loc = nn.Linear(width, z_dim)
        self.log_var = nn.Linear(width, z_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.loc(h), self.log_var(h)


class Networks(nn.Module):
    """Decoder and encoder; called on a batch, they give its loss in nats per datum.

    Their parameters stand in the order of those of the zoo's pair.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        make = _convolutional if architecture.net == "conv" else _fully_connected
        self.decoder, body = make(architecture)
        self.encoder = Encoder(body, architecture.hidden[-1], architecture.z_dim)
        self.num_draws = architecture.num_draws

    def forward(self, x: Tensor) -> Tensor:
        return self._elbo(x) if self.num_draws == 1 else self._iwae(x)

    def _elbo(self, x: Tensor) -> Tensor:
        loc, log_var = self.encoder(x)
        sigma = torch.exp(0.5 * log_var)
        logits = self.decoder(loc + sigma * torch.randn_like(loc))
        recon = functional.binary_cross_entropy_with_logits(logits, x, reduction="sum")
        kl = 0.5 * (loc.square() + sigma.square() - 1 - log_var).sum()
        return (recon + kl) / len(x)

    def _iwae(self, x: Tensor) -> Tensor:
        loc, log_var = self.encoder(x)
        noise = torch.randn(self.num_draws, *loc.shape, device=x.device)
        z = loc + torch.exp(0.5 * log_var) * noise
        logits = self.decoder(z)
        recon = functional.binary_cross_entropy_with_logits(
            logits, x.expand_as(logits), reduction="none"
        )
        log_w = 0.5 * (noise.square() - z.square() + log_var).sum(-1) - recon.sum(-1)
        return math.log(self.num_draws) - log_w.logsumexp(0).mean()


def _fully_connected(architecture: Architecture) -> tuple[nn.Module, nn.Module]:
    (x_dim,), hidden = architecture.x_shape, architecture.hidden
    decoder = _layers((architecture.z_dim, *hidden[::-1]), architecture.activation)
    body = nn.Sequential(*_layers((x_dim, *hidden), architecture.activation))
    return nn.Sequential(*decoder, nn.Linear(hidden[0], x_dim)), body


def _layers(sizes: tuple[int, ...], activation: Activation) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), ACTIVATIONS[activation]()]
    return layers


def _convolutional(architecture: Architecture) -> tuple[nn.Module, nn.Module]:
    """28 x 28 to 14 x 14 to 7 x 7, 32 channels, and back."""
    act, (width,) = ACTIVATIONS[architecture.activation], architecture.hidden
    decoder = nn.Sequential(
        *_layers((architecture.z_dim, width, 32 * 7 * 7), architecture.activation),
        nn.Unflatten(1, (32, 7, 7)),
        *(nn.ConvTranspose2d(32, 32, 4, 2, 1), act()),
        nn.ConvTranspose2d(32, 1, 4, 2, 1),
    )
    body = nn.Sequential(
        *(nn.Conv2d(1, 32, 4, 2, 1), act(), nn.Conv2d(32, 32, 4, 2, 1), act(), nn.Flatten()),
        *_layers((32 * 7 * 7, width), architecture.activation),
    )
    return decoder, body


class HandWritten:
    """The loss above as an objective of the engine: only its spelling differs from the zoo's."""

    judged_by_elbo: ClassVar[bool] = True

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """There is nothing to choose."""

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return the loss of a batch, in nats per datum."""
        return pair(*args)


def with_optimizer(networks: Networks, loss: Callable[[Tensor], Tensor], feed: Feed) -> Step:
    """``torch.optim.Adam(fused=True)``, as the documentation of torch has it."""
    optimizer = torch.optim.Adam(networks.parameters(), LR, fused=True)

    def step() -> Tensor:
        optimizer.zero_grad()
        value = loss(feed())
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def with_kernel(networks: Networks, loss: Callable[[Tensor], Tensor], feed: Feed) -> Step:
    """The kernel of that optimiser called directly: none of its bookkeeping, no ``.grad``."""
    parameters = list(networks.parameters())
    update = fused_adam(parameters)

    def step() -> Tensor:
        value = loss(feed())
        update(torch.autograd.grad(value, parameters))
        return value.detach()

    return step


def fused_adam(parameters: list[nn.Parameter]) -> Callable[[tuple[Tensor, ...]], None]:
    """Return the fused kernel of Adam with its state, a function of the gradients."""
    values = [parameter.detach() for parameter in parameters]
    first, second = ([torch.zeros_like(value) for value in values] for _ in range(2))
    count = torch.zeros((), device=values[0].device)

    def update(gradients: tuple[Tensor, ...]) -> None:
        count.add_(1)
        torch._fused_adam_(
            values,
            list(gradients),
            first,
            second,
            [],
            [count] * len(values),
            lr=LR,
            beta1=BETA1,
            beta2=BETA2,
            weight_decay=0.0,
            eps=EPS,
            amsgrad=False,
            maximize=False,
        )

    return update


def joint(networks: Networks, feed: Feed) -> Step:
    """Loss and gradients in one compiled graph, its guards skipped, then the kernel of Adam."""
    parameters = dict(networks.named_parameters())
    compiled = torch.compile(
        _evaluation(networks, parameters), fullgraph=True, dynamic=False, options=UNGUARDED
    )
    update = fused_adam(list(parameters.values()))

    def step() -> Tensor:
        with torch.no_grad():
            gradients, value = compiled(feed())
            update(tuple(gradients.values()))
        return value

    return step


def whole(networks: Networks, feed: Feed) -> Step:
    """Loss, gradients and Adam in one compiled graph, its guards skipped."""
    parameters = {name: value.detach() for name, value in networks.named_parameters()}
    first = {name: torch.zeros_like(value) for name, value in parameters.items()}
    second = {name: torch.zeros_like(value) for name, value in parameters.items()}
    count = torch.zeros((), device=feed.batch.device)
    evaluate = _evaluation(networks, parameters)

    def function(x: Tensor) -> Tensor:
        gradients, value = evaluate(x)
        count.add_(1)
        lr = LR / (1 - BETA1**count)
        root = torch.sqrt(1 - BETA2**count)
        for name, gradient in gradients.items():
            mean = first[name].lerp_(gradient, 1 - BETA1)
            square = second[name].mul_(BETA2).addcmul_(gradient, gradient, value=1 - BETA2)
            parameters[name].sub_(lr * mean / (square.sqrt() / root + EPS))
        return value

    compiled = torch.compile(function, fullgraph=True, dynamic=False, options=UNGUARDED)

    def step() -> Tensor:
        with torch.no_grad():
            return compiled(feed())

    return step


def _evaluation(
    networks: Networks, parameters: Mapping[str, Tensor]
) -> Callable[[Tensor], tuple[dict[str, Tensor], Tensor]]:
    """Return a function of a batch that gives gradients, by name, and loss."""

    def loss(values: Mapping[str, Tensor], x: Tensor) -> Tensor:
        return torch.func.functional_call(networks, values, (x,))

    def evaluate(x: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        return torch.func.grad_and_value(loss)(parameters, x)

    return evaluate


def recorded(networks: Networks, loss: Callable[[Tensor], Tensor], feed: Feed) -> Step:
    """Loss, gradients and fused Adam as one CUDA graph; the batch is gathered in its place."""
    optimizer = torch.optim.Adam(networks.parameters(), LR, fused=True, capturable=True)

    def evaluate() -> Tensor:
        optimizer.zero_grad()
        value = loss(feed.batch)
        value.backward()
        optimizer.step()
        return value.detach()

    feed()
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            evaluate()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        value = evaluate()

    def step() -> Tensor:
        feed()
        graph.replay()
        return value

    step.recorded = evaluate  # its kernels have to stay loaded
    return step
