"""Loss and gradients of a pair on a batch: the function that every tier of the engine evaluates."""

import functools
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import accumulate

import pyro
import torch
from torch import Tensor, nn

from vaezoo.engine.capture import Function
from vaezoo.engine.precision import networks_in
from vaezoo.errors import RequestError
from vaezoo.objectives.base import Context, Objective
from vaezoo.objectives.losses import named_losses
from vaezoo.options import Precision
from vaezoo.pairs.sites import Args

__all__ = ["Prepare", "clipping", "filled_up", "loss_and_gradients"]

Prepare = Callable[[Sequence[Tensor]], Args]


def loss_and_gradients(
    pair: nn.Module,
    objective: Objective,
    groups: Mapping[str, Sequence[Tensor]],
    prepare: Prepare,
    *,
    max_norm: float,
    precision: Precision,
    masked: bool,
    num_data: float = math.inf,
) -> Function:
    """Return a function of ``(beta, step, *raw)``, or of ``(beta, step, mask, *raw)``.

    Each loss is differentiated by the parameters of its own group.

    Returns
    -------
    Function
        Gives the loss, in nats per datum; what gradients are to be divided by so that their norm is
        at most ``max_norm``; whether losses and gradients are finite; and the gradients. Losses and
        divisors of several groups are ``(G,)``, those of one ``()``.
    """
    of_all = [parameter for parameters in groups.values() for parameter in parameters]

    def evaluate(inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        beta, step, *raw = inputs
        mask = raw.pop(0) if masked else None
        args = prepare(raw)
        with _unvalidated(), networks_in(precision, args[0].device):
            losses = named_losses(objective.loss(pair, args, Context(beta, mask, step, num_data)))
        _require_groups(losses, groups)
        gradients = _apart(_gradients(losses, groups), of_all)
        loss = _stacked([losses[name].detach() for name in groups])
        sizes = [len(parameters) for parameters in groups.values()]
        return loss, *clipping(loss, gradients, sizes, max_norm), *gradients

    return evaluate


def clipping(
    loss: Tensor, gradients: Sequence[Tensor], sizes: Sequence[int], max_norm: float
) -> tuple[Tensor, Tensor]:
    """Return what gradients are divided by, for each group, and whether all is finite.

    Parameters
    ----------
    loss
        Of each group, ``(G,)``; ``()`` of one.
    gradients, sizes
        One for each parameter, group after group, and the number of parameters of each.
    max_norm
        The largest norm of the gradients of a group.

    Examples
    --------
    >>> clipping(torch.tensor(1.0), [torch.tensor([3.0, 4.0])], [1], max_norm=2.0)
    (tensor(2.5000), tensor(True))
    """
    norm = _stacked(_norms(gradients, sizes))
    finite = torch.isfinite(loss + norm)
    return (norm / max_norm).clamp(min=1.0), finite.all() if finite.dim() else finite


def _require_groups(losses: Mapping[str, Tensor], groups: Mapping[str, Sequence[Tensor]]) -> None:
    if losses.keys() != groups.keys():
        raise RequestError(
            f"the objective gives losses {sorted(losses)}, and gave {sorted(groups)} before"
        )


def _gradients(
    losses: Mapping[str, Tensor], groups: Mapping[str, Sequence[Tensor]]
) -> list[Tensor]:
    """Return the gradient of each loss by the parameters of its own group, one after the other."""
    gradients: list[Tensor] = []
    last = list(groups)[-1]
    for name, parameters in groups.items():
        if not losses[name].requires_grad:
            raise RequestError(
                f"the loss '{name}' of the objective depends on no parameter: is it detached?"
            )
        gradients += torch.autograd.grad(
            losses[name],
            parameters,
            retain_graph=name != last,
            allow_unused=True,
            materialize_grads=True,
        )
    return gradients


def _norms(gradients: Sequence[Tensor], sizes: Sequence[int]) -> list[Tensor]:
    """Return the norm of each group of gradients."""
    norms = []
    for end, size in zip(accumulate(sizes), sizes, strict=True):
        of_each = [torch.linalg.vector_norm(gradient) for gradient in gradients[end - size : end]]
        widest = functools.reduce(torch.promote_types, [norm.dtype for norm in of_each])
        norms.append(torch.linalg.vector_norm(torch.stack([norm.to(widest) for norm in of_each])))
    return norms


def _stacked(values: Sequence[Tensor]) -> Tensor:
    """Return scalars as one tensor, ``()`` for one."""
    if len(values) == 1:
        return values[0]
    widest = functools.reduce(torch.promote_types, [value.dtype for value in values])
    return torch.stack([value.to(widest) for value in values])


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
