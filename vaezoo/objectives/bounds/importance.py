"""What the importance weighted bounds share: draws of each datum, with weights of their own."""

from collections.abc import Callable

from torch import nn

from vaezoo.errors import RequestError
from vaezoo.pairs.admission import UNCOUNTED, admit, refuse_shared_sites
from vaezoo.pairs.particles import Particles, choose_particles, probing
from vaezoo.pairs.sites import Args, PairTrace, trace_pair

__all__ = ["require_draws", "weighable_particles"]


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


def require_draws(objective: str, number: int, groups: int = 1) -> None:
    """Refuse fewer draws than a bound needs to be another one than the ELBO.

    Parameters
    ----------
    objective
        In whose name they are refused.
    number, groups
        Draws K, and the groups into which they are cut.

    Examples
    --------
    >>> require_draws("renyi", 1)
    Traceback (most recent call last):
    vaezoo.errors.RequestError: objective 'renyi' of one draw is the ELBO; use `num_particles=5`
    """
    if number < 2:
        raise RequestError(
            f"objective '{objective}' of one draw is the ELBO; use `num_particles={5 * groups}`"
        )
    if number % groups:
        raise RequestError(
            f"objective '{objective}' cuts its draws into {groups} groups of one size, and there "
            f"are {number}; use `num_particles={groups * (number // groups + 1)}`"
        )
