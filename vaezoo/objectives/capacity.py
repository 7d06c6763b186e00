"""A KL term that is held at a capacity."""

from typing import ClassVar

import torch
from pydantic import NonNegativeFloat, NonNegativeInt
from torch import Tensor, nn

from vaezoo.objectives.aggregate.codes import Coding
from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.pairs.sites import Args

__all__ = ["Capacity"]


@OBJECTIVES.register("capacity")
class Capacity:
    """log p(x | z) - gamma |KL - C|, in nats per datum (or frame): a KL of C nats, made to measure.

    C rises linearly from 0 to its largest value (Burgess et al. 2018, arXiv:1804.03599, eq. 8), or
    is there from the start, as a target. gamma takes the place of beta, which weighs it once more.

    Parameters
    ----------
    target
        Largest capacity C, in nats per datum (or frame).
    gamma
        Weight of the distance from it.
    rise
        Steps in which C rises from 0 to it.

    Examples
    --------
    >>> Capacity(target=25.0, rise=1000).rise
    1000
    """

    judged_by_elbo: ClassVar[bool] = False

    def __init__(
        self,
        *,
        target: NonNegativeFloat = 25.0,
        gamma: NonNegativeFloat = 1000.0,
        rise: NonNegativeInt = 0,
    ) -> None:
        self.target, self.gamma, self.rise = target, gamma, rise
        self._coding = Coding("capacity")

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Look at the latents of a pair.

        Raises
        ------
        RequestError
            When a latent has no path derivative, or is shared by data.
        """
        self._coding.look(pair, args)

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return what is minimised; see :meth:`ELBO.loss`."""
        batch = self._coding.batch(pair, args, context)
        distance = (batch.kl - self.target * self._risen(context.step)).abs()
        return batch.distortion + context.beta * self.gamma * distance

    def _risen(self, step: int | Tensor) -> float | Tensor:
        return (torch.as_tensor(step) / self.rise).clamp(max=1) if self.rise else 1.0
