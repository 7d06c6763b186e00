"""One step of stochastic variational inference.

``Eager`` runs Pyro's estimator of the objective as it is and is the reference that any faster
execution of the same step has to agree with.
"""

import warnings
from typing import Literal

import pyro
import torch
from torch import Tensor, nn

from vaezoo.errors import RunError
from vaezoo.objectives import ELBO
from vaezoo.sites import Args, log_density, sample_sites, trace_pair

__all__ = ["Eager", "NonFiniteError", "make_optimizer"]

Optimizer = Literal["adam", "adamw", "adagrad"]


class NonFiniteError(RunError):
    """The loss or a gradient is NaN or infinite. The parameters are those before the step."""


def make_optimizer(name: Optimizer, pair: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Return an optimiser over all parameters of a pair, fused where torch can."""
    parameters = list(pair.parameters())
    if name == "adagrad":
        return torch.optim.Adagrad(parameters, lr=lr)
    fused = all(p.device.type in ("cpu", "cuda") and p.is_floating_point() for p in parameters)
    kind = torch.optim.AdamW if name == "adamw" else torch.optim.Adam
    return kind(parameters, lr=lr, fused=fused or None)


class Eager:
    """Loss, gradients, clipping and optimiser, one after the other.

    Parameters
    ----------
    pair
        The pair to train.
    objective
        Gives the loss, in nats per datum.
    optimizer
        Over the parameters of the pair.
    clip_norm
        Largest norm of the gradient; 0 for no clipping.
    """

    def __init__(
        self, pair: nn.Module, objective: ELBO, optimizer: torch.optim.Optimizer, clip_norm: float
    ) -> None:
        self.pair = pair
        self.objective = objective
        self.optimizer = optimizer
        self.max_norm = clip_norm or float("inf")
        self.parameters = [p for p in pair.parameters() if p.requires_grad]

    def __call__(self, args: Args, beta: float) -> float:
        """Take one step on a batch and return its loss.

        Raises
        ------
        NonFiniteError
            When loss or gradients are not finite; no parameter has changed then.
        """
        self.optimizer.zero_grad(set_to_none=True)
        with pyro.validation_enabled(False), warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Encountered (NaN|inf)")  # said better below
            loss = self.objective.loss(self.pair, args, beta)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.parameters, self.max_norm)
        if not bool(torch.isfinite(loss) & torch.isfinite(norm)):
            raise NonFiniteError(_describe(self.pair, args))
        self.optimizer.step()
        return loss.item()


@torch.no_grad()
def _describe(pair: nn.Module, args: Args) -> str:
    """Say which site and which parameters are not finite, and the range of the input."""
    found = []
    with pyro.validation_enabled(False):
        trace = trace_pair(pair, args)
    sites = {**sample_sites(trace.guide), **sample_sites(trace.model)}
    for name, site in sites.items():
        if not (_finite(site["value"]) and _finite(log_density(site))):
            found.append(f"site '{name}' ({type(site['fn']).__name__}) has no finite log-density")
            break
    for name, parameter in pair.named_parameters():
        if not _finite(parameter):
            found.append(f"parameter '{name}' is not finite")
            break
        if parameter.grad is not None and not _finite(parameter.grad):
            found.append(f"the gradient of '{name}' is not finite")
            break
    x = args[0]
    found.append(f"the input lies in [{float(x.min()):g}, {float(x.max()):g}]")
    return "; ".join(found)


def _finite(value: Tensor) -> bool:
    return bool(torch.isfinite(value).all())
