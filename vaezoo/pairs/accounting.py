"""The accounting of a datum: log-densities, KL terms, importance weights, and what they are per.

Everything is read off the sites of a trace. Log-densities are in nats, one number per datum,
``(B,)``; this is the one place that says which sites a datum owns and how its terms add up.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, replace

import pyro
import torch
from pyro.poutine.trace_struct import Trace
from torch import Tensor, nn

from vaezoo.errors import RequestError
from vaezoo.pairs.divergences import closed_form_sites, kl_of, kl_per_element
from vaezoo.pairs.enumeration import Enumeration, enumeration_of
from vaezoo.pairs.particles import Particles, choose_particles, probing
from vaezoo.pairs.pieces import data_at_once, join, rows_at_once, slices, trial_rows
from vaezoo.pairs.plates import in_data_plate, log_density, sum_over_plates, total_log_density
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    density_sites,
    guide_of,
    lengths_of,
    model_of,
    sample_sites,
    step_of,
    takes_lengths,
    trace_pair,
)

__all__ = [
    "Terms",
    "elbo_terms",
    "log_guide",
    "log_joint",
    "log_mean_exp",
    "log_weight",
    "log_weights",
    "num_units",
    "sum_over_steps",
    "units_per_row",
    "weigher",
]


def log_joint(
    trace: Trace,
    *,
    latents: Collection[str] | None = None,
    weight: float | Tensor = 1.0,
    rows: Tensor | None = None,
) -> Tensor:
    """Return log p(x, z) of a trace of the model, its factors included, ``(B,)``.

    Parameters
    ----------
    trace
        Of the model.
    latents
        Those that count; a latent that is drawn from its prior, as nothing else draws it, does not.
        By default all.
    weight
        A factor of the log-densities of latents.
    rows
        Which rows count, ``(B,)``, boolean.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> log_joint(trace_pair(LinearPair(), (torch.zeros(3, 4),)).model).shape
    torch.Size([3])
    """
    sites = density_sites(trace).items()
    counted = [s for n, s in sites if s["is_observed"] or latents is None or n in latents]
    return total_log_density(counted, weight=weight, rows=rows)


def log_guide(
    trace: PairTrace, *, weight: float | Tensor = 1.0, rows: Tensor | None = None
) -> Tensor | float:
    """Return log q(z | x) of the latents that each datum has, ``(B,)``; 0 without any.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> log_guide(trace_pair(LinearPair(), (torch.zeros(3, 4),))).shape
    torch.Size([3])
    """
    own = trace.local_latents
    sites = [site for name, site in sample_sites(trace.guide).items() if name in own]
    sites += [base for name, base in trace.bases.items() if name in own]
    return total_log_density(sites, weight=weight, rows=rows) if sites else 0.0


@dataclass(frozen=True)
class Terms:
    """The ELBO of each datum and its parts, in nats, whatever objective is optimised.

    Attributes
    ----------
    recon
        log p(x | z), ``(B,)``, of all observed sites.
    kl
        One ``(B,)`` per latent site, in closed form where there is one.
    kl_per_latent
        ``kl`` over the elements of the site, ``(B, *event)``, where prior and posterior factorise.
    factors
        What ``pyro.factor`` adds, ``(B,)``: to log p in the model, to -log q in the guide.
    kl_global
        KL of the sites that all data share, ``()``, each once for the whole data set.
    recon_by_site
        ``recon`` of each observed site, the steps of a sequence as one, where it was asked for.
    """

    recon: Tensor
    kl: Mapping[str, Tensor]
    kl_per_latent: Mapping[str, Tensor]
    factors: Mapping[str, Tensor] = field(default_factory=dict)
    kl_global: Mapping[str, Tensor] = field(default_factory=dict)
    recon_by_site: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def kl_total(self) -> Tensor:
        return torch.stack(list(self.kl.values())).sum(0) if self.kl else 0 * self.recon

    @property
    def elbo(self) -> Tensor:
        """The ELBO of each datum, without the part of the sites that all data share."""
        elbo = self.recon - self.kl_total
        return elbo + torch.stack(list(self.factors.values())).sum(0) if self.factors else elbo


def elbo_terms(
    pair: nn.Module,
    args: Args,
    *,
    trace: PairTrace | None = None,
    closed_form: Collection[str] | None = None,
    rows: Tensor | None = None,
    by_site: bool = False,
) -> Terms:
    """Return the plain ELBO of each datum, split into its terms, from one draw of the guide.

    Parameters
    ----------
    pair
        Any model/guide pair.
    args
        A batch, tensors of ``(B, ...)``.
    trace
        Of both sides, where there is one already.
    closed_form
        Latents whose KL is taken in closed form if there is one; by default
        :func:`closed_form_sites`.
    rows
        Which rows count, ``(B,)``, boolean.
    by_site
        Whether log p(x | z) of each observed site is wanted, too.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> terms = elbo_terms(pair, (x,))
    >>> terms.elbo.shape, terms.kl_per_latent["z"].shape
    (torch.Size([3]), torch.Size([3, 2]))
    """
    trace = trace or trace_pair(pair, args)
    enumeration = enumeration_of(trace)
    if enumeration is not None:
        return _mean_terms(pair, args, enumeration, rows, by_site)
    return _terms_of(pair, trace, closed_form, rows, by_site)


def _mean_terms(
    pair: nn.Module, args: Args, enumeration: Enumeration, rows: Tensor | None, by_site: bool
) -> Terms:
    """Return the terms whose mean over the values of marked latents is exact."""
    trace, weights = enumeration.trace(Particles(), model_of(pair), guide_of(pair), args)
    kept = None if rows is None else enumeration.repeat((rows,))[0]
    terms = _terms_of(pair, trace, None, kept, by_site)

    def mean(values: Mapping[str, Tensor]) -> dict[str, Tensor]:
        dims = {name: weights.dim() - 1 - value.dim() for name, value in values.items()}
        return {n: enumeration.mean(value, weights, dims[n]) for n, value in values.items()}

    (recon,) = mean({"x": terms.recon}).values()
    kl, per_latent, factors = map(mean, (terms.kl, terms.kl_per_latent, terms.factors))
    return Terms(recon, kl, per_latent, factors, terms.kl_global, mean(terms.recon_by_site))


def _terms_of(
    pair: nn.Module,
    trace: PairTrace,
    closed_form: Collection[str] | None,
    rows: Tensor | None,
    by_site: bool,
) -> Terms:
    closed_form = closed_form_sites(trace) if closed_form is None else closed_form
    recon = total_log_density(trace.observed.values(), rows=rows)
    local, whole = trace.local_latents, trace.global_latents
    kl = {name: kl_of(trace, name, closed_form, rows=rows) for name in local}
    factors, shared = _factor_terms(trace, rows)
    shared |= {
        name: sum_over_plates(kl_of(trace, name, closed_form), whole[name][0]) for name in whole
    }
    per_latent = {}
    for name, (p, q) in local.items():
        elements = kl_per_element(p, q, rows) if name in closed_form else None
        if elements is not None:
            per_latent[name] = elements
    if takes_lengths(pair):
        kl, per_latent = sum_over_steps(kl), sum_over_steps(per_latent)
    sites = _recon_by_site(pair, trace, rows) if by_site else {}
    return Terms(recon, kl, per_latent, factors, shared, sites)


def _recon_by_site(pair: nn.Module, trace: PairTrace, rows: Tensor | None) -> dict[str, Tensor]:
    values = {name: log_density(site, rows=rows) for name, site in trace.observed.items()}
    return sum_over_steps(values) if takes_lengths(pair) else values


def _factor_terms(
    trace: PairTrace, rows: Tensor | None
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return what each factor adds to the ELBO of a datum, and those of the data set subtract."""
    local, whole = {}, {}
    for sign, sites in ((1, trace.factors), (-1, trace.penalties)):
        for name, site in sites.items():
            if in_data_plate(site, trace.data_plate, of_guide=sign < 0):
                local[name] = sign * log_density(site, rows=rows)
            else:
                whole[name] = sum_over_plates(-sign * log_density(site), site)
    return local, whole


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

    Latents that all data share are given, and have no part in it.

    Examples
    --------
    The guide of this pair is exact, so that each weight is p(x).

    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> error = log_weight(trace_pair(pair, (x,))) - pair.log_evidence(x)
    >>> bool((error.abs() < 1e-4).all())
    True
    """
    return log_joint(trace.model, latents=trace.local_latents) - log_guide(trace)


@torch.no_grad()
def log_weights(
    pair: nn.Module, args: Args, num_samples: int, *, max_rows: int | None = None
) -> Tensor:
    """Return log p(x, z) - log q(z | x) for draws from the guide, ``(S, B)``, in nats.

    The guide runs once for each datum, and the model on all draws, in a plate of their own. Every
    datum is repeated where the pair takes no such plate, or the model marks latents.

    Parameters
    ----------
    pair
        Any model/guide pair.
    args
        A batch, tensors of ``(B, ...)``.
    num_samples
        Draws S for each datum.
    max_rows
        Most rows that go through the pair at a time; by the size of a datum unless given.

    Examples
    --------
    The guide of this pair is exact, so that each weight is p(x).

    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> error = log_weights(pair, (x,), 5) - pair.log_evidence(x)
    >>> error.shape, bool((error.abs() < 1e-4).all())
    (torch.Size([5, 3]), True)
    """
    weigh = weigher(pair, args, num_samples)
    size = rows_at_once(len(args[0]), most=max_rows or data_at_once(pair, args))
    return join([weigh(args, part.stop - part.start) for part in slices(num_samples, size)])


def weigher(pair: nn.Module, args: Args, num_samples: int) -> Callable[[Args, int], Tensor]:
    """Return what gives log weights ``(S, B)`` of a batch like ``args``, for S draws at a time.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> x, pair = torch.zeros(3, 4), LinearPair()
    >>> weigher(pair, (x,), 100)((x,), 5).shape
    torch.Size([5, 3])
    """
    particles, summed = _ways(pair, args, num_samples)

    def weigh(args: Args, number: int) -> Tensor:
        several = replace(particles, number=number)
        with torch.no_grad(), pyro.validation_enabled(False):  # as where it is captured
            return several.by_datum(_log_weights_of(pair, args, several, summed))

    return weigh


def _ways(pair: nn.Module, args: Args, number: int) -> tuple[Particles, Enumeration | None]:
    """Return how draws go through a pair, and the latents that the model alone marks."""
    few = trial_rows(args)
    with probing(pair, args[0].device, evaluating=False):
        trace = trace_pair(pair, few)
        _refuse_global(trace)
        every = enumeration_of(trace)
        if every is not None and every.of_model:
            return Particles(number), Enumeration({}, every.of_model)
        return choose_particles(pair, few, min(number, 2)), None


def _log_weights_of(
    pair: nn.Module, args: Args, particles: Particles, summed: Enumeration | None
) -> Tensor:
    """Return log weights in the batch shape of the sites; what the model marks is summed out."""
    if summed is None:
        return log_weight(particles.trace(model_of(pair), guide_of(pair), args))
    rows = particles.repeat(args)
    of_all, weights = summed.trace(Particles(), model_of(pair), guide_of(pair), rows)
    return summed.mean(log_weight(of_all), weights)


def _refuse_global(trace: PairTrace) -> None:
    for name in trace.global_latents:
        raise RequestError(
            f"all data share site '{name}', so that a datum has no importance weights of its own; "
            "put the site inside the data plate, or use the ELBO"
        )


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
