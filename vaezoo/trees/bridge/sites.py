"""What one run of any Pyro model says: latents, densities, replicated data, each by site."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.infer import config_enumerate, infer_discrete
from pyro.poutine.trace_struct import Trace
from pyro.poutine.uncondition_messenger import UnconditionMessenger
from pyro.poutine.util import site_is_factor, site_is_subsample
from torch import Tensor

from vaezoo.errors import RequestError
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.sites import Site
from vaezoo.trees.bridge.sources import Drawn

__all__ = ["BoundModel", "is_data", "is_deterministic"]

Values = dict[str, Tensor]


@dataclass(frozen=True)
class BoundModel:
    """A model and what it is called with.

    Attributes
    ----------
    model
        A Pyro model.
    args, kwargs
        Its arguments.

    Examples
    --------
    >>> import pyro
    >>> from pyro import distributions as dist
    >>> def model(x):
    ...     z = pyro.sample("z", dist.Normal(0.0, 1.0))
    ...     pyro.sample("x", dist.Normal(z, 1.0), obs=x)
    >>> bound = BoundModel(model, (torch.tensor(3.0),), {})
    >>> bound.explain(Drawn({"z": torch.tensor(3.0)}))["log_likelihood"]
    {'x': tensor(-0.9189)}
    """

    model: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]

    def sites(self, latents: Mapping[str, Tensor]) -> dict[str, Site]:
        """Return the sites of the model, given a draw of the latents."""
        return dict(_sample_sites(self._completed(latents)[1]))

    def explain(self, drawn: Drawn) -> dict[str, Values]:
        """Return values by group and site, given one draw of the latents.

        Raises
        ------
        RequestError
            When the draw has latents that the model has not, or lacks one that it has.
        """
        latents, trace = self._completed(drawn.latents)
        trace.compute_log_prob()
        sites = dict(_sample_sites(trace))
        lp = torch.as_tensor(trace.log_prob_sum())
        stats = {"lp": lp}
        if drawn.log_q is not None:
            stats |= {"log_q": drawn.log_q, "log_weight": lp - drawn.log_q}
        again = self._trace(_replicate()(self.model), latents).nodes
        return {
            "posterior": {n: s["value"] for n, s in sites.items() if not is_data(s)},
            "log_likelihood": {n: _log_density(s) for n, s in sites.items() if is_data(s)},
            "posterior_predictive": {n: again[n]["value"] for n, s in sites.items() if is_data(s)},
            "sample_stats": stats,
        }

    def draw_prior(self) -> dict[str, Values]:
        """Return a draw of latents and data from the model alone, by group and site.

        Raises
        ------
        NotImplementedError
            When a prior cannot be drawn from.
        """
        trace = self._trace(_replicate()(self.model), {})
        sites = dict(_sample_sites(trace))
        return {
            "prior": {n: s["value"] for n, s in sites.items() if not _was_data(s)},
            "prior_predictive": {n: s["value"] for n, s in sites.items() if _was_data(s)},
        }

    def _trace(self, model: Callable[..., Any], latents: Mapping[str, Tensor]) -> Trace:
        # Inside of the model: infer_discrete hides it from handlers that stand outside.
        held = hold(latents)(model)
        return poutine.trace(held).get_trace(*self.args, **self.kwargs)

    def _completed(self, latents: Mapping[str, Tensor]) -> tuple[Mapping[str, Tensor], Trace]:
        """Return all latents, discrete ones that were summed out drawn given the rest."""
        trace = self._trace(self.model, latents)
        mine = {name: site for name, site in _sample_sites(trace) if not site["is_observed"]}
        for name in latents.keys() - mine.keys():
            raise RequestError(f"the guide has a latent '{name}', which the model has not")
        missing = {name: site for name, site in mine.items() if name not in latents}
        if not missing:
            return latents, trace
        for name, site in missing.items():
            if not site["fn"].has_enumerate_support:
                raise RequestError(
                    f"the model has a latent '{name}', which the guide has not; give it such a site"
                )
        latents = {**latents, **self._draw_discrete(latents, missing, trace)}
        return latents, self._trace(self.model, latents)

    def _draw_discrete(
        self, latents: Mapping[str, Tensor], missing: Mapping[str, Site], trace: Trace
    ) -> Values:
        frames = [f for _, site in _sample_sites(trace) for f in site["cond_indep_stack"]]
        nesting = max((-f.dim for f in frames if f.dim is not None), default=0)
        enumerated = config_enumerate(hold(latents)(self.model))
        trace = self._trace(infer_discrete(enumerated, first_available_dim=-1 - nesting), {})
        sites = dict(_sample_sites(trace))
        return {name: sites[name]["value"] for name in missing}


class _replicate(UnconditionMessenger):  # noqa: N801
    """Draw data anew; Pyro's own draws deterministic sites, too, once for each row of a plate."""

    def _pyro_sample(self, msg: Any) -> None:
        if not is_deterministic(msg):
            super()._pyro_sample(msg)


def _sample_sites(trace: Trace) -> Iterator[tuple[str, Site]]:
    """Yield sites with a value, without factors and the indices of plates."""
    for name, site in trace.nodes.items():
        if site["type"] == "sample" and not (site_is_subsample(site) or site_is_factor(site)):
            yield name, site


def is_data(site: Site) -> bool:
    """Whether a site is one of data."""
    return bool(site["is_observed"]) and not is_deterministic(site)


def _was_data(site: Site) -> bool:
    return bool((site["infer"] or {}).get("was_observed"))


def is_deterministic(site: Site) -> bool:
    """Whether a site records what follows from others."""
    return bool((site["infer"] or {}).get("_deterministic"))


def _log_density(site: Site) -> Tensor:
    """Return log-densities by row, ``batch_shape``: with the mask, and without any scale."""
    density: Tensor = scale_and_mask(site["unscaled_log_prob"], 1.0, site["mask"])
    return density
