"""Averages over data that are logged for every epoch, whatever objective is optimised."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vaezoo.data.transform import Transform
from vaezoo.pairs.sites import Args, argument_names
from vaezoo.runs.summary import sum_of_terms
from vaezoo.training.measuring.batch import BatchTerms, TermsOf
from vaezoo.training.measuring.rows import Rows
from vaezoo.training.measuring.sites import SiteMetrics, SiteSums

__all__ = ["ACTIVE_VARIANCE", "Metrics", "average", "measure"]

ACTIVE_VARIANCE = 0.01  # of codes over data (Burda et al. 2016, arXiv:1509.00519)


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
    log_volume
        Nats per datum, or frame, by which log-densities of the data in their own units are below
        these: the log-determinant of the transform, summed over the elements that have a density.
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
    log_volume: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return what there is; terms that few pairs have only where they have them.

        An autoencoder has a reconstruction, and the penalty by which what is trained is less.
        """
        if self.is_autoencoder:
            values = {"reconstruction": self.recon, "penalty": self.penalty}
            sites = {name: asdict(site) for name, site in self.sites.items()}
            return {**values, "at_floor": self.at_floor, **({"sites": sites} if sites else {})}
        few = ("factors", "kl_global", "num_data", "bits_per_dim", "sites", "log_volume")
        values = {n: v for n, v in asdict(self).items() if v not in (None, {}, 0) or n not in few}
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
    names, terms_of = argument_names(pair), TermsOf(pair)
    rows = (Rows(args, names, transform) for args in batches)
    return average(rows, lambda of: terms_of(of.args), transform, num_data=num_data)


@torch.no_grad()
def average(
    batches: Iterable[Rows],
    terms_of: Callable[[Rows], BatchTerms],
    transform: Transform,
    *,
    num_data: float | None = None,
) -> Metrics:
    """Do the same with rows that may be counted already, and terms that may be captured."""
    sums = _Sums(transform, num_data)
    for rows in batches:
        sums.add(rows, terms_of(rows))
    return sums.average()


class _Sums:
    def __init__(self, transform: Transform, num_data: float | None) -> None:
        self.transform, self.num_data = transform, num_data
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
        self.by_site = SiteSums()

    def add(self, rows: Rows, terms: BatchTerms) -> None:
        self.by_site.add(rows, terms)
        self.units += rows.units
        self.rows += len(rows)
        self.recon += float(terms.recon.cpu().double().sum())
        self.kl += float(terms.kl.cpu().double().sum())
        for name, kl in terms.kl_per_latent.items():
            summed = kl.cpu().double().sum(0)
            self.per_latent[name] = self.per_latent.get(name, 0.0) + summed
        self.at_floor += len(rows) * float(terms.at_floor)
        self._count_elements(rows, terms.facts.sizes)
        self.num_missing += rows.num_missing
        self.missing_volume += rows.missing_volume
        self._add_shared(terms)
        self.is_autoencoder = terms.facts.is_autoencoder
        for name, mean in terms.means.items():
            self.means.setdefault(name, []).append(mean)

    def _count_elements(self, rows: Rows, sizes: Mapping[str, int]) -> None:
        """Count the elements of a datum, of a frame for sequences, at all observed sites."""
        self.num_elements = max(1, sum(sizes.values()) // rows.num_places)
        of_x = [size for name, size in sizes.items() if name == "x" or name.startswith("x_")]
        self.elements_of_x = sum(of_x) // rows.num_places or self.num_elements

    def _add_shared(self, terms: BatchTerms) -> None:
        if terms.factors is not None:
            self.has_factors = True
            self.factors += float(terms.factors.cpu().double().sum())
        if terms.kl_global is not None:
            self.kl_global.append(float(terms.kl_global))

    def _bits_per_dim(self, elbo: float) -> float | None:
        """Return -ELBO in bits per entry that is there, in units of the stored data."""
        if self.by_site.recon:
            return self.by_site.bits_per_dim(elbo * self.units)
        entries = self.num_elements - self.num_missing / self.units
        return (self._log_volume() - elbo) / max(entries, 1e-9) / math.log(2)

    def _log_volume(self) -> float:
        """Return nats per datum, or frame, by which densities in the data's units are below."""
        if self.by_site.recon:
            return sum(self.by_site.volume.values()) / self.units
        if self.transform.binarize != "none":
            return 0.0
        volume = self.transform.log_volume * self.elements_of_x
        return volume - self.missing_volume / self.units if self.num_missing else volume

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
            log_volume=self._log_volume(),
        )

    def _active_units(self) -> int | None:
        if not self.means:
            return None
        means = [torch.cat(parts) for parts in self.means.values()]
        return sum(int((mean.var(0) > ACTIVE_VARIANCE).sum()) for mean in means if len(mean) > 1)
