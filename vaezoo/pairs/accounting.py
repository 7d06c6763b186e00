"""The accounting of a datum: log-densities, KL terms, importance weights, and what they are per.

Everything is read off the sites of a trace. Log-densities are in nats, one number per datum,
``(B,)``; this is the one place that says which sites a datum owns and how its terms add up.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from pyro.distributions.util import scale_and_mask
from torch import Tensor, nn
from torch.distributions import kl_divergence

from vaezoo.pairs.families import elements_of_both
from vaezoo.pairs.pieces import MOST_ROWS, join, rows_at_once, slices
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    Site,
    lengths_of,
    repeat_rows,
    sample_sites,
    step_of,
    takes_lengths,
    trace_pair,
)

__all__ = [
    "Terms",
    "elbo_terms",
    "log_density",
    "log_mean_exp",
    "log_weight",
    "log_weights",
    "num_units",
    "sum_over_steps",
    "total_log_density",
    "units_per_row",
]


def log_density(site: Site, value: Tensor | None = None, *, scaled: bool = False) -> Tensor:
    """Return the log-density of a site ``(B,)``: masked, and scaled only where that is asked for.

    What is measured is not scaled; an objective is, by the weight of its KL term.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> trace = trace_pair(pair, (x,))
    >>> log_density(trace.observed["x"]).shape
    torch.Size([3])
    """
    log_prob = site["fn"].log_prob(site["value"] if value is None else value)
    scale = site["scale"] if scaled else 1.0
    return torch.as_tensor(scale_and_mask(log_prob, scale=scale, mask=site["mask"]))


def total_log_density(sites: Iterable[Site], *, scaled: bool = False) -> Tensor:
    """Return the sum of the log-densities of some sites, at least one, ``(B,)``.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> trace = trace_pair(pair, (x,))
    >>> total_log_density(trace.observed.values()).shape
    torch.Size([3])
    """
    return torch.stack([log_density(site, scaled=scaled) for site in sites]).sum(0)


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
    """Return the plain ELBO of each datum, split into its terms, from one draw of the guide.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> terms = elbo_terms(pair, (x,))
    >>> terms.elbo.shape, terms.kl_per_latent["z"].shape
    (torch.Size([3]), torch.Size([3, 2]))
    """
    trace = trace or trace_pair(pair, args)
    recon = total_log_density(trace.observed.values())
    kl, per_latent = {}, {}
    for name, (p, q) in trace.latents.items():
        kl[name] = _kl(p, q, closed_form=trace.same_order)
        elements = _kl_per_element(p, q) if trace.same_order else None
        if elements is not None:
            per_latent[name] = elements
    if takes_lengths(pair):
        kl, per_latent = sum_over_steps(kl), sum_over_steps(per_latent)
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
    both = elements_of_both(p_fn, q_fn)
    if both is None:
        return None
    p_fn, q_fn = both
    try:
        return kl_divergence(q_fn, p_fn)
    except NotImplementedError:
        return None


def sum_over_steps(sites: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the sums of ``z_0, z_1, ...``, the sites of a sequence, as ``z``.

    Examples
    --------
    >>> sum_over_steps({"z_0": torch.ones(2), "z_1": torch.ones(2), "w": torch.ones(2)})
    {'z': tensor([2., 2.]), 'w': tensor([1., 1.])}
    """
    summed: dict[str, Tensor] = {}
    for name, value in sites.items():
        base, _ = step_of(name) or (name, 0)
        summed[base] = summed[base] + value if base in summed else value
    return summed


def log_weight(trace: PairTrace) -> Tensor:
    """Return log p(x, z) - log q(z | x) of what was traced ``(B,)``; log p(x) without latents.

    Examples
    --------
    The guide of this pair is exact, so that each weight is p(x).

    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> error = log_weight(trace_pair(pair, (x,))) - pair.log_evidence(x)
    >>> bool((error.abs() < 1e-4).all())
    True
    """
    log_p = total_log_density(sample_sites(trace.model).values())
    guide = sample_sites(trace.guide).values()
    return log_p - total_log_density(guide) if guide else log_p


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

    Examples
    --------
    The guide of this pair is exact, so that each weight is p(x).

    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> error = log_weights(pair, (x,), 5) - pair.log_evidence(x)
    >>> error.shape, bool((error.abs() < 1e-4).all())
    (torch.Size([5, 3]), True)
    """
    batch = len(args[0])
    parts = []
    for piece in slices(num_samples, rows_at_once(batch, most=max_rows)):
        size = piece.stop - piece.start
        trace = trace_pair(pair, repeat_rows(args, size))
        parts.append(log_weight(trace).reshape(batch, size).T)
    return join(parts)


def log_mean_exp(log_w: Tensor, dim: int = 0) -> Tensor:
    """Return log 1/K sum_k w_k along a dimension of log w: of each datum, ``(B,)``, of ``(K, B)``.

    It is 0 for a row that a mask leaves out.

    Examples
    --------
    >>> log_mean_exp(torch.tensor([[1.0, 3.0], [3.0, 1.0]]).log()).exp()
    tensor([2., 2.])
    """
    return log_w.logsumexp(dim) - math.log(log_w.shape[dim])


def units_per_row(pair: nn.Module, args: Args) -> Tensor:
    """Return what averages in nats are per, ``(B,)``: one for a datum, frames for a sequence.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> units_per_row(pair, (x,))
    tensor([1, 1, 1])
    """
    length = lengths_of(pair, args)
    if length is not None:
        return length
    return torch.ones(len(args[0]), dtype=torch.int64, device=args[0].device)


def num_units(pair: nn.Module, args: Args, mask: Tensor | None = None) -> Tensor:
    """Return the number of data in a batch, or of frames for sequences, in the rows kept.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> num_units(pair, (x,), torch.tensor([True, True, False]))
    tensor(2)
    """
    units = units_per_row(pair, args)
    return (units if mask is None else units * mask).sum()
