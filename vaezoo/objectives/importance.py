"""What the importance weighted bounds share: draws of each datum, with weights of their own."""

from collections.abc import Callable

from torch import nn

from vaezoo.pairs.admission import UNCOUNTED, admit, refuse_shared_sites
from vaezoo.pairs.particles import Particles, choose_particles, probing
from vaezoo.pairs.sites import Args, PairTrace, trace_pair

__all__ = ["weighable_particles"]


def weighable_particles(
    pair: nn.Module,
    args: Args,
    number: int,
    objective: str,
    refuse: Callable[[PairTrace], None] = lambda trace: None,
) -> Particles:
    """Return, from trying it, how K draws of each datum go through a pair, each with its weight.

    Parameters
    ----------
    pair, args
        A pair, and a small batch of it.
    number
        Draws K.
    objective
        In whose name a pair is refused.
    refuse
        Refuses what else stands in the way of it.

    Raises
    ------
    RequestError
        When a site is shared by data, so that a datum has no weights of its own.
    """
    with probing(pair, args[0].device):
        trace = trace_pair(pair, args)
        admit(pair, trace, f"objective '{objective}'", UNCOUNTED)
        refuse(trace)
        what = f"objective '{objective}' needs"
        refuse_shared_sites(trace, len(args[0]), what, "use `objective='elbo'`")
        return choose_particles(pair, args, number)
