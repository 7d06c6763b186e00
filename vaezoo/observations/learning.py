"""Has a pair learned anything? Its score beside that of independent elements."""

import math
from collections.abc import Iterable, Sequence

import torch
from torch import nn

from vaezoo.errors import RequestError
from vaezoo.observations.floors import independent_elements
from vaezoo.pairs.accounting import log_weights, num_units
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import Args

__all__ = ["HARDLY_MORE", "unlearned"]

HARDLY_MORE = 0.05  # nats, by which nothing was learned
DRAWS = 20


def unlearned(
    pair: nn.Module, train: Iterable[Args], held_out: Sequence[Args], elbo: float
) -> float | None:
    """Return what independent elements have of held-out data where a pair has hardly more.

    Parameters
    ----------
    pair, train, held_out
        As :func:`simple_models` takes them.
    elbo
        Of the held-out data. Where it is too low, the importance-weighted bound by 20 draws is
        asked, too: a guide that is trained for such a bound may be far from the best ELBO.

    Returns
    -------
    float or None
        Nats per datum, per frame for sequences; None where the pair has learned something, or where
        it cannot be known.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x = torch.tensor([[1.0], [-1.0]]).expand(2, 4)
    >>> unlearned(LinearPair(), [(x,)], [(x,)], elbo=-5.0) is None
    True
    """
    floor = independent_elements(pair, train, held_out)
    if floor is None or elbo >= floor + HARDLY_MORE:
        return None
    return floor if _bound(pair, held_out) < floor + HARDLY_MORE else None


@torch.no_grad()
def _bound(pair: nn.Module, batches: Sequence[Args]) -> float:
    """Return the importance-weighted bound, in nats per datum; -inf where there is none."""
    total = units = 0.0
    try:
        for args in batches:
            with probing(pair, args[0].device, seed=0):
                weights = log_weights(pair, args, DRAWS)
            total += float((weights.logsumexp(0) - math.log(DRAWS)).sum())
            units += float(num_units(pair, args))
    except RequestError:
        return -math.inf
    return total / units
