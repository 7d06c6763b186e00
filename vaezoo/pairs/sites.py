"""What can be known of any model/guide pair from its sites: traces, terms, weights, predictions.

Nothing here knows a model. A pair is its model and its guide, and everything is read off the sample
sites that they visit. All log-densities are in nats, one number per datum, ``(B,)``.
"""

import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import pyro
import torch
from pyro import poutine
from pyro.distributions.util import scale_and_mask
from pyro.poutine.messenger import Messenger
from pyro.poutine.trace_struct import Trace
from pyro.poutine.util import site_is_subsample
from torch import Tensor, nn
from torch.distributions import Independent, kl_divergence

from vaezoo.errors import RequestError
from vaezoo.options import PointValue

__all__ = [
    "Args",
    "PairTrace",
    "Terms",
    "argument_names",
    "elbo_terms",
    "isolated",
    "log_weights",
    "prior_predictive",
    "reconstruct",
    "trace_pair",
]

MOST_ROWS = 8192

Args = tuple[Tensor, ...]
Site = Any


def argument_names(pair: nn.Module | type[nn.Module]) -> tuple[str, ...]:
    """Return the names of the tensors that model and guide take, as ``("x", "length")``."""
    names = inspect.signature(model_of(pair)).parameters
    return tuple(name for name in names if name != "self")


def model_of(pair: nn.Module | type[nn.Module]) -> Callable[..., Any]:
    """Return the model of a pair."""
    return cast(Callable[..., Any], cast(Any, pair).model)


def guide_of(pair: nn.Module) -> Callable[..., Any]:
    """Return the guide of a pair."""
    return cast(Callable[..., Any], cast(Any, pair).guide)


@contextmanager
def isolated() -> Iterator[None]:
    """Run with an empty global parameter store, and leave the caller's store untouched."""
    store = pyro.get_param_store()
    with store.scope(store.__class__().get_state()):
        yield


@dataclass(frozen=True)
class PairTrace:
    """One run of the guide and of the model replayed against it."""

    model: Trace
    guide: Trace

    @property
    def latents(self) -> dict[str, tuple[Site, Site]]:
        """Model and guide site of every latent, in the order of the model."""
        sites = sample_sites(self.model)
        return {
            name: (site, self.guide.nodes[name])
            for name, site in sites.items()
            if not site["is_observed"] and name in self.guide.nodes
        }

    @property
    def observed(self) -> dict[str, Site]:
        """Observed sites of the model."""
        sites = sample_sites(self.model)
        return {name: site for name, site in sites.items() if site["is_observed"]}

    @property
    def same_order(self) -> bool:
        """Whether the latents come in one order, so that KL terms have their closed form."""
        guide = [name for name in sample_sites(self.guide) if name in self.model.nodes]
        return list(self.latents) == guide


def sample_sites(trace: Trace) -> dict[str, Site]:
    """Return the random variables of a trace, without plates."""
    return {
        name: site
        for name, site in trace.nodes.items()
        if site["type"] == "sample" and not site_is_subsample(site)
    }


def trace_pair(pair: nn.Module, args: Args, *, z: PointValue = "sample") -> PairTrace:
    """Run the guide, then the model on the latents that it drew (or on their means)."""
    guide = run_guide(pair, args, z=z)
    replayed: Callable[..., Any] = poutine.replay(model_of(pair), trace=guide)
    return PairTrace(poutine.trace(replayed).get_trace(*args), guide)


def run_guide(pair: nn.Module, args: Args, *, z: PointValue = "sample") -> Trace:
    """Return a trace of the guide, its latents drawn or set to their means."""
    guide = guide_of(pair)
    if z == "mean":
        guide = _TakeMean()(guide)
    return poutine.trace(guide).get_trace(*args)


class _TakeMean(Messenger):
    """Gives every unobserved site the mean of its distribution."""

    def _pyro_sample(self, msg: Any) -> None:
        if not (msg["is_observed"] or site_is_subsample(msg)):
            msg["value"] = mean_of(msg["fn"], msg["name"])
            msg["done"] = True


def mean_of(fn: Any, name: str) -> Tensor:
    """Return the mean of a distribution; a refusal when it has no closed form."""
    refusal = RequestError(
        f"the {type(fn).__name__} of site '{name}' has no closed-form mean; ask for a sample"
    )
    try:
        mean = torch.as_tensor(fn.mean)
    except NotImplementedError as error:
        raise refusal from error
    if mean.numel() and bool(mean.isnan().all()):  # as a Categorical says it
        raise refusal
    return mean


def log_density(site: Site, value: Tensor | None = None) -> Tensor:
    """Return the log-density of a site ``(B,)``: masked, but not scaled."""
    log_prob = site["fn"].log_prob(site["value"] if value is None else value)
    return torch.as_tensor(scale_and_mask(log_prob, mask=site["mask"]))


def total_log_density(sites: Iterable[Site]) -> Tensor:
    """Return the sum of the log-densities of some sites, at least one, ``(B,)``."""
    return torch.stack([log_density(site) for site in sites]).sum(0)


@dataclass(frozen=True)
class Terms:
    """The ELBO of each datum and its parts, in nats, whatever objective is optimised.

    ``recon`` is log p(x | z) ``(B,)``; ``kl`` has one ``(B,)`` per latent site, in closed form
    where there is one; ``kl_per_latent`` splits it over the elements of the site,
    ``(B, *event)``, where prior and posterior factorise.
    """

    recon: Tensor
    kl: Mapping[str, Tensor]
    kl_per_latent: Mapping[str, Tensor]

    @property
    def kl_total(self) -> Tensor:
        return torch.stack(list(self.kl.values())).sum(0) if self.kl else 0 * self.recon

    @property
    def elbo(self) -> Tensor:
        return self.recon - self.kl_total


def elbo_terms(pair: nn.Module, args: Args, *, trace: PairTrace | None = None) -> Terms:
    """Return the plain ELBO of each datum, split into its terms, from one draw of the guide."""
    trace = trace or trace_pair(pair, args)
    recon = total_log_density(trace.observed.values())
    kl, per_latent = {}, {}
    for name, (p, q) in trace.latents.items():
        kl[name] = _kl(p, q, closed_form=trace.same_order)
        elements = _kl_per_element(p, q) if trace.same_order else None
        if elements is not None:
            per_latent[name] = elements
    if "length" in argument_names(pair):
        kl, per_latent = _sum_over_steps(kl), _sum_over_steps(per_latent)
    return Terms(recon, kl, per_latent)


def _kl(p: Site, q: Site, *, closed_form: bool) -> Tensor:
    if closed_form:
        try:
            kl = kl_divergence(q["fn"], p["fn"])
            return torch.as_tensor(scale_and_mask(kl, mask=q["mask"]))
        except NotImplementedError:
            pass
    return log_density(q) - log_density(p)


def _kl_per_element(p: Site, q: Site) -> Tensor | None:
    """Return KL(q || p) per element ``(B, *event)`` when both factorise, else None.

    That of the paths of sequences is summed over their steps.
    """
    p_fn, q_fn = p["fn"], q["fn"]
    event_dim = q_fn.event_dim
    if hasattr(q_fn, "kl_per_latent"):
        kl = q_fn.kl_per_latent(p_fn)
        event_dim = 0 if kl is None else kl.dim() - 1
    else:
        kl = _kl_of_elements(p_fn, q_fn)
    mask = q["mask"]
    if isinstance(mask, Tensor):
        mask = mask.reshape(*mask.shape, *[1] * event_dim)
    return None if kl is None else torch.as_tensor(scale_and_mask(kl, mask=mask))


def _kl_of_elements(p_fn: Any, q_fn: Any) -> Tensor | None:
    while isinstance(p_fn, Independent) and isinstance(q_fn, Independent):
        p_fn, q_fn = p_fn.base_dist, q_fn.base_dist
    if p_fn.event_dim or q_fn.event_dim:
        return None
    try:
        return kl_divergence(q_fn, p_fn)
    except NotImplementedError:
        return None


def step_of(name: str) -> tuple[str, int] | None:
    """Return ``("z", 3)`` for the site ``z_3`` of a sequence, None for a site without a step."""
    match = re.fullmatch(r"(.+)_(\d+)", name)
    return (match[1], int(match[2])) if match else None


def _sum_over_steps(sites: Mapping[str, Tensor]) -> dict[str, Tensor]:
    summed: dict[str, Tensor] = {}
    for name, value in sites.items():
        step = step_of(name)
        base = step[0] if step else name
        summed[base] = summed[base] + value if base in summed else value
    return summed


def stack_steps(sites: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Join the sites of a sequence, ``x_0, x_1, ...`` of ``(B, D)``, to ``x`` of ``(B, T, D)``."""
    steps: dict[str, dict[int, Tensor]] = {}
    whole: dict[str, Tensor] = {}
    for name, value in sites.items():
        step = step_of(name)
        if step:
            steps.setdefault(step[0], {})[step[1]] = value
        else:
            whole[name] = value
    joined = {
        name: torch.stack([values[t] for t in sorted(values)], 1) for name, values in steps.items()
    }
    return {**whole, **joined}


def site_values(pair: nn.Module, sites: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return values by site, the steps of a sequence pair joined."""
    return stack_steps(sites) if "length" in argument_names(pair) else dict(sites)


def repeat_rows(args: Args, times: int) -> Args:
    """Repeat every datum: row ``b`` becomes the rows ``b * times ... (b + 1) * times - 1``."""
    return tuple(arg.repeat_interleave(times, dim=0) for arg in args)


@torch.no_grad()
def log_weights(
    pair: nn.Module, args: Args, num_samples: int, *, max_rows: int = MOST_ROWS
) -> Tensor:
    """Return log p(x, z) - log q(z | x) for draws from the guide.

    Every datum is repeated, so that a pair needs to know nothing of particles.

    Parameters
    ----------
    pair
        Any model/guide pair.
    args
        A batch, tensors of ``(B, ...)``.
    num_samples
        Draws S for each datum.
    max_rows
        Most rows that go through the pair at a time.

    Returns
    -------
    Tensor
        Log weights ``(S, B)``, in nats.
    """
    batch = len(args[0])
    chunk = max(1, min(num_samples, max_rows // batch))
    parts = []
    for start in range(0, num_samples, chunk):
        size = min(chunk, num_samples - start)
        trace = trace_pair(pair, repeat_rows(args, size))
        guide = sample_sites(trace.guide).values()
        log_q = total_log_density(guide) if guide else 0.0
        difference = total_log_density(sample_sites(trace.model).values()) - log_q
        parts.append(difference.reshape(batch, size).T)
    return torch.cat(parts)


@torch.no_grad()
def prior_predictive(pair: nn.Module, args: Args, *, x: PointValue = "sample") -> dict[str, Tensor]:
    """Draw latents from the prior and return all sites, observed ones as drawn or as means.

    The values of ``args`` give shapes only: observed sites are unconditioned.
    """
    trace = poutine.trace(poutine.uncondition(model_of(pair))).get_trace(*args)
    values = {}
    for name, site in sample_sites(trace).items():
        was_observed = site["infer"].get("was_observed", False)
        take_mean = x == "mean" and was_observed
        values[name] = mean_of(site["fn"], name) if take_mean else site["value"]
    return site_values(pair, values)


@torch.no_grad()
def reconstruct(
    pair: nn.Module, args: Args, *, z: PointValue = "mean", x: PointValue = "mean"
) -> dict[str, Tensor]:
    """Return what the model makes of the latents that the guide finds in the data.

    The result is taken from the distribution of each observed site, never from the observation.
    """
    trace = trace_pair(pair, args, z=z)
    values = {
        name: mean_of(site["fn"], name) if x == "mean" else site["fn"].sample()
        for name, site in trace.observed.items()
    }
    return site_values(pair, values)


@torch.no_grad()
def encode(pair: nn.Module, args: Args, *, z: PointValue = "mean") -> dict[str, Tensor]:
    """Return the latents that the guide finds in the data, drawn or as means."""
    guide = run_guide(pair, args, z=z)
    values = {name: site["value"] for name, site in sample_sites(guide).items()}
    return site_values(pair, values)
