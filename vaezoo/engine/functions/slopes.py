"""A density of latents whose gradient is captured, as samplers ask for it thousands of times."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.engine.functions.repeated import Repeated

__all__ = ["FEWEST_GRADIENTS_CAPTURED", "Slope"]

# Capturing takes as long as about so many evaluations of a small pair, the import of the tracer
# included.
FEWEST_GRADIENTS_CAPTURED = 1_000


class Slope:
    """Gives log-densities that know their gradient by the latents, both by one captured function.

    On the CPU the bits are those of the function itself. What cannot be captured runs as it is.

    Parameters
    ----------
    log_density
        From latents ``(S, B, L)`` and a batch to ``(S, B)``, in nats; each depends on its own
        latents only.
    pair
        Whose parameters and buffers it may use.
    args
        The batch.

    Examples
    --------
    >>> slope = Slope(lambda u, args: -(u - args[0]).square().sum(-1), nn.ReLU(), [torch.ones(1)])
    >>> u = torch.zeros(1, 1, 2, requires_grad=True)
    >>> log_p = slope(u)
    >>> log_p, torch.autograd.grad(log_p.sum(), u)[0]
    (tensor([[-2.]], grad_fn=<_KnownBackward>), tensor([[[2., 2.]]]))
    """

    def __init__(
        self,
        log_density: Callable[[Tensor, Sequence[Tensor]], Tensor],
        pair: nn.Module,
        args: Sequence[Tensor],
    ) -> None:
        def evaluate(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
            u, *batch = inputs
            with torch.enable_grad():
                u = u.detach().requires_grad_()
                log_p = log_density(u, batch)
                (gradient,) = torch.autograd.grad(log_p.sum(), u)
            return log_p.detach(), gradient

        self.args = tuple(args)
        self._evaluate = Repeated(evaluate, pair)

    def __call__(self, u: Tensor) -> Tensor:
        value, gradient = self._evaluate([u.detach(), *self.args])
        result: Tensor = _Known.apply(u, value.clone(), gradient.clone())  # type: ignore[no-untyped-call]
        return result


class _Known(torch.autograd.Function):
    """A value whose gradient is known."""

    @staticmethod
    def forward(ctx: Any, u: Tensor, value: Tensor, gradient: Tensor) -> Tensor:
        ctx.gradient = gradient
        return value

    @staticmethod
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor, None, None]:
        return outer[0].unsqueeze(-1) * ctx.gradient, None, None
