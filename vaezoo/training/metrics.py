"""Averages over data that are logged for every epoch, whatever objective is optimised."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.data.transform import Transform
from vaezoo.pairs.accounting import elbo_terms, num_units
from vaezoo.pairs.sites import Args, PairTrace, takes_lengths, trace_pair
from vaezoo.parts.likelihoods import Gaussian, share_at_floor

__all__ = ["Metrics", "measure"]

ACTIVE_VARIANCE = 0.01


@dataclass(frozen=True)
class Metrics:
    """Averages in nats per datum, per frame for sequences.

    Attributes
    ----------
    elbo, recon, kl
        The plain ELBO (beta = 1) and its two terms, ``elbo = recon - kl``.
    kl_per_latent
        KL of every latent by site, where prior and posterior factorise.
    active_units
        Latents whose posterior mean varies over the data by more than 0.01 (Burda et al. 2016,
        arXiv:1509.00519); None where the guide has no closed-form means.
    bits_per_dim
        Negative ELBO in bits per element, in units of the stored data.
    at_floor
        Share of outputs of a Gaussian likelihood whose sigma lies at its floor.
    """

    elbo: float
    recon: float
    kl: float
    kl_per_latent: Mapping[str, list[float]]
    active_units: int | None
    bits_per_dim: float
    at_floor: float

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    def score(self, beta: float) -> float:
        """Return the ELBO with weight ``beta`` on its KL term."""
        return self.recon - beta * self.kl


@torch.no_grad()
def measure(pair: nn.Module, batches: Iterable[Args], transform: Transform) -> Metrics:
    """Average the terms of the ELBO over batches, one draw of the guide per datum."""
    sums = _Sums(pair)
    for args in batches:
        sums.add(args)
    return sums.average(transform)


class _Sums:
    def __init__(self, pair: nn.Module) -> None:
        self.pair = pair
        self.is_sequence = takes_lengths(pair)
        self.units = self.rows = 0
        self.recon = self.kl = self.at_floor = 0.0
        self.per_latent: dict[str, Tensor] = {}
        self.means: dict[str, list[Tensor]] = {}
        self.num_elements = 1

    def add(self, args: Args) -> None:
        trace = trace_pair(self.pair, args)
        terms = elbo_terms(self.pair, args, trace=trace)
        self.units += int(num_units(self.pair, args))
        self.rows += len(args[0])
        self.recon += float(terms.recon.cpu().double().sum())
        self.kl += float(terms.kl_total.cpu().double().sum())
        for name, kl in terms.kl_per_latent.items():
            summed = kl.cpu().double().sum(0)
            self.per_latent[name] = self.per_latent.get(name, 0.0) + summed
        self.at_floor += len(args[0]) * _share_at_floor(self.pair, trace)
        first_x = args[0][:, 0] if self.is_sequence else args[0]
        self.num_elements = math.prod(first_x.shape[1:])
        self._add_means(trace)

    def _add_means(self, trace: PairTrace) -> None:
        if self.is_sequence:
            return
        for name, (_, q) in trace.latents.items():
            try:
                self.means.setdefault(name, []).append(q["fn"].mean)
            except NotImplementedError:
                self.means.pop(name, None)

    def average(self, transform: Transform) -> Metrics:
        recon, kl = self.recon / self.units, self.kl / self.units
        volume = transform.log_volume if transform.binarize == "none" else 0.0
        return Metrics(
            elbo=recon - kl,
            recon=recon,
            kl=kl,
            kl_per_latent={
                name: (value / self.units).flatten().tolist()
                for name, value in self.per_latent.items()
            },
            active_units=self._active_units(),
            bits_per_dim=((kl - recon) / self.num_elements + volume) / math.log(2),
            at_floor=self.at_floor / self.rows,
        )

    def _active_units(self) -> int | None:
        if not self.means:
            return None
        means = [torch.cat(parts) for parts in self.means.values()]
        return sum(int((mean.var(0) > ACTIVE_VARIANCE).sum()) for mean in means if len(mean) > 1)


def _share_at_floor(pair: nn.Module, trace: PairTrace) -> float:
    likelihoods = [module for module in pair.modules() if isinstance(module, Gaussian)]
    if len(likelihoods) != 1 or len(trace.observed) != 1:
        return 0.0
    (site,) = trace.observed.values()
    return share_at_floor(likelihoods[0], site["fn"])
