"""The least that a model should know of data: each element by itself, as if all were independent.

Of a model that ends there, neither latents nor memory have learned anything.
"""

from collections.abc import Callable, Iterable
from functools import partial
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.distributions.families import family
from vaezoo.distributions.fits import Moments, bernoulli_of, normal_of, poisson_of
from vaezoo.observations.missing import filled
from vaezoo.observations.roles import Observation, roles_of
from vaezoo.pairs.accounting import num_units
from vaezoo.pairs.lengths import frame_mask
from vaezoo.pairs.particles import probing
from vaezoo.pairs.pieces import trial_rows
from vaezoo.pairs.sites import Args, argument_names, lengths_of, step_of, takes_lengths, trace_pair

__all__ = ["gaussian_rows", "independent_elements"]

SMALLEST_SIGMA = 0.01  # the floor of a Gaussian likelihood, so that constants compare alike

# The fit of an element by itself, for families that have one by moments.
_FITS: dict[str, Callable[[Moments], Any]] = {
    "Bernoulli": bernoulli_of,
    "Normal": partial(normal_of, smallest=SMALLEST_SIGMA),
    "Poisson": poisson_of,
}


@torch.no_grad()
def independent_elements(
    pair: nn.Module, train: Iterable[Args], held_out: Iterable[Args]
) -> float | None:
    """Return the mean log-density of held-out data under independent elements, in nats per datum.

    Each element of each observed site has the family that the model gives it, with parameters of
    its own, fitted to the training data; frames of sequences share them. It is the ELBO of a pair
    whose latents carry nothing and whose outputs are constant.

    Parameters
    ----------
    pair
        The pair; of it only the families of its observed sites are used.
    train, held_out
        Batches of arguments, missing entries nan.

    Returns
    -------
    float or None
        Nats per datum, per frame for sequences; None where the fit of a family is not known in
        closed form, or a site observes what is computed.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x = torch.tensor([[1.0], [-1.0]]).expand(2, 4)
    >>> round(independent_elements(LinearPair(), [(x,)], [(x,)]), 4)  # of 4 N(0, 1)
    -5.6758
    """
    batches = iter(train)
    first = next(batches)
    kinds = _kinds(pair, first)
    if kinds is None:
        return None
    moments = {site: Moments() for site in kinds}
    for args in chain([first], batches):
        for site, (_, taken) in kinds.items():
            moments[site].add(_rows(pair, args, taken))
    fits = {site: _FITS[kind](moments[site]) for site, (kind, _) in kinds.items()}
    total = units = 0.0
    for args in held_out:
        units += float(num_units(pair, args))
        for site, (_, taken) in kinds.items():
            x = _rows(pair, args, taken)
            total += float((fits[site].log_prob(filled(x)) * ~x.isnan()).sum())
    return total / units


def gaussian_rows(pair: nn.Module, batches: Iterable[Args]) -> Tensor | None:
    """Return what a pair explains by a Gaussian, ``(N, D)`` in float64.

    None where it explains something else, or more than one site, or where entries are missing.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x = torch.zeros(2, 4)
    >>> gaussian_rows(LinearPair(), [(x,), (x,)]).shape
    torch.Size([4, 4])
    """
    whole = iter(batches)
    first = next(whole)
    observed = list((_kinds(pair, first) or {}).values())
    if [kind for kind, _ in observed] != ["Normal"]:
        return None
    rows = torch.cat([_rows(pair, args, observed[0][1]) for args in chain([first], whole)])
    return None if rows.isnan().any() else rows


def _kinds(pair: nn.Module, batch: Args) -> dict[str, tuple[str, Observation]] | None:
    """Return family and observation of every observed site; None where one is not known."""
    few = tuple(map(filled, trial_rows(batch)))
    families: dict[str, set[str]] = {}
    with probing(pair, batch[0].device):
        observed, roles = trace_pair(pair, few).observed, roles_of(pair, few)
    for name, site in observed.items():
        step = step_of(name) if takes_lengths(pair) else None
        families.setdefault(step[0] if step else name, set()).add(_family(site["fn"]))
    kinds = {}
    for site, taken in roles.observed.items():
        kind, *others = families.get(site, {""})
        if taken is None or others or kind not in _FITS:
            return None
        kinds[site] = (kind, taken)
    return kinds


def _family(fn: Any) -> str:
    """Return the family of an observed site, of one for all frames that of a frame."""
    return family(fn.steps if family(fn) == "Frames" else fn)


def _rows(pair: nn.Module, args: Args, taken: Observation) -> Tensor:
    """Return what a site observes, a datum or frame in each row: ``(M, D)``."""
    x = args[argument_names(pair).index(taken.argument)].double()
    length = lengths_of(pair, args)
    if length is not None and x.dim() > 1 and x.shape[1] == args[0].shape[1]:
        x = x[frame_mask(length, x.shape[1])]
    x = x.reshape(len(x), -1)
    return x if taken.elements is None else x[:, taken.elements.to(x.device)]
