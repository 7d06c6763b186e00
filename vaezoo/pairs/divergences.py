"""KL(q || p) of each latent of a trace: in closed form where that is right, else from its draw."""

import math
from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor
from torch.distributions import (
    LowRankMultivariateNormal,
    MultivariateNormal,
    Normal,
    kl_divergence,
)

from vaezoo.distributions.families import elements_of, elements_of_both
from vaezoo.pairs.plates import author_scale, log_density, weigh, weigh_elements
from vaezoo.pairs.sites import PairTrace, Site

__all__ = ["closed_form_sites", "kl_in_closed_form", "kl_of", "kl_per_element"]


def closed_form_sites(trace: PairTrace) -> frozenset[str]:
    """Return the latents whose KL term may be taken in closed form.

    The latents come in one order on both sides, and the mask and the scale of a site are the same
    ones: a closed form under two masks would be that of neither.

    Examples
    --------
    >>> from vaezoo.pairs.sites import trace_pair
    >>> from vaezoo.testing.pairs import LinearPair
    >>> closed_form_sites(trace_pair(LinearPair(), (torch.zeros(3, 4),)))
    frozenset({'z'})
    """
    if not trace.same_order:
        return frozenset()
    latents, bases = trace.latents.items(), trace.bases
    return frozenset(n for n, (p, q) in latents if n not in bases and _weighed_alike(p, q))


def _weighed_alike(p: Site, q: Site) -> bool:
    return _same(p["mask"], q["mask"]) and _same(author_scale(p), author_scale(q))


def _same(first: Any, second: Any) -> bool:
    if first is None or second is None:
        return first is second
    if not (isinstance(first, Tensor) or isinstance(second, Tensor)):
        return bool(first == second)  # no value of a tensor is read: this may be captured
    a, b = torch.as_tensor(first), torch.as_tensor(second)
    return first is second or (a.shape == b.shape and bool((a == b).all()))


def kl_in_closed_form(q: Any, p: Any) -> Tensor:
    """Return KL(q || p) of two distributions in closed form.

    Those that torch and Pyro know, and of a normal with correlations from one without.

    Raises
    ------
    NotImplementedError
        When there is none.

    Examples
    --------
    >>> from pyro import distributions as dist
    >>> q = dist.MultivariateNormal(torch.ones(2), torch.eye(2))
    >>> kl_in_closed_form(q, dist.Normal(torch.zeros(2), 1.0).to_event(1))
    tensor(1.)
    """
    elements = elements_of(p)
    correlated = isinstance(q, MultivariateNormal | LowRankMultivariateNormal)
    if correlated and isinstance(elements, Normal) and len(p.event_shape) == 1:
        return _kl_of_correlated(q, elements)
    return kl_divergence(q, p)


def _kl_of_correlated(q: Any, p: Normal) -> Tensor:
    """Return KL(N(m, S) || N(loc, diag scale^2)), of which only det S needs more than a sum."""
    squares = (q.variance + (q.mean - p.loc).square()) / p.scale.square()
    log_det = q.mean.shape[-1] * (1 + math.log(2 * math.pi)) - 2 * q.entropy()  # -log det S
    return 0.5 * ((squares - 1 + 2 * p.scale.log()).sum(-1) + log_det)


def kl_of(
    trace: PairTrace,
    name: str,
    closed_form: Collection[str],
    *,
    weight: float | Tensor = 1.0,
    rows: Tensor | None = None,
) -> Tensor:
    """Return KL(q || p) of a latent ``(B,)``, in closed form if asked for and there is one.

    Examples
    --------
    >>> from vaezoo.pairs.sites import trace_pair
    >>> from vaezoo.testing.pairs import LinearPair
    >>> kl_of(trace_pair(LinearPair(), (torch.zeros(3, 4),)), "z", {"z"}).shape
    torch.Size([3])
    """
    p, q = trace.latents[name]
    if name in closed_form:
        try:
            return weigh(kl_in_closed_form(q["fn"], p["fn"]), q, weight, rows)
        except NotImplementedError:
            pass
    log_q = log_density(q, weight=weight, rows=rows)
    if name in trace.bases:
        log_q = log_q + log_density(trace.bases[name], weight=weight, rows=rows)
    return log_q - log_density(p, weight=weight, rows=rows)


def kl_per_element(p: Site, q: Site, rows: Tensor | None = None) -> Tensor | None:
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
    return None if kl is None else weigh_elements(kl, q, event_dim, rows)


def _kl_of_elements(p_fn: Any, q_fn: Any) -> Tensor | None:
    both = elements_of_both(p_fn, q_fn)
    if both is None:
        return None
    p_fn, q_fn = both
    try:
        return kl_divergence(q_fn, p_fn)
    except NotImplementedError:
        return None
