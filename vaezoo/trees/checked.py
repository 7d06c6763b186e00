"""Draws of chains and of checked posteriors, with the coordinates of those of the guide."""

from collections.abc import Mapping

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.checking import PosteriorCheck
from vaezoo.diagnostics.grading import VERDICTS
from vaezoo.diagnostics.sequences import SequenceCheck
from vaezoo.inference.hmc import HMCResult
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.particles import Particles, probing
from vaezoo.pairs.pieces import join_sequences
from vaezoo.pairs.sites import model_of, sample_sites, site_values, step_of
from vaezoo.trees.drawing import Draws
from vaezoo.trees.groups import NUM_CHAINS, to_numpy
from vaezoo.trees.rows import Rows

__all__ = ["chains_tree", "checked_tree"]

MOST_REPLICATED = 25  # of each chain: x of a datum is large


def checked_tree(
    draws: Draws, q: xr.DataTree, check: PosteriorCheck | SequenceCheck, numbers: xr.Dataset
) -> xr.DataTree:
    """Return draws of the posteriors, with the verdict on each datum in ``constant_data``.

    The draws are resampled and hence independent but for repeats; as those of ``q`` they are cut
    into four chains. Those of data that are not trusted are there too, but are not right.

    Parameters
    ----------
    draws, q
        Those of the guide.
    check
        What the draws come from.
    numbers
        What there is of each datum, along ``datum``; it goes with the verdict.

    Returns
    -------
    xarray.DataTree
        With ``posterior_predictive``: x given some draws of each chain, whose ``draw`` it keeps, of
        sequences given the true frames before.
    """
    values = {name: _by_chain(z) for name, z in check.draws.items()}
    tree = _tree(draws, q, values, "checked")
    constant = tree["constant_data"].to_dataset()
    verdict = np.array(VERDICTS)[check.verdict.cpu().numpy()].astype(object)
    more = numbers.drop_vars([*constant, "verdict"], errors="ignore")
    kept = {str(n): v.variable for n, v in more.items() if set(v.dims) <= set(constant.dims)}
    constant = constant.assign({"verdict": ("datum", verdict), **kept})
    tree["constant_data"] = xr.DataTree(constant)
    if not draws.rows.shared:
        tree["posterior_predictive"] = xr.DataTree(_replicated(draws, check.draws, constant))
    return tree


def _replicated(draws: Draws, latents: Mapping[str, Tensor], constant: xr.Dataset) -> xr.Dataset:
    """Return x given some draws of the latents ``(R, B, ...)``, evenly taken from each chain."""
    rows = draws.rows
    per_chain = len(next(iter(latents.values()))) // NUM_CHAINS
    number = min(per_chain, MOST_REPLICATED)
    places = np.linspace(0, per_chain - 1, number).round().astype(int)
    chosen = torch.from_numpy((np.arange(NUM_CHAINS)[:, None] * per_chain + places).ravel())
    some = {name: z[chosen.to(z.device)] for name, z in latents.items()}
    with probing(rows.run.pair, rows.run.device, seed=rows.seed):
        total = len(next(iter(some.values()))[0])
        every = max(1, rows.at_once // len(chosen))
        parts = [
            _replicate(rows, {n: z[:, s : s + every] for n, z in some.items()}, s)
            for s in range(0, total, every)
        ]
    values = {}
    for name, first in parts[0].items():
        of_all = [part[name] for part in parts]
        in_frames = rows.is_sequence and first.dim() > 2
        joined = join_sequences(of_all, 0.0, dim=1) if in_frames else torch.cat(of_all, 1)
        values[name] = joined.unflatten(0, (NUM_CHAINS, number)).cpu().numpy()
    length = constant["length"].values if "length" in constant else None
    group = rows.coordinates.dataset("posterior_predictive", values, 0, length)
    return group.assign_coords(draw=places)


def _replicate(rows: Rows, latents: Mapping[str, Tensor], start: int) -> dict[str, Tensor]:
    """Return observed sites of some data, given draws of their latents: ``(R, B, ...)``."""
    number, count = next(iter(latents.values())).shape[:2]
    particles = Particles(number)
    # Behind the end of a sequence stands nan, and whatever is drawn there is cut off.
    # Latents with an edge were drawn in float64, and the pair is what it was trained in.
    dtype = next((p.dtype for p in rows.run.pair.parameters()), torch.get_default_dtype())
    latents = {n: z.to(dtype) if z.is_floating_point() else z for n, z in latents.items()}
    by_row = {name: particles.by_row(z).nan_to_num() for name, z in latents.items()}
    args = rows.args(start, start + count)
    with hold({**by_row, **_by_step(rows, by_row)}):
        sites = sample_sites(particles.run(model_of(rows.run.pair), args))
    observed = {name: site["fn"].sample() for name, site in sites.items() if site["is_observed"]}
    values = rows.predicted(site_values(rows.run.pair, observed))
    return {name: particles.by_datum(value) for name, value in values.items()}


def _by_step(rows: Rows, by_row: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the steps of sequences, by the names of their sites."""
    steps = {name: step_of(name) for name in rows.example.latents} if rows.is_sequence else {}
    longest = {name: z.shape[1] for name, z in by_row.items() if z.dim() > 1}
    return {
        f"{step[0]}_{t}": by_row[step[0]][:, t]
        for step in steps.values()
        if step is not None and step[0] in by_row
        for t in range(longest[step[0]])
    }


def chains_tree(draws: Draws, q: xr.DataTree, chains: HMCResult) -> xr.DataTree:
    """Return HMC chains, whose R-hat and effective sample size mean what they say.

    ``sample_stats`` has what ArviZ looks for: ``lp``, ``energy``, ``diverging`` and
    ``acceptance_rate``, each ``(chain, draw, datum)``.
    """
    values = {name: z.cpu().numpy() for name, z in chains.latents.items()}
    tree = _tree(draws, q, values, "hmc")
    stats = {
        "lp": chains.log_joint,
        "energy": chains.energy,
        "diverging": chains.diverging,
        "acceptance_rate": chains.acceptance_rate,
    }
    group = draws.rows.coordinates.dataset("sample_stats", to_numpy(stats), 0, None)
    tree["sample_stats"] = xr.DataTree(group)
    tree.attrs["r_hat_is_meaningful"] = 1
    return tree


def _tree(
    draws: Draws, q: xr.DataTree, values: Mapping[str, Array], approximation: str
) -> xr.DataTree:
    constant = q["constant_data"].to_dataset()
    length = constant["length"].values if "length" in constant else None
    groups = {"posterior": draws.rows.coordinates.dataset("posterior", values, 0, length)}
    groups |= {name: q[name].to_dataset() for name in ("observed_data", "constant_data")}
    tree = xr.DataTree.from_dict(groups)
    tree.attrs = {**q.attrs, "approximation": approximation}
    return tree


def _by_chain(z: Tensor) -> Array:
    """``(R, B, ...)`` to ``(chain, draw, B, ...)``."""
    number = len(z) // NUM_CHAINS * NUM_CHAINS
    return z[:number].unflatten(0, (NUM_CHAINS, -1)).cpu().numpy()
