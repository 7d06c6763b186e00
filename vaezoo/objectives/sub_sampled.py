"""The ELBO of all that a row has, and those of parts of it: each site alone has its share."""

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from inspect import signature
from typing import Any, ClassVar

import torch
from pydantic import NonNegativeInt
from pyro.poutine.messenger import Messenger
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.objectives.base import OBJECTIVES, PLAIN, Context
from vaezoo.objectives.elbo import ELBO
from vaezoo.observations.missing import filled
from vaezoo.observations.roles import roles_of
from vaezoo.pairs.admission import refuse_shared_sites
from vaezoo.pairs.particles import probing
from vaezoo.pairs.sites import (
    Args,
    StochasticFunction,
    argument_names,
    guide_of,
    model_of,
    trace_pair,
)

__all__ = ["SubSampled"]


@OBJECTIVES.register("sub-sampled")
class SubSampled:
    """ELBO(x_1 ... x_M) + sum_m ELBO(x_m) + sum_k ELBO(x_S_k), in nats per datum.

    x_1 ... x_M are what the observed sites of a pair take of its data, as two modalities, and S_k
    random sets of them. A guide that is told by ``mask`` what is missing learns so to do with any
    one of them, from data that have all (Wu & Goodman 2018, arXiv:1802.05335, section 2.2). A row
    that has one of them only counts once.

    Parameters
    ----------
    num_random
        Number of random sets, drawn for each row at every step; each site is in half of them.
    num_particles
        Draws of the latents per datum, set and step.

    Examples
    --------
    >>> SubSampled(num_random=1).num_random
    1
    """

    judged_by_elbo: ClassVar[bool] = False

    def __init__(self, *, num_random: NonNegativeInt = 0, num_particles: int = 1) -> None:
        self.num_random = num_random
        self._elbo = ELBO(num_particles=num_particles)
        self._sets: _Sets | None = None

    def prepare(self, pair: nn.Module, args: Args) -> None:
        """Find out which elements of the data each observed site takes.

        Raises
        ------
        RequestError
            When the pair has no ``mask``, one site only, or a latent that data share.
        """
        self._sets = _sets_of(pair, args)
        self._elbo.prepare(_CountingSome(pair, self._sets), args)

    def loss(self, pair: nn.Module, args: Args, context: Context = PLAIN) -> Tensor:
        """Return the negative sum of the bounds; see :meth:`ELBO.loss`."""
        if self._sets is None:
            self.prepare(pair, args)
        assert self._sets is not None
        mask = args[self._sets.mask_at]
        sets = torch.cat([mask.unsqueeze(0), self._sets.parts_of(mask, self.num_random)])
        rows = tuple(arg.repeat(len(sets), *[1] * (arg.dim() - 1)) for arg in args)
        kept = None if context.mask is None else context.mask.repeat(len(sets))
        counting, some = _CountingSome(pair, self._sets), self._sets.hide(rows, sets.flatten(0, 1))
        return len(sets) * self._elbo.loss(counting, some, replace(context, mask=kept))


class _Sets(nn.Module):
    """Which elements of the data belong to which observed site.

    Parameters
    ----------
    sites
        Names of the sites.
    places
        True for the elements of each, ``(M, *x_shape)``.
    x_at, mask_at
        Places of the data and of their mask among the arguments.
    """

    places: Tensor

    def __init__(self, sites: tuple[str, ...], places: Tensor, x_at: int, mask_at: int) -> None:
        super().__init__()
        self.sites, self.x_at, self.mask_at = sites, x_at, mask_at
        # A tensor that a captured step uses has to belong to a module.
        self.register_buffer("places", places, persistent=False)

    def parts_of(self, mask: Tensor, num_random: int) -> Tensor:
        """Return masks of each site alone, and of random sets, ``(M + K, B, *x_shape)``."""
        has_some = torch.stack(list(self.has(mask).values()))
        # What a row with one site alone has was counted as all that it has.
        counts = (has_some.sum(0) > 1).reshape(-1, *[1] * (mask.dim() - 1))
        each = [place & counts for place in self.places]
        for _ in range(num_random):
            is_in = torch.rand(len(self.sites), *counts.shape, device=mask.device) < 0.5
            each.append((is_in & self.places.unsqueeze(1)).any(0))
        return mask & torch.stack([part.expand_as(mask) for part in each])

    def has(self, mask: Tensor) -> Mapping[str, Tensor]:
        """Return which rows have anything of a site, ``(B,)`` each."""
        shown = (mask.unsqueeze(1) & self.places).flatten(2).any(-1)
        return dict(zip(self.sites, shown.unbind(1), strict=True))

    def hide(self, args: Args, shown: Tensor) -> Args:
        """Return a batch with the mask ``shown``, and 0 for what else was there."""
        x, mask = args[self.x_at], args[self.mask_at]
        replaced = {self.x_at: torch.where(shown | ~mask, x, 0.0), self.mask_at: shown}
        return tuple(replaced.get(place, arg) for place, arg in enumerate(args))


def _sets_of(pair: nn.Module, args: Args) -> _Sets:
    names = argument_names(pair)
    name, instead = "the objective 'sub-sampled' needs", "use `objective='elbo'`"
    with probing(pair, args[0].device):
        refuse_shared_sites(trace_pair(pair, args), len(args[0]), name, instead)
        roles = roles_of(pair, tuple(map(filled, args)))
    taken = {
        site: each for site, each in roles.observed.items() if each and each.elements is not None
    }
    if "mask" not in names or len(taken) < 2 or len(roles.data) != 1:
        raise RequestError(
            f"{name} a pair that is told by `mask` what is missing, and observes its data at two "
            f"sites or more, as 'mvae'; {instead}"
        )
    x_at = names.index(roles.data[0])
    places = torch.zeros(len(taken), args[x_at][0].numel(), dtype=torch.bool)
    for place, each in zip(places, taken.values(), strict=True):
        place[each.elements] = True
    places = places.reshape(-1, *args[x_at].shape[1:]).to(args[x_at].device)
    return _Sets(tuple(taken), places, x_at, names.index("mask"))


class _CountingSome(nn.Module):
    """A pair whose likelihood counts the sites of which the mask of a row has anything."""

    def __init__(self, pair: nn.Module, sets: _Sets) -> None:
        super().__init__()
        self.pair, self.sets = pair, sets
        model = partial(self._run_model)
        model.__signature__ = signature(model_of(pair))  # type: ignore[attr-defined]
        self.model = model

    @property
    def guide(self) -> StochasticFunction:
        return guide_of(self.pair)

    def _run_model(self, *args: Tensor) -> Any:
        with _count_some(self.sets.has(args[self.sets.mask_at])):
            return model_of(self.pair)(*args)


class _count_some(Messenger):  # noqa: N801
    """Leave out the density of sites in the rows that have nothing of them."""

    def __init__(self, shown: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.shown = shown

    def _pyro_sample(self, msg: Any) -> None:
        if msg["name"] in self.shown:
            msg["fn"] = msg["fn"].mask(self.shown[msg["name"]])
