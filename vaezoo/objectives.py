"""Objectives: what SVI optimises, as effect handlers and estimators over the sites of any pair."""

from typing import Any

import pyro
import torch
from pyro.infer import Trace_ELBO, TraceMeanField_ELBO
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from vaezoo.parts import Axis
from vaezoo.sites import Args, argument_names, guide_of, model_of, trace_pair

__all__ = ["ELBO", "OBJECTIVES", "kl_weight", "num_units", "scale_latents", "units_per_row"]

OBJECTIVES = Axis("objective")


class scale_latents(Messenger):  # noqa: N801 (an effect handler, named like those of pyro)
    """Scale the log-density of every latent site by ``beta``.

    Applied to model *and* guide it weighs the KL term and nothing else; on one side only it changes
    the bound into something without meaning.
    """

    def __init__(self, beta: float | Tensor) -> None:
        super().__init__()
        self.beta = beta

    def _pyro_sample(self, msg: Any) -> None:
        if not (msg["is_observed"] or site_is_subsample(msg)):
            msg["scale"] = msg["scale"] * self.beta


def kl_weight(step: int, *, beta: float, warmup: int) -> float:
    """Return the weight of the KL term at a step: linear from 0 to ``beta``, then constant.

    Examples
    --------
    >>> [kl_weight(step, beta=4.0, warmup=4) for step in (0, 2, 4, 9)]
    [0.0, 2.0, 4.0, 4.0]
    """
    return beta * min(1.0, step / warmup) if warmup else beta


def units_per_row(pair: nn.Module, args: Args) -> Tensor:
    """Return what averages in nats are per, ``(B,)``: one for a datum, frames for a sequence."""
    names = argument_names(pair)
    if "length" in names:
        return args[names.index("length")]
    return torch.ones(len(args[0]), dtype=torch.int64, device=args[0].device)


def num_units(pair: nn.Module, args: Args) -> Tensor:
    """Return the number of data in a batch, or of frames for sequences."""
    return units_per_row(pair, args).sum()


@OBJECTIVES.register("elbo")
class ELBO:
    """The evidence lower bound with weight beta on its KL term, in nats per datum (or frame).

    KL terms are in closed form where the families allow it and model and guide visit the latents in
    one order (Kingma & Welling 2014, arXiv:1312.6114, eq. 7), and Monte Carlo estimates otherwise.

    Parameters
    ----------
    num_particles
        Draws of the latents per datum and step.
    """

    def __init__(self, *, num_particles: int = 1) -> None:
        self.num_particles = num_particles
        self._elbo: Trace_ELBO | None = None

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Choose the estimator for a pair from one run of it."""
        with torch.no_grad(), pyro.validation_enabled(False):
            closed_form = trace_pair(pair, args).same_order
        estimator = TraceMeanField_ELBO if closed_form else Trace_ELBO
        self._elbo = estimator(num_particles=self.num_particles)  # type: ignore[no-untyped-call]

    def loss(self, pair: nn.Module, args: Args, beta: float | Tensor = 1.0) -> Tensor:
        """Return the negative weighted ELBO, a scalar whose gradient SVI follows."""
        if self._elbo is None:
            self.prepare(pair, args)
        assert self._elbo is not None
        model = scale_latents(beta)(model_of(pair))
        guide = scale_latents(beta)(guide_of(pair))
        loss = self._elbo.differentiable_loss(model, guide, *args)
        return torch.as_tensor(loss) / num_units(pair, args)
