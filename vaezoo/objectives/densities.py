"""Densities of the draws of a trace, which the importance weighted bounds are made of."""

import math

import torch
from pyro.distributions.util import scale_and_mask
from pyro.poutine.trace_struct import Trace
from torch import Tensor

from vaezoo.pairs.sites import Site, sample_sites

__all__ = ["density", "log_joint", "log_mean_exp", "total"]


def density(site: Site, value: Tensor) -> Tensor:
    """Return the log-density of a site, masked and scaled."""
    log_prob = site["fn"].log_prob(value)
    return torch.as_tensor(scale_and_mask(log_prob, scale=site["scale"], mask=site["mask"]))


def log_joint(model: Trace) -> Tensor:
    """Return log p(x, z) of what a model was run with; ``(S, B)`` or ``(B,)``, as its sites."""
    return total([density(site, site["value"]) for site in sample_sites(model).values()])


def total(values: list[Tensor]) -> Tensor:
    """Return the sum of log-densities of sites, which have one batch shape."""
    return torch.stack(values).sum(0)


def log_mean_exp(log_w: Tensor) -> Tensor:
    """Return log 1/K sum_k w_k of each datum, ``(B,)``, from log w ``(K, B)``.

    It is 0 for a row that a mask leaves out.

    Examples
    --------
    >>> log_mean_exp(torch.tensor([[1.0, 3.0], [3.0, 1.0]]).log()).exp()
    tensor([2., 2.])
    """
    return log_w.logsumexp(0) - math.log(len(log_w))
