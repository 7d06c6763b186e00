"""The two halves of a pair, for objectives that treat them apart."""

from torch import nn

from vaezoo.errors import RequestError
from vaezoo.objectives.base import is_reparameterised
from vaezoo.pairs.anatomy import names_of_model
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args, sample_sites, trace_pair

__all__ = ["module_of_guide"]


def module_of_guide(pair: nn.Module, args: Args, objective: str) -> str:
    """Return the name of the one module of a pair whose parameters the guide alone has.

    Parameters
    ----------
    pair, args
        A pair, which is left as it was, and a small batch of it.
    objective
        In whose name it is refused.

    Raises
    ------
    RequestError
        When a latent has no path derivative, or the guide is no module of its own.

    Examples
    --------
    >>> import torch
    >>> from vaezoo.models.vae import VAE
    >>> module_of_guide(VAE(x_shape=(4,)), (torch.zeros(3, 4),), "piwae")
    'encoder'
    """
    with probing(pair, args[0].device):
        for name, site in sample_sites(trace_pair(pair, args).guide).items():
            if not is_reparameterised(site):
                raise RequestError(
                    f"objective '{objective}' needs reparameterised latents, and '{name}' is "
                    "not; use `objective='iwae'`"
                )
    of_model = {name.partition(".")[0] for name in names_of_model(pair, args)}
    trained = [name for name, p in pair.named_parameters() if p.requires_grad]
    parts = dict.fromkeys(name.partition(".")[0] for name in trained)
    others = [name for name in parts if name not in of_model]
    if len(others) != 1:
        listed = ", ".join(f"'{name}'" for name in others) or "none"
        raise RequestError(
            f"objective '{objective}' takes a guide that is one module of the pair, which the "
            f"model does not use, and such are here: {listed}; use `objective='miwae'`"
        )
    return others[0]
