"""The terms of the ELBO of one batch, and what the metrics need besides, as it is or captured."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor, nn

from vaezoo.distributions.families import is_discrete
from vaezoo.engine.functions.repeated import Repeated
from vaezoo.engine.many.graphs import Graphs
from vaezoo.engine.repayment import MOST_SITES_CAPTURED
from vaezoo.observations.roles import Roles, roles_of
from vaezoo.pairs.accounting import elbo_terms
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    is_autoencoder,
    sample_sites,
    step_of,
    takes_lengths,
    trace_pair,
)
from vaezoo.parts.likelihoods import Gaussian, share_at_floor
from vaezoo.runtime.isolation import untouched

__all__ = ["BatchTerms", "CapturedTerms", "Facts", "TermsOf"]


@dataclass(frozen=True)
class Facts:
    """What holds for all batches of one shape, whatever the weights are.

    Attributes
    ----------
    num_sites
        Random variables of the model.
    is_autoencoder
        Whether the guide gives each latent one value.
    sizes
        Elements of each observed site, in the whole batch.
    is_discrete
        Whether observed sites, the steps of a sequence as one, have probabilities.
    roles
        What they take, where there are several.
    """

    num_sites: int
    is_autoencoder: bool
    sizes: Mapping[str, int]
    is_discrete: Mapping[str, bool]
    roles: Roles | None


@dataclass(frozen=True)
class BatchTerms:
    """What is measured of B data, in nats; see :class:`vaezoo.pairs.accounting.Terms`.

    Attributes
    ----------
    facts
        Of batches of this shape.
    recon, kl
        ``(B,)`` each.
    at_floor
        Share of outputs whose sigma lies at its floor, ``()``.
    kl_per_latent
        ``(B, *event)`` each.
    means
        Of the guide's latents, ``(B, *event)``, where it has means in closed form.
    factors
        ``(B,)``; None without any.
    kl_global
        ``()``; None where data share no latents.
    recon_by_site
        ``(B,)`` of each observed site, where there are several.
    """

    facts: Facts
    recon: Tensor
    kl: Tensor
    at_floor: Tensor
    kl_per_latent: Mapping[str, Tensor] = field(default_factory=dict)
    means: Mapping[str, Tensor] = field(default_factory=dict)
    factors: Tensor | None = None
    kl_global: Tensor | None = None
    recon_by_site: Mapping[str, Tensor] = field(default_factory=dict)

    def tensors(self) -> dict[tuple[str, str], Tensor]:
        """Return all tensors, by the attribute and the name in it."""
        flat: dict[tuple[str, str], Tensor] = {}
        for name, value in vars(self).items():
            if isinstance(value, Tensor):
                flat[name, ""] = value
            elif isinstance(value, Mapping):
                flat |= {(name, key): tensor for key, tensor in value.items()}
        return flat

    @cached_property
    def _places(self) -> tuple[tuple[str, str], ...]:
        return tuple(self.tensors())

    def with_tensors(self, values: Sequence[Tensor]) -> "BatchTerms":
        """Return the same of another batch, its tensors in the order of :meth:`tensors`."""
        whole: dict[str, Tensor] = {}
        within: dict[str, dict[str, Tensor]] = {}
        for (name, key), value in zip(self._places, values, strict=True):
            if key:
                within.setdefault(name, {})[key] = value
            else:
                whole[name] = value
        return BatchTerms(facts=self.facts, **whole, **within)  # type: ignore[arg-type]


class TermsOf:
    """Gives the terms of batches of a pair.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> terms = TermsOf(LinearPair())((torch.zeros(3, 4),))
    >>> terms.recon.shape, terms.means["z"].shape
    (torch.Size([3]), torch.Size([3, 2]))
    """

    def __init__(self, pair: nn.Module) -> None:
        self.pair = pair
        self.is_sequence = takes_lengths(pair)
        self._roles: Roles | None = None

    @torch.no_grad()
    def __call__(self, args: Args, times: int = 1) -> BatchTerms:
        """Return the terms of a batch in which each row stands ``times`` times in a row."""
        trace = trace_pair(self.pair, args)
        several = len({self._base(name) for name in trace.observed}) > 1
        terms = elbo_terms(self.pair, args, trace=trace, by_site=several)
        factors, shared = terms.factors.values(), terms.kl_global.values()
        return BatchTerms(
            self._facts(args, trace, several=several),
            terms.recon,
            terms.kl_total,
            self._at_floor(trace, terms.recon),
            terms.kl_per_latent,
            {} if self.is_sequence else _means(trace),
            torch.stack(list(factors)).sum(0) if factors else None,
            torch.as_tensor(sum(shared)) if shared else None,
            terms.recon_by_site,
        )

    def _facts(self, args: Args, trace: PairTrace, *, several: bool) -> Facts:
        observed = trace.observed
        if several and self._roles is None:
            self._roles = roles_of(self.pair, args, trace)
        discrete: dict[str, bool] = {}
        for name, site in observed.items():
            discrete.setdefault(self._base(name), is_discrete(site["fn"]))
        sizes = {name: site["value"].numel() for name, site in observed.items()}
        number = len(sample_sites(trace.model))
        return Facts(number, is_autoencoder(trace), sizes, discrete, self._roles)

    def _base(self, name: str) -> str:
        """Return the name of a site, without the step of a sequence."""
        step = step_of(name) if self.is_sequence else None
        return step[0] if step else name

    def _at_floor(self, trace: PairTrace, recon: Tensor) -> Tensor:
        likelihoods = [module for module in self.pair.modules() if isinstance(module, Gaussian)]
        if len(likelihoods) != 1 or len(trace.observed) != 1:
            return recon.new_zeros(())
        (site,) = trace.observed.values()
        return share_at_floor(likelihoods[0], site["fn"])


def _means(trace: PairTrace) -> dict[str, Tensor]:
    means = {}
    for name, (_, q) in trace.local_latents.items():
        try:
            means[name] = q["fn"].mean
        except NotImplementedError:
            continue
    return means


class CapturedTerms(TermsOf):
    """Gives the terms of batches of a pair, captured unless its sites are very many.

    What a distribution refuses is not refused then: the terms are not finite.

    Parameters
    ----------
    pair
        The pair.
    graphs
        Those of other seeds of the pair.

    Examples
    --------
    >>> from vaezoo.testing.pairs import LinearPair
    >>> CapturedTerms(LinearPair())((torch.zeros(3, 4),)).recon.shape
    torch.Size([3])
    """

    def __init__(self, pair: nn.Module, graphs: Graphs | None = None) -> None:
        super().__init__(pair)
        self._first: dict[object, BatchTerms] = {}
        self._repeated = Repeated(self._flat, pair, graphs=graphs)

    def __call__(self, args: Args, times: int = 1) -> BatchTerms:
        kind = tuple((arg.shape, arg.dtype) for arg in args)
        if kind not in self._first:
            with untouched(self.pair, args[0].device):
                self._first[kind] = super().__call__(args)
        if self._first[kind].facts.num_sites > MOST_SITES_CAPTURED:
            return super().__call__(args)
        return self._first[kind].with_tensors(self._repeated(args, times))

    def _flat(self, inputs: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(super().__call__(tuple(inputs)).tensors().values())
