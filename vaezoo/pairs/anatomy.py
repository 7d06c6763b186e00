"""What a pair is made of, by its sites: distributions, parameters of each side, who needs whom."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from pyro import poutine
from pyro.infer.inspect import get_dependencies
from torch import Tensor, nn

from vaezoo.distributions.families import family
from vaezoo.pairs.divergences import closed_form_sites, kl_in_closed_form, kl_per_element
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.particles import probing
from vaezoo.pairs.plates import log_density
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    StochasticFunction,
    density_sites,
    guide_of,
    model_of,
    sample_sites,
    step_of,
    trace_pair,
)

__all__ = ["Anatomy", "SiteFacts", "anatomy", "names_of_guide", "names_of_model"]


@dataclass(frozen=True)
class SiteFacts:
    """What is known of a site; the steps of a sequence, ``z_0, z_1, ...``, are one.

    Attributes
    ----------
    name, shape
        Of the site, and of its event.
    model
        Family of its distribution in the model.
    guide
        That in the guide; None for what is observed.
    kl
        How KL(q || p) is taken: ``closed form`` or ``from the draw``; empty for what is observed.
    steps
        How often it stands in a sequence of the batch; 0 where it is not numbered.
    """

    name: str
    shape: tuple[int, ...]
    model: str
    guide: str | None
    kl: str
    steps: int = 0


@dataclass(frozen=True)
class Anatomy:
    """What a pair is made of.

    Attributes
    ----------
    sites
        Latents and observed sites, in the order of the model.
    theta, phi, shared
        Trained parameters of the model alone, of its guide alone, and of both: their number by the
        module of the pair that they stand in.
    edges, guide_edges
        Which site's distribution depends on which, ``(from, to)``.
    """

    sites: tuple[SiteFacts, ...]
    theta: Mapping[str, int]
    phi: Mapping[str, int]
    shared: Mapping[str, int]
    edges: tuple[tuple[str, str], ...]
    guide_edges: tuple[tuple[str, str], ...]


def anatomy(pair: nn.Module, args: Args) -> Anatomy:
    """Return what a pair is made of, from running it on a batch; it is left as it was.

    Parameters
    ----------
    pair
        Any model/guide pair.
    args
        A small batch, tensors of ``(B, ...)``.

    Examples
    --------
    >>> from vaezoo.models.vae import VAEBernoulli
    >>> parts = anatomy(VAEBernoulli(x_shape=(6,), z_dim=2, hidden=(4,)), (torch.ones(3, 6),))
    >>> [(site.name, site.model, site.guide) for site in parts.sites]
    [('z', 'Normal', 'Normal'), ('x', 'Bernoulli', None)]
    >>> parts.theta, parts.phi, parts.edges
    ({'decoder': 42}, {'encoder': 48}, (('z', 'x'),))
    """
    of_model, of_guide = names_of_model(pair, args), names_of_guide(pair, args)
    with probing(pair, args[0].device):
        trace = trace_pair(pair, args)
        sites = tuple(_facts(trace))
        latents = {name: q["value"] for name, (_, q) in trace.latents.items()}
        edges = _edges(hold(latents)(model_of(pair)), args, sites)
        guide_edges = _edges(guide_of(pair), args, sites)
    return Anatomy(
        sites,
        _sizes(pair, of_model - of_guide),
        _sizes(pair, of_guide - of_model),
        _sizes(pair, of_model & of_guide),
        edges,
        guide_edges,
    )


def names_of_model(pair: nn.Module, args: Args) -> frozenset[str]:
    """Return the names of the parameters on which log p(x, z) depends, for latents that are held.

    Parameters
    ----------
    pair, args
        A pair, which is left as it was, and a small batch of it.

    Examples
    --------
    >>> from vaezoo.models.vae_linear import VAELinear
    >>> sorted(names_of_model(VAELinear(x_shape=(4,)), (torch.zeros(3, 4),)))
    ['decoder.bias', 'decoder.weight', 'log_sigma']
    """
    with probing(pair, args[0].device):
        guide = sample_sites(trace_pair(pair, args).guide)
        latents = {name: site["value"].detach() for name, site in guide.items()}
        with torch.enable_grad():
            model = poutine.trace(hold(latents)(model_of(pair))).get_trace(*args)
            densities = [log_density(site).sum() for site in density_sites(model).values()]
            return _names_behind(torch.stack(densities).sum(), pair)


def names_of_guide(pair: nn.Module, args: Args) -> frozenset[str]:
    """Return the names of the parameters on which q(z | x) depends.

    Parameters
    ----------
    pair, args
        A pair, which is left as it was, and a small batch of it.

    Examples
    --------
    >>> from vaezoo.models.vae_linear import VAELinear
    >>> sorted(names_of_guide(VAELinear(x_shape=(4,)), (torch.zeros(3, 4),)))
    ['encoder.bias', 'encoder.weight', 'log_s']
    """
    with probing(pair, args[0].device), torch.enable_grad():
        guide = density_sites(poutine.trace(guide_of(pair)).get_trace(*args))
        draws = [site["value"] for site in guide.values() if site["value"].is_floating_point()]
        densities = [site["fn"].log_prob(site["value"]) for site in guide.values()]
        total = sum((part.sum() for part in [*draws, *densities]), torch.zeros(()))
        return _names_behind(total, pair)


def _names_behind(total: Tensor, pair: nn.Module) -> frozenset[str]:
    named = {name: p for name, p in pair.named_parameters() if p.requires_grad}
    if not (named and total.requires_grad):
        return frozenset()
    gradients = torch.autograd.grad(total, list(named.values()), allow_unused=True)
    return frozenset(n for n, grad in zip(named, gradients, strict=True) if grad is not None)


def _sizes(pair: nn.Module, names: frozenset[str]) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for name, parameter in pair.named_parameters():
        if name in names:
            part = name.partition(".")[0]
            sizes[part] = sizes.get(part, 0) + parameter.numel()
    return sizes


def _facts(trace: PairTrace) -> list[SiteFacts]:
    closed_form, latents = closed_form_sites(trace), trace.latents
    facts: dict[str, SiteFacts] = {}
    for name, site in {**latents, **trace.observed}.items():
        p, q = site if name in latents else (site, None)
        kl = "" if q is None else _kl(name, p, q, closed_form)
        base, steps = _base(name)
        steps += facts[base].steps if base in facts and steps else 0
        guide = None if q is None else family(q["fn"])
        shape = tuple(p["fn"].event_shape)
        facts[base] = SiteFacts(base, shape, family(p["fn"]), guide, kl, steps)
    return list(facts.values())


def _kl(name: str, p: Any, q: Any, closed_form: frozenset[str]) -> str:
    if name not in closed_form:
        return "from the draw"
    try:
        has_form = kl_per_element(p, q) is not None or _joint_form(p, q)
    except NotImplementedError:
        has_form = False
    return "closed form" if has_form else "from the draw"


def _joint_form(p: Any, q: Any) -> bool:
    kl_in_closed_form(q["fn"], p["fn"])
    return True


def _base(name: str) -> tuple[str, int]:
    """Return the name of a site without its step, and 1 if it has one."""
    step = step_of(name)
    return (step[0], 1) if step else (name, 0)


def _edges(
    fn: StochasticFunction, args: Args, sites: Sequence[SiteFacts]
) -> tuple[tuple[str, str], ...]:
    """Return which sites the distribution of each needs; of a sequence, without its steps."""
    names = {site.name for site in sites}
    needs: Any = get_dependencies(fn, args)["prior_dependencies"]
    edges = {
        (_base(source)[0], _base(target)[0]): None
        for target, sources in needs.items()
        for source in sources
        if source != target
    }
    return tuple(edge for edge in edges if set(edge) <= names)
