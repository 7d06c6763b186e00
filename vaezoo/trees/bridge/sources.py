"""Where draws of the latents of any Pyro model come from: its guide, an MCMC, or arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from pyro import poutine
from pyro.infer import MCMC
from pyro.poutine.util import site_is_subsample
from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.pairs.sites import Site, StochasticFunction, is_auxiliary

__all__ = ["Drawn", "Source", "source_of"]


@dataclass(frozen=True)
class Drawn:
    """One draw of the latents, by site, and its log-density under the guide if there is one."""

    latents: Mapping[str, Tensor]
    log_q: Tensor | None = None


def source_of(
    guide: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], shape: tuple[int, int]
) -> "Source":
    """Return the source that a user means; a guide makes draws of a shape, chains have theirs.

    Raises
    ------
    RequestError
        When it is none, or chains are not all of one shape.

    Examples
    --------
    >>> source_of({"z": np.zeros((2, 50))}, (), {}, (4, 250)).shape
    (2, 50)
    """
    if isinstance(guide, MCMC):
        return _Chains(guide.get_samples(group_by_chain=True), _diverging(guide))
    if isinstance(guide, Mapping):
        return _Chains({name: torch.as_tensor(values) for name, values in guide.items()})
    if callable(guide):
        return _Guide(guide, args, kwargs, shape)
    raise RequestError(
        f"`guide` takes a guide, an MCMC that has run, or draws by site, not {type(guide).__name__}"
    )


@dataclass(frozen=True)
class _Guide:
    """A guide, whose draws are cut into chains of a shape."""

    guide: StochasticFunction
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    shape: tuple[int, int]
    stats: Mapping[str, Array] = field(default_factory=dict)
    approximation: str = "guide"

    def draw(self, number: int) -> Drawn:
        trace = poutine.trace(self.guide).get_trace(*self.args, **self.kwargs)
        nodes: Mapping[str, Site] = trace.nodes
        latents = {name: site["value"] for name, site in nodes.items() if _is_latent(site)}
        return Drawn(latents, torch.as_tensor(trace.log_prob_sum()))


@dataclass(frozen=True)
class _Chains:
    """Draws that are there, ``(chain, draw, ...)`` by site, with what is known of each."""

    draws: Mapping[str, Tensor]
    stats: Mapping[str, Array] = field(default_factory=dict)
    approximation: str = "mcmc"

    def __post_init__(self) -> None:
        shapes = {tuple(z.shape[:2]) for z in self.draws.values()}
        if len(shapes) != 1 or len(next(iter(shapes))) != 2:
            raise RequestError(
                "draws of all sites have the shape (chain, draw, ...) with the same chains and "
                f"draws, got {sorted(shapes)}"
            )

    @property
    def shape(self) -> tuple[int, int]:
        chains, draws = next(iter(self.draws.values())).shape[:2]
        return chains, draws

    def draw(self, number: int) -> Drawn:
        place = divmod(number, self.shape[1])
        return Drawn({name: values[place] for name, values in self.draws.items()})


def _is_latent(site: Site) -> bool:
    """Whether a site of a guide stands for one of the model; autoguides have others, too."""
    if site["type"] != "sample" or site["is_observed"] or site_is_subsample(site):
        return False
    return not is_auxiliary(site)


def _diverging(mcmc: MCMC) -> dict[str, Array]:
    """Return which draws diverged, ``(chain, draw)``; nothing of kernels that cannot say."""
    places = mcmc.diagnostics().get("divergences")
    if not places:
        return {}
    number = next(iter(mcmc.get_samples(group_by_chain=True).values())).shape[1]
    diverging = np.zeros((len(places), number), dtype=bool)
    for chain in range(len(places)):
        diverging[chain, list(places[f"chain {chain}"])] = True
    return {"diverging": diverging}


Source: TypeAlias = _Guide | _Chains
