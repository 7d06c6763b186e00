"""What the parts of an objective weigh: the KL term beta, a row one or nothing, a datum a unit."""

from typing import Any

import torch
from pyro.poutine.messenger import Messenger
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn

from vaezoo.pairs.particles import Function, Particles
from vaezoo.pairs.sites import Args, argument_names, guide_of, model_of

__all__ = ["kl_weight", "mask_rows", "num_units", "scale_latents", "units_per_row", "weighted"]


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


class mask_rows(Messenger):  # noqa: N801 (an effect handler, named like those of pyro)
    """Keep only some rows of a batch: the sites inside the data plate get a mask.

    What stands in the other rows then changes neither loss nor gradients, as long as its
    log-density is finite and rows do not meet inside the pair. A mask that a site has already, as
    in a sequence, stays in force. Sites outside the plate are left alone.

    Parameters
    ----------
    mask
        Which rows are kept, ``(B,)``, boolean. The data plate is the outermost plate of size B in
        what the handler is applied to; a plate of particles lies outside of that.
    """

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.mask = mask

    def _pyro_sample(self, msg: Any) -> None:
        if site_is_subsample(msg):
            return
        for frame in msg["cond_indep_stack"]:
            if frame.vectorized and frame.size == len(self.mask):
                mask = self.mask.reshape(-1, *[1] * (-1 - frame.dim))
                msg["mask"] = mask if msg["mask"] is None else msg["mask"] & mask
                return


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


def num_units(pair: nn.Module, args: Args, mask: Tensor | None = None) -> Tensor:
    """Return the number of data in a batch, or of frames for sequences, in the rows kept."""
    units = units_per_row(pair, args)
    return (units if mask is None else units * mask).sum()


def weighted(
    pair: nn.Module, particles: Particles, beta: float | Tensor, mask: Tensor | None
) -> tuple[Function, Function]:
    """Return model and guide, weight beta on their latents and a mask ``(B,)`` on their rows."""

    def weigh(fn: Function) -> Function:
        scaled: Function = scale_latents(beta)(fn)
        return scaled if mask is None else mask_rows(*particles.repeat((mask,)))(scaled)

    return weigh(model_of(pair)), weigh(guide_of(pair))
