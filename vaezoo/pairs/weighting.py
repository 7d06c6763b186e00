"""What the parts of an objective weigh: the KL term beta, a row one or nothing."""

from torch import Tensor, nn

from vaezoo.pairs.handlers import mask_rows, scale_latents
from vaezoo.pairs.particles import Function, Particles
from vaezoo.pairs.sites import guide_of, model_of

__all__ = ["weighted"]


def weighted(
    pair: nn.Module, particles: Particles, beta: float | Tensor, mask: Tensor | None
) -> tuple[Function, Function]:
    """Return model and guide, weight beta on their latents and a mask ``(B,)`` on their rows.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> model, guide = weighted(pair, Particles(), 0.5, None)
    >>> trace = Particles().trace(model, guide, (x,))
    >>> trace.latents["z"][0]["scale"], trace.observed["x"]["scale"]
    (0.5, 1.0)
    """

    def weigh(fn: Function) -> Function:
        scaled: Function = scale_latents(beta)(fn)
        return scaled if mask is None else mask_rows(*particles.repeat((mask,)))(scaled)

    return weigh(model_of(pair)), weigh(guide_of(pair))
