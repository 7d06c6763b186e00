"""Gradients that reach the guide through its draws alone: the score is left out."""

from torch import Tensor

from vaezoo.errors import RequestError
from vaezoo.objectives.base import is_reparameterised
from vaezoo.pairs.enumeration import is_marked
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import PairTrace, Site, sample_sites

__all__ = ["anew", "log_q_along_draw", "refuse_off_path"]


def log_q_along_draw(site: Site, z: Tensor, beta: float | Tensor, rows: Tensor | None) -> Tensor:
    """Return log q(z | x), whose gradient is that through z, without that of its parameters.

    Parameters
    ----------
    site
        Of the guide.
    z
        Its draw, as :func:`anew` gives it.
    beta, rows
        Weight of the density, and which rows count.
    """
    fixed = log_density(site, z.detach(), weight=beta, rows=rows)
    return log_density(site, z, weight=beta, rows=rows) - fixed + fixed.detach()


def anew(value: Tensor) -> Tensor:
    """Return a value that a distribution does not know for its own draw."""
    return value.view_as(value)


def refuse_off_path(trace: PairTrace, objective: str) -> None:
    """Refuse a pair whose guide is not one latent with a path derivative and a density.

    Parameters
    ----------
    trace
        Of both sides.
    objective
        In whose name it is refused.

    Raises
    ------
    RequestError
        As it says.
    """
    marked = next((n for n, s in sample_sites(trace.model).items() if is_marked(s)), None)
    what = f"objective '{objective}'"
    if marked is not None:
        raise RequestError(
            f"{what} sums no latent out, and '{marked}' is marked; use `objective='iwae'`"
        )
    names = list(sample_sites(trace.guide))
    if len(names) != 1:
        reason = f"'{names[1]}' is a second one" if names else "the guide has none"
        raise RequestError(f"{what} takes one latent, and {reason}; use `objective='iwae'`")
    site = sample_sites(trace.guide)[names[0]]
    if not is_reparameterised(site):
        raise RequestError(
            f"{what} needs a reparameterised latent, and '{names[0]}' is not; "
            "use `objective='iwae'`"
        )
    try:
        log_density(site, anew(site["value"]))
    except Exception as error:
        raise RequestError(
            f"{what} needs the density of '{names[0]}' at any value, and its family "
            "has it for its own draws only; use `objective='iwae'`"
        ) from error
