"""The ELBO whose guide reads spoiled data."""

from typing import Annotated, Any, ClassVar

import torch
from pydantic import AfterValidator, Field
from torch import Tensor, nn

from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.objectives.elbo import ELBO
from vaezoo.pairs.sites import Args, StochasticFunction, guide_of, model_of

__all__ = ["Corruption", "Denoising"]


def _check_corruption(value: str) -> str:
    kind, _, number = value.partition(":")
    try:
        amount = float(number)
    except ValueError:
        amount = -1.0
    if (kind == "gaussian" and 0 < amount < float("inf")) or (kind == "mask" and 0 < amount < 1):
        return value
    raise ValueError("expected gaussian:SD (as gaussian:0.5) or mask:SHARE (as mask:0.3)")


Corruption = Annotated[
    str, AfterValidator(_check_corruption), Field(description="gaussian:SD, mask:SHARE")
]


@OBJECTIVES.register("denoising")
class Denoising:
    """The ELBO of clean data, from codes of spoiled ones, in nats per datum (or frame).

    The guide reads x with noise, or with elements that are 0, drawn anew at every step; the model
    explains x as it is (Vincent et al. 2008, *Extracting and Composing Robust Features with
    Denoising Autoencoders*; with latents: Im et al. 2017, arXiv:1511.06406). Outside training the
    guide reads what it is given.

    Parameters
    ----------
    corrupt
        ``gaussian:SD``, noise of a standard deviation in units of the (transformed) data, or
        ``mask:SHARE``, the share of elements that are put to 0.
    num_particles
        Draws of the latents per datum and step, all of one spoiled x.

    Examples
    --------
    >>> Denoising(corrupt="mask:0.3").corrupt
    'mask:0.3'
    """

    judged_by_elbo: ClassVar[bool] = True

    def __init__(self, *, corrupt: Corruption = "mask:0.3", num_particles: int = 1) -> None:
        self.corrupt = corrupt
        self._elbo = ELBO(num_particles=num_particles)

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """See :meth:`ELBO.prepare`."""
        self._elbo.prepare(pair, args)

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return the negative weighted ELBO; see :meth:`ELBO.loss`."""
        return self._elbo.loss(_ReadingSpoiled(pair, self.corrupt), args, context)


class _ReadingSpoiled(nn.Module):
    """A pair whose guide reads spoiled data: the first argument, and no other."""

    def __init__(self, pair: nn.Module, corrupt: str) -> None:
        super().__init__()
        self.pair = pair
        self.kind, _, amount = corrupt.partition(":")
        self.amount = float(amount)

    @property
    def model(self) -> StochasticFunction:
        return model_of(self.pair)

    def guide(self, x: Tensor, *others: Any) -> Any:
        noise = torch.rand_like(x) if self.kind == "mask" else torch.randn_like(x)
        spoiled = x * (noise >= self.amount) if self.kind == "mask" else x + self.amount * noise
        return guide_of(self.pair)(spoiled, *others)
