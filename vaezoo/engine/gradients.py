"""Loss and gradients of a pair on a batch: the function that every tier of the engine evaluates."""

import functools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pyro
import torch
from torch import Tensor, nn

from vaezoo.engine.capture import Function
from vaezoo.engine.precision import networks_in
from vaezoo.objectives.base import Context, Objective
from vaezoo.options import Precision
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import Args, sample_sites, trace_pair

__all__ = ["Prepare", "describe_failure", "filled_up", "loss_and_gradients"]

Prepare = Callable[[Sequence[Tensor]], Args]


def loss_and_gradients(
    pair: nn.Module,
    objective: Objective,
    parameters: Sequence[Tensor],
    prepare: Prepare,
    *,
    max_norm: float,
    precision: Precision,
    masked: bool,
    num_data: float = math.inf,
) -> Function:
    """Return a function of ``(beta, *raw)``, or of ``(beta, mask, *raw)``.

    Returns
    -------
    Function
        Gives the loss, in nats per datum; what gradients are to be divided by so that their norm is
        at most ``max_norm``; whether loss and gradients are finite; and the gradients.
    """

    def evaluate(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        beta, *raw = inputs
        mask = raw.pop(0) if masked else None
        args = prepare(raw)
        with _unvalidated(), networks_in(precision, args[0].device):
            loss = objective.loss(pair, args, Context(beta, mask, num_data=num_data))
        gradients = _apart(
            torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True),
            parameters,
        )
        loss = loss.detach()
        norms = [torch.linalg.vector_norm(gradient) for gradient in gradients]
        widest = functools.reduce(torch.promote_types, [norm.dtype for norm in norms])
        norm = torch.linalg.vector_norm(torch.stack([norm.to(widest) for norm in norms]))
        divisor = (norm / max_norm).clamp(min=1.0)
        return loss, divisor, torch.isfinite(loss + norm), *gradients

    return evaluate


def _apart(gradients: Sequence[Tensor], parameters: Sequence[Tensor]) -> list[Tensor]:
    """Return gradients that lie in memory as the parameters do, each in its own.

    The fused update goes through both side by side, and may overwrite gradients.
    """
    taken: set[int] = set()
    apart = []
    for gradient, parameter in zip(gradients, parameters, strict=True):
        memory = gradient.untyped_storage().data_ptr()
        if memory in taken or gradient.stride() != parameter.stride():
            gradient = torch.empty_like(parameter).copy_(gradient)
        taken.add(memory)
        apart.append(gradient.detach())
    return apart


@contextmanager
def _unvalidated() -> Iterator[None]:
    """Without Pyro's validation, which takes time, and its warning of NaN; the engine gives one."""
    with pyro.validation_enabled(False), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Encountered (NaN|inf)")
        yield


def filled_up(raw: Sequence[Tensor], num_rows: int) -> tuple[Tensor, list[Tensor]]:
    """Return a mask ``(num_rows,)`` of the rows of a batch, and it filled up with its first row.

    Examples
    --------
    >>> filled_up([torch.tensor([1.0, 2.0])], 4)
    (tensor([ True,  True, False, False]), [tensor([1., 2., 1., 1.])])
    """
    missing = num_rows - len(raw[0])
    mask = torch.arange(num_rows, device=raw[0].device) < len(raw[0])
    return mask, [torch.cat([tensor, tensor[[0] * missing]]) for tensor in raw]


@torch.no_grad()
def describe_failure(pair: nn.Module, args: Args) -> str:
    """Say which site and which parameter is not finite, and the range of the input."""
    with pyro.validation_enabled(False):
        trace = trace_pair(pair, args)
    sites = {**sample_sites(trace.guide), **sample_sites(trace.model)}
    reasons = [
        f"site '{name}' ({type(site['fn']).__name__}) has no finite log-density"
        for name, site in sites.items()
        if not (_finite(site["value"]) and _finite(log_density(site)))
    ][:1]
    reasons += [
        f"parameter '{name}' is not finite"
        for name, parameter in pair.named_parameters()
        if not _finite(parameter)
    ][:1]
    x = args[0]
    return "; ".join([*reasons, f"the input lies in [{float(x.min()):g}, {float(x.max()):g}]"])


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())
