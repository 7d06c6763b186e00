"""The elements of the latents of a run: their names, ranges and KL."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.distributions import LowRankMultivariateNormal, MultivariateNormal, Normal

from vaezoo.data.batches import Batches
from vaezoo.data.dataset import Array
from vaezoo.distributions.families import unwrapped
from vaezoo.errors import RequestError, nearest
from vaezoo.pairs.sites import trace_pair
from vaezoo.predict.latents.codes import Codes, codes_of
from vaezoo.runs import Run
from vaezoo.runtime.device import seeded
from vaezoo.sequences.paths import training_form
from vaezoo.training.metrics import measure

__all__ = [
    "MOST_CODES",
    "NUM_DRAWS",
    "USED",
    "Unit",
    "covariances_of",
    "named_unit",
    "paths_of",
    "set_values",
    "units_of",
    "values_of",
]

USED = 0.1  # nats of KL from which a latent counts as used
MOST_CODES = 1_000  # that say what is measured here
NUM_DRAWS = 64  # of q(z | x), for its covariance where that has no closed form
GAUSSIAN = (Normal, MultivariateNormal, LowRankMultivariateNormal)
RANGE = (0.025, 0.975)  # quantiles of the codes


@dataclass(frozen=True)
class Unit:
    """One element of a latent.

    Attributes
    ----------
    latent, index
        Its site and its place there; of a sequence that of each frame.
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


def named_unit(name: str, units: Sequence[Unit]) -> Unit:
    """Return an element by its name; ``3`` is that of the only latent.

    Raises
    ------
    RequestError
        When there is none of that name.

    Examples
    --------
    >>> named_unit("1", [Unit("z", 0, -2.0, 2.0), Unit("z", 1, -2.0, 2.0)]).name
    'z[1]'
    """
    only = {unit.latent for unit in units}
    if re.fullmatch(r"\d+", name) and len(only) == 1:
        name = f"{min(only)}[{name}]"
    by_name = {unit.name: unit for unit in units}
    if name not in by_name:
        raise RequestError(f"there is no latent '{name}'; {nearest(name, by_name)}")
    return by_name[name]


def set_values(
    codes: Codes, units: Sequence[Unit], values: Tensor, frame: int | None = None
) -> Codes:
    """Return codes whose latents have values ``(N, L)``.

    Parameters
    ----------
    codes, units
        Of which data, and which elements.
    values
        One for each element. Of a sequence these are means over its frames, which all move by as
        much; or with ``frame`` those of a single one, and a latent of the whole sequence moves too.
    """
    reals = {name: old.clone() for name, old in codes.reals.items()}
    for latent in dict.fromkeys(unit.latent for unit in units):
        places = [place for place, unit in enumerate(units) if unit.latent == latent]
        index = [units[place].index for place in places]
        names = codes.of_latent(latent)
        new = values[:, places]
        if codes.length is None or frame is not None:
            name = names[frame] if frame is not None and len(names) > 1 else names[0]
            reals[name][:, index] = new.to(reals[name])
            continue
        move = new - codes.frames(latent)[:, :, index].nanmean(1).to(new)
        for name in names:
            reals[name][:, index] += move.to(reals[name])
    return replace(codes, reals=reals)


def values_of(codes: Codes, units: Sequence[Unit]) -> Array:
    """Return the latents ``(N, L)`` in the order of the units, of sequences means over frames."""
    return np.asarray(np.nanmean(paths_of(codes, units), axis=1))


def paths_of(codes: Codes, units: Sequence[Unit]) -> Array:
    """Return the latents of each frame ``(N, T, L)``, nan behind the end; T is 1 without time.

    A latent of the whole sequence is the same in all its frames.
    """
    columns: dict[int, Tensor] = {}
    for latent in dict.fromkeys(unit.latent for unit in units):
        frames = codes.frames(latent).double().cpu()
        columns |= {i: frames[:, :, u.index] for i, u in enumerate(units) if u.latent == latent}
    paths = torch.broadcast_tensors(*(columns[place] for place in range(len(units))))
    return torch.stack(paths, -1).numpy()


def covariances_of(codes: Codes, units: Sequence[Unit], seed: int) -> Array:
    """Return the covariance of q(z | x) of each datum and frame, ``(N, T, L, L)``.

    Exact where the guide is one Gaussian site, of any rank; else that of 64 draws, nan behind the
    end of a sequence.
    """
    sites = trace_pair(codes.run.pair, codes.args, z="mean").latents
    fn = unwrapped(next(iter(sites.values()))[1]["fn"])
    if len(sites) == 1 and codes.length is None and isinstance(fn, GAUSSIAN):
        index = torch.tensor([unit.index for unit in units], device=fn.mean.device)
        variance = (
            fn.variance.flatten(1).diag_embed() if isinstance(fn, Normal) else fn.covariance_matrix
        )
        return variance.detach()[:, None, index[:, None], index].double().cpu().numpy()
    rows = torch.arange(len(codes)).repeat_interleave(NUM_DRAWS)
    draws = codes_of(codes.run, codes.at(rows).args, z="sample", seed=seed)
    paths = paths_of(draws, units)
    paths = paths.reshape(len(codes), NUM_DRAWS, *paths.shape[1:])
    centred = paths - paths.mean(1, keepdims=True)
    return np.asarray(np.einsum("nstl,nstm->ntlm", centred, centred) / (NUM_DRAWS - 1))
