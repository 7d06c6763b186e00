"""How much the latents say about the data."""

import math

import torch
from torch import nn

from vaezoo.errors import is_out_of_memory
from vaezoo.pairs.accounting import log_mean_exp
from vaezoo.pairs.sites import Args, run_guide, sample_sites, takes_lengths

__all__ = ["MOST_DATA", "mutual_information"]

MOST_DATA = 2000


@torch.no_grad()
def mutual_information(pair: nn.Module, args: Args) -> float | None:
    """Estimate the mutual information of x and z under the guide, in nats.

    ``E[log q(z | x) - log 1/N sum_j q(z | x_j)]`` over the N data given (Hoffman & Johnson 2016,
    *ELBO surgery*), at most log N. None for guides with several latent sites, and for
    those that know the density of their own draws only.
    """
    sites = list(sample_sites(run_guide(pair, args)).values())
    if len(sites) != 1 or takes_lengths(pair) or sites[0]["fn"].batch_shape != (len(args[0]),):
        return None
    fn, z = sites[0]["fn"], sites[0]["value"]
    try:
        pairwise = torch.cat([fn.log_prob(chunk.unsqueeze(1)) for chunk in z.split(100)])
    except (KeyError, NotImplementedError, RuntimeError) as error:
        # A flow that cannot be inverted, or whose context is that of its own row only.
        if is_out_of_memory(error):
            raise
        return None
    information = float((pairwise.diagonal() - log_mean_exp(pairwise, 1)).mean())
    return information if math.isfinite(information) else None
