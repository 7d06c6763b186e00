"""What the parts of an objective weigh: the KL term beta, a row one or nothing."""

from torch import Tensor, nn

from vaezoo.pairs.handlers import mask_rows, scale_latents
from vaezoo.pairs.particles import Function, Particles
from vaezoo.pairs.sites import guide_of, model_of

__all__ = ["weighted"]


def weighted(
    pair: nn.Module, particles: Particles, beta: float | Tensor, mask: Tensor | None
) -> tuple[Function, Function]:
    """Return model and guide, weight beta on their latents and a mask ``(B,)`` on their rows."""

    def weigh(fn: Function) -> Function:
        scaled: Function = scale_latents(beta)(fn)
        return scaled if mask is None else mask_rows(*particles.repeat((mask,)))(scaled)

    return weigh(model_of(pair)), weigh(guide_of(pair))
