"""Sums over the data of each observed site: log p(x | z), entries, and what units are worth."""

import math
from dataclasses import dataclass

from vaezoo.pairs.sites import step_of
from vaezoo.training.measuring.batch import BatchTerms, Facts
from vaezoo.training.measuring.rows import Rows

__all__ = ["SiteMetrics", "SiteSums"]


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


class SiteSums:
    """Adds up batches; without several sites there is nothing to add."""

    def __init__(self) -> None:
        self.recon: dict[str, float] = {}
        self.entries: dict[str, float] = {}
        self.volume: dict[str, float] = {}
        self.is_discrete: dict[str, bool] = {}

    def add(self, rows: Rows, terms: BatchTerms) -> None:
        facts = terms.facts
        if not terms.recon_by_site or facts.roles is None:
            return
        self.is_discrete = {**facts.is_discrete, **self.is_discrete}
        for name, recon in terms.recon_by_site.items():
            taken = facts.roles.observed[name]
            count, volume = rows.entries(name, taken) if taken else _computed(rows, facts, name)
            volume = 0.0 if self.is_discrete[name] else volume
            new = {"recon": float(recon.cpu().double().sum()), "entries": count, "volume": volume}
            for what, value in new.items():
                sums = getattr(self, what)
                sums[name] = sums.get(name, 0.0) + value

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


def _computed(rows: Rows, facts: Facts, name: str) -> tuple[float, float]:
    """Return the entries of a site that takes no argument, and no nats."""

    def base(site: str) -> str:
        step = step_of(site) if rows.in_time else None
        return step[0] if step else site

    return float(sum(number for site, number in facts.sizes.items() if base(site) == name)), 0.0
