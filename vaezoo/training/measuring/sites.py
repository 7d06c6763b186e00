"""Sums over the data of each observed site: log p(x | z), entries, and what units are worth."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from vaezoo.data.transform import Transform
from vaezoo.observations.roles import Observation
from vaezoo.pairs.lengths import aligned, frame_mask
from vaezoo.pairs.sites import Args, step_of
from vaezoo.training.measuring.batch import BatchTerms, Facts

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

    def __init__(self, names: Sequence[str], transform: Transform) -> None:
        self.names, self.in_time = names, "length" in names
        self.transform = transform
        self.recon: dict[str, float] = {}
        self.entries: dict[str, float] = {}
        self.volume: dict[str, float] = {}
        self.is_discrete: dict[str, bool] = {}

    def add(self, args: Args, terms: BatchTerms) -> None:
        facts = terms.facts
        if not terms.recon_by_site or facts.roles is None:
            return
        self.is_discrete = {**facts.is_discrete, **self.is_discrete}
        for name, recon in terms.recon_by_site.items():
            taken = facts.roles.observed[name]
            count, volume = self._count(args, taken) if taken else self._computed(facts, name)
            volume = 0.0 if self.is_discrete[name] else volume
            new = {"recon": float(recon.cpu().double().sum()), "entries": count, "volume": volume}
            for what, value in new.items():
                sums = getattr(self, what)
                sums[name] = sums.get(name, 0.0) + value

    def _base(self, name: str) -> str:
        step = step_of(name) if self.in_time else None
        return step[0] if step else name

    def _computed(self, facts: Facts, name: str) -> tuple[float, float]:
        return float(sum(n for site, n in facts.sizes.items() if self._base(site) == name)), 0.0

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
