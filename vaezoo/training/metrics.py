"""Averages over data that are logged for every epoch, whatever objective is optimised."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from vaezoo.data.transform import Transform
from vaezoo.distributions.families import is_discrete
from vaezoo.observations.roles import Observation, Roles, roles_of
from vaezoo.pairs.accounting import Terms, elbo_terms, num_units
from vaezoo.pairs.lengths import aligned, frame_mask
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    argument_names,
    is_autoencoder,
    step_of,
    takes_lengths,
    trace_pair,
)
from vaezoo.parts.likelihoods import Gaussian, share_at_floor
from vaezoo.runs.summary import sum_of_terms

__all__ = ["Metrics", "SiteMetrics", "measure"]

ACTIVE_VARIANCE = 0.01


@dataclass(frozen=True)
class SiteMetrics:
    """How well one of several observed sites is explained.

    Attributes
    ----------
    recon
        log p(x | z) of its values, in nats per datum, per frame for sequences.
    bits_per_dim
        Negative ``recon`` in bits per element that is not missing, in units of the stored data. No
        KL term is part of it, since no site has one of its own.
    num_elements
        Elements per datum, or frame, that are not missing.
    is_discrete
        Whether ``recon`` is of probabilities; it is of densities otherwise.
    """

    recon: float
    bits_per_dim: float
    num_elements: float
    is_discrete: bool


@dataclass(frozen=True)
class Metrics:
    """Averages in nats per datum, per frame for sequences.

    Attributes
    ----------
    elbo, recon, kl
        The plain ELBO (beta = 1) and its two terms, ``elbo = recon - kl`` for most pairs.
    kl_per_latent
        KL of every latent by site, where prior and posterior factorise.
    active_units
        Latents whose posterior mean varies over the data by more than 0.01 (Burda et al. 2016,
        arXiv:1509.00519); None where the guide has no closed-form means.
    bits_per_dim
        Negative ELBO in bits per element that is not missing, in units of the stored data. None
        where probabilities and densities would be added up; ``sites`` has those of each.
    at_floor
        Share of outputs of a Gaussian likelihood whose sigma lies at its floor.
    factors
        What ``pyro.factor`` adds to the ELBO; None without.
    kl_global
        KL of the latents that all data share, in nats of the data set; ``kl_global / num_data`` is
        part of the ELBO of each datum. None without such latents.
    num_data
        Number of data (frames for sequences) that share them.
    is_autoencoder
        Whether the guide gives each latent one value: then there is no ELBO. ``recon`` is the
        reconstruction, and ``elbo`` what is trained, which priors and factors are part of.
    sites
        Of each observed site, where there are several.
    """

    elbo: float
    recon: float
    kl: float
    kl_per_latent: Mapping[str, list[float]]
    active_units: int | None
    bits_per_dim: float | None
    at_floor: float
    factors: float | None = None
    kl_global: float | None = None
    num_data: float | None = None
    is_autoencoder: bool = False
    sites: Mapping[str, SiteMetrics] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Return what there is; terms that few pairs have only where they have them.

        An autoencoder has a reconstruction, and the penalty by which what is trained is less.
        """
        if self.is_autoencoder:
            values = {"reconstruction": self.recon, "penalty": self.penalty}
            sites = {name: asdict(site) for name, site in self.sites.items()}
            return {**values, "at_floor": self.at_floor, **({"sites": sites} if sites else {})}
        few = ("factors", "kl_global", "num_data", "bits_per_dim", "sites")
        values = {n: v for n, v in asdict(self).items() if v not in (None, {}) or n not in few}
        del values["is_autoencoder"]
        return values

    @property
    def penalty(self) -> float:
        """What is subtracted from log p(x | z), in nats: KL terms, or -log p(z), and factors."""
        return self.recon - self.elbo

    def score(self, beta: float) -> float:
        """Return the ELBO with weight ``beta`` on its KL term."""
        kl = self.kl if self.kl_global is None else self.kl + self.kl_global / self._num_data
        score = self.recon - beta * kl
        return score if self.factors is None else score + self.factors

    @property
    def sum_of_terms(self) -> str:
        """What the ELBO is the sum of, in nats, as ``-1.234 - KL 0.567``."""
        return sum_of_terms(asdict(self), digits=3)

    @property
    def _num_data(self) -> float:
        return math.inf if self.num_data is None else self.num_data


@torch.no_grad()
def measure(
    pair: nn.Module,
    batches: Iterable[Args],
    transform: Transform,
    *,
    num_data: float | None = None,
) -> Metrics:
    """Average the terms of the ELBO over batches, one draw of the guide per datum.

    What all data share counts ``1 / num_data`` in each, and nothing where nobody knows the number.
    """
    sums = _Sums(pair, transform, num_data)
    for args in batches:
        sums.add(args)
    return sums.average()


class _Sums:
    def __init__(self, pair: nn.Module, transform: Transform, num_data: float | None) -> None:
        self.pair, self.transform, self.num_data = pair, transform, num_data
        self.is_sequence = takes_lengths(pair)
        self.units = self.rows = 0
        self.recon = self.kl = self.at_floor = self.factors = 0.0
        self.kl_global: list[float] = []
        self.has_factors = False
        self.per_latent: dict[str, Tensor] = {}
        self.means: dict[str, list[Tensor]] = {}
        self.num_elements = self.elements_of_x = 1
        self.num_missing = 0
        self.missing_volume = 0.0
        self.is_autoencoder = False
        self.by_site = _SiteSums(pair, transform)

    def add(self, args: Args) -> None:
        trace = trace_pair(self.pair, args)
        several = _several_sites(self.pair, trace)
        terms = elbo_terms(self.pair, args, trace=trace, by_site=several)
        if several:
            self.by_site.add(args, trace, terms)
        self.units += int(num_units(self.pair, args))
        self.rows += len(args[0])
        self.recon += float(terms.recon.cpu().double().sum())
        self.kl += float(terms.kl_total.cpu().double().sum())
        for name, kl in terms.kl_per_latent.items():
            summed = kl.cpu().double().sum(0)
            self.per_latent[name] = self.per_latent.get(name, 0.0) + summed
        self.at_floor += len(args[0]) * _share_at_floor(self.pair, trace)
        self._count_elements(args, trace)
        self._count_missing(args)
        self._add_shared(terms)
        self.is_autoencoder = is_autoencoder(trace)
        self._add_means(trace)

    def _count_elements(self, args: Args, trace: PairTrace) -> None:
        """Count the elements of a datum, of a frame for sequences, at all observed sites."""
        rows = len(args[0]) * (args[0].shape[1] if self.is_sequence else 1)
        sizes = {name: site["value"].numel() for name, site in trace.observed.items()}
        self.num_elements = max(1, sum(sizes.values()) // rows)
        of_x = [size for name, size in sizes.items() if name == "x" or name.startswith("x_")]
        self.elements_of_x = sum(of_x) // rows or self.num_elements

    def _count_missing(self, args: Args) -> None:
        """Count the entries that are missing, which are no elements of what is explained."""
        for name, arg in zip(argument_names(self.pair), args, strict=True):
            missing = arg.isnan()
            self.num_missing += int(missing.sum())
            if name == "x":
                volumes = torch.as_tensor(self.transform.log_volumes, device=arg.device)
                self.missing_volume += float(torch.where(missing, volumes, 0.0).sum())

    def _add_shared(self, terms: Terms) -> None:
        if terms.factors:
            self.has_factors = True
            factors = torch.stack(list(terms.factors.values())).sum(0)
            self.factors += float(factors.cpu().double().sum())
        if terms.kl_global:
            self.kl_global.append(float(sum(terms.kl_global.values())))

    def _add_means(self, trace: PairTrace) -> None:
        if self.is_sequence:
            return
        for name, (_, q) in trace.local_latents.items():
            try:
                self.means.setdefault(name, []).append(q["fn"].mean)
            except NotImplementedError:
                self.means.pop(name, None)

    def _bits_per_dim(self, elbo: float) -> float | None:
        """Return -ELBO in bits per entry that is there, in units of the stored data."""
        if self.by_site.recon:
            return self.by_site.bits_per_dim(elbo * self.units)
        counts = self.transform.binarize == "none"
        volume = self.transform.log_volume if counts else 0.0
        if not self.num_missing:
            volume *= self.elements_of_x / self.num_elements
            return (-elbo / self.num_elements + volume) / math.log(2)
        volume *= self.elements_of_x
        volume -= self.missing_volume / self.units if counts else 0.0
        entries = self.num_elements - self.num_missing / self.units
        return (volume - elbo) / max(entries, 1e-9) / math.log(2)

    def average(self) -> Metrics:
        recon, kl = self.recon / self.units, self.kl / self.units
        factors = self.factors / self.units if self.has_factors else None
        shared = sum(self.kl_global) / len(self.kl_global) if self.kl_global else None
        elbo = recon - kl + (factors or 0.0) - (shared or 0.0) / (self.num_data or math.inf)
        return Metrics(
            elbo=elbo,
            recon=recon,
            kl=kl,
            kl_per_latent={
                name: (value / self.units).flatten().tolist()
                for name, value in self.per_latent.items()
            },
            active_units=self._active_units(),
            bits_per_dim=self._bits_per_dim(elbo),
            at_floor=self.at_floor / self.rows,
            factors=factors,
            kl_global=shared,
            num_data=None if shared is None else self.num_data,
            is_autoencoder=self.is_autoencoder,
            sites=self.by_site.average(self.units),
        )

    def _active_units(self) -> int | None:
        if not self.means:
            return None
        means = [torch.cat(parts) for parts in self.means.values()]
        return sum(int((mean.var(0) > ACTIVE_VARIANCE).sum()) for mean in means if len(mean) > 1)


def _several_sites(pair: nn.Module, trace: PairTrace) -> bool:
    """Return whether more than one site is observed, the steps of a sequence being one."""
    names = trace.observed
    if takes_lengths(pair):
        return len({(step_of(name) or (name,))[0] for name in names}) > 1
    return len(names) > 1


class _SiteSums:
    """Sums over the data of each observed site: log p(x | z), entries, and what units are worth."""

    def __init__(self, pair: nn.Module, transform: Transform) -> None:
        self.names, self.in_time = argument_names(pair), takes_lengths(pair)
        self.pair, self.transform = pair, transform
        self.roles: Roles | None = None
        self.recon: dict[str, float] = {}
        self.entries: dict[str, float] = {}
        self.volume: dict[str, float] = {}
        self.is_discrete: dict[str, bool] = {}

    def add(self, args: Args, trace: PairTrace, terms: Terms) -> None:
        if self.roles is None:
            self.roles = roles_of(self.pair, args, trace)
            for name, site in trace.observed.items():
                self.is_discrete.setdefault(self._base(name), is_discrete(site["fn"]))
        for name, recon in terms.recon_by_site.items():
            taken = self.roles.observed[name]
            count, volume = self._count(args, taken) if taken else self._computed(trace, name)
            volume = 0.0 if self.is_discrete[name] else volume
            new = {"recon": float(recon.cpu().double().sum()), "entries": count, "volume": volume}
            for what, value in new.items():
                sums = getattr(self, what)
                sums[name] = sums.get(name, 0.0) + value

    def _base(self, name: str) -> str:
        step = step_of(name) if self.in_time else None
        return step[0] if step else name

    def _computed(self, trace: PairTrace, name: str) -> tuple[float, float]:
        values = [s["value"].numel() for n, s in trace.observed.items() if self._base(n) == name]
        return float(sum(values)), 0.0

    def _count(self, args: Args, taken: Observation) -> tuple[float, float]:
        """Return the entries of an argument that a site takes, and the nats of their units."""
        arg, x = args[self.names.index(taken.argument)], args[self.names.index("x")]
        present = ~arg.isnan()
        frames = self.in_time and arg.shape[1:2] == x.shape[1:2]
        if frames:
            length = args[self.names.index("length")]
            present = present & aligned(frame_mask(length, arg.shape[1]), present)
        event = arg.shape[1 + frames :]
        flat = present.reshape(-1, max(1, event.numel()))
        places = torch.arange(flat.shape[1]) if taken.elements is None else taken.elements
        chosen = flat.index_select(1, places.to(flat.device)).double()
        if taken.argument != "x" or self.transform.binarize != "none":
            return float(chosen.sum()), 0.0
        volumes = torch.from_numpy(np.broadcast_to(self.transform.log_volumes, event).copy())
        return float(chosen.sum()), float((chosen.sum(0).cpu() * volumes.flatten()[places]).sum())

    def bits_per_dim(self, elbo: float) -> float | None:
        """Return minus the sum of all ELBOs in bits per entry; None of unlike sites."""
        if len(set(self.is_discrete.values())) > 1:
            return None
        entries = max(1e-9, sum(self.entries.values()))
        return (sum(self.volume.values()) - elbo) / entries / math.log(2)

    def average(self, units: int) -> dict[str, SiteMetrics]:
        """Return the numbers of each site, per datum or frame."""
        return {
            name: SiteMetrics(
                recon=recon / units,
                bits_per_dim=(self.volume[name] - recon)
                / max(1e-9, self.entries[name])
                / math.log(2),
                num_elements=self.entries[name] / units,
                is_discrete=self.is_discrete[name],
            )
            for name, recon in self.recon.items()
        }


def _share_at_floor(pair: nn.Module, trace: PairTrace) -> float:
    likelihoods = [module for module in pair.modules() if isinstance(module, Gaussian)]
    if len(likelihoods) != 1 or len(trace.observed) != 1:
        return 0.0
    (site,) = trace.observed.values()
    return share_at_floor(likelihoods[0], site["fn"])
