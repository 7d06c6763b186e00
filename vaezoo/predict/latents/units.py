"""The elements of the latents of a run: their names, ranges and KL."""

from dataclasses import dataclass

import numpy as np

from vaezoo.data.batches import Batches
from vaezoo.predict.latents.codes import Codes
from vaezoo.runs import Run
from vaezoo.runtime.device import seeded
from vaezoo.sequences.paths import training_form
from vaezoo.training.metrics import measure

__all__ = ["MOST_CODES", "Unit", "units_of"]

MOST_CODES = 1_000  # that say what is measured here
RANGE = (0.025, 0.975)  # quantiles of the codes


@dataclass(frozen=True)
class Unit:
    """One element of a latent.

    Attributes
    ----------
    latent, index
        Its site and its place there; of a sequence it is moved in all frames alike.
    low, high
        The range of 95 % of the codes of data.
    kl
        In nats per datum or frame; None where KL terms do not come by element.
    """

    latent: str
    index: int
    low: float
    high: float
    kl: float | None = None

    @property
    def name(self) -> str:
        return f"{self.latent}[{self.index}]"


def units_of(run: Run, codes: Codes, batches: Batches, split: str, seed: int) -> tuple[Unit, ...]:
    """Return the elements of all latents, the largest KL first.

    Parameters
    ----------
    run, codes
        Whose they are, and codes of its data, of which the first 1,000 say the ranges.
    batches, split
        The rows, of which as many say the KL.
    seed
        Of the draws for KL terms.
    """
    with seeded(seed, run.device):
        rows = batches.fixed(split, limit=MOST_CODES)
        metrics = measure(training_form(run.pair), rows, batches.transform)
    units = []
    for latent in dict.fromkeys(site.latent for site in codes.sites):
        reals = codes.frames(latent)[:MOST_CODES].flatten(0, 1).cpu().numpy()
        low, high = (np.nanquantile(reals, quantile, axis=0) for quantile in RANGE)
        kl = dict(enumerate(metrics.kl_per_latent.get(latent, [])))
        units += [
            Unit(latent, index, float(low[index]), float(high[index]), kl.get(index))
            for index in range(reals.shape[1])
        ]
    return tuple(sorted(units, key=lambda unit: -(unit.kl or 0.0)))
