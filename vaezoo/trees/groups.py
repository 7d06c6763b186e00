"""Groups of a tree that are drawn: from the guide of each datum, and from the model alone."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.observations.predictions import prior_predictive
from vaezoo.pairs.accounting import sum_over_steps
from vaezoo.pairs.handlers import hold
from vaezoo.pairs.plates import in_data_plate, log_density, total_log_density
from vaezoo.pairs.sites import (
    Args,
    PairTrace,
    Site,
    repeat_rows,
    run_guide,
    sample_sites,
    site_values,
    trace_pair,
)
from vaezoo.runtime.device import seeded
from vaezoo.sequences.paths import training_form
from vaezoo.trees.rows import Rows

__all__ = [
    "DEFAULT_GROUPS",
    "GROUPS",
    "NUM_CHAINS",
    "Groups",
    "draw_from_guide",
    "draw_from_prior",
    "to_numpy",
]

DEFAULT_GROUPS = (
    "posterior",
    "sample_stats",
    "log_prior",
    "guide",
    "observed_data",
    "constant_data",
)
# ArviZ takes a group log_likelihood for an invitation to loo and compare; of latents that belong to
# one datum each, those do not mean what they do elsewhere, so that it has to be asked for.
GROUPS = (*DEFAULT_GROUPS, "log_likelihood", "prior", "prior_predictive", "posterior_predictive")
NUM_CHAINS = 4
# Each kind of draw has seeds of its own, so that one does not depend on which others are made.
_POSTERIOR, _PREDICTIVE, _PRIOR, _SHARED = range(4)

Groups = dict[str, dict[str, Array]]


def draw_from_guide(
    rows: Rows, args: Args, start: int, num_samples: int, *, predictive: bool
) -> Groups:
    """Draw latents of some data, with their densities.

    Parameters
    ----------
    rows
        All rows.
    args
        Some of them.
    start
        Position of the first; draws depend on it, and not on what was drawn before.
    num_samples
        Draws for each datum, in parts that go through the pair at once.
    predictive
        Whether to draw from the likelihood, too.

    Returns
    -------
    dict of dict of array
        Arrays ``(chain, draw, datum, ...)`` by group and name.
    """
    if rows.shared:
        return _draw_with_shared(rows, args, start, num_samples, predictive)
    per_chain, count = num_samples // NUM_CHAINS, len(args[0])
    step = max(1, rows.at_once // (count * NUM_CHAINS))
    parts = []
    for first in range(0, per_chain, step):
        num_draws = min(step, per_chain - first)
        repeated = repeat_rows(args, NUM_CHAINS * num_draws)
        values = _draw_once(rows, repeated, (start, first), predictive)
        parts.append(
            {
                group: {name: _by_chain(value, count, num_draws) for name, value in named.items()}
                for group, named in values.items()
            }
        )
    return _concatenated(parts, 1)


def _draw_with_shared(
    rows: Rows, args: Args, start: int, num_samples: int, predictive: bool
) -> Groups:
    """Draw once after the other where data share latents, which are those of a draw for all."""
    draws = []
    for number in range(num_samples):
        with seeded(_seed(rows.seed, _SHARED, number), rows.run.device):
            guide = run_guide(rows.run.pair, rows.args(0, 1))
        data, sites = rows.example.data_plate, sample_sites(guide)
        shared = {
            name: site["value"]
            for name, site in sites.items()
            if name in rows.shared or not in_data_plate(site, data, of_guide=True)
        }
        with hold(shared):
            values = _draw_once(rows, args, (start, number), predictive)
        draws.append({group: to_numpy(named) for group, named in values.items()})
    shape = (NUM_CHAINS, num_samples // NUM_CHAINS)
    stacked = {
        group: {name: np.stack([draw[group][name] for draw in draws]) for name in names}
        for group, names in draws[0].items()
    }
    return _chained(stacked, shape)


def _chained(groups: Groups, shape: tuple[int, int]) -> Groups:
    """``(draws, ...)`` to ``(chain, draw, ...)``."""
    return {
        group: {name: value.reshape(*shape, *value.shape[1:]) for name, value in values.items()}
        for group, values in groups.items()
    }


def _draw_once(
    rows: Rows, args: Args, place: tuple[int, int], predictive: bool
) -> dict[str, dict[str, Tensor]]:
    pair, device = training_form(rows.run.pair), rows.run.device
    with seeded(_seed(rows.seed, _POSTERIOR, *place), device):
        trace = trace_pair(pair, args)
    latents = {name: q["value"] for name, (_, q) in trace.latents.items()}
    groups = {"posterior": site_values(pair, latents), **_densities(rows, trace)}
    if predictive:
        with seeded(_seed(rows.seed, _PREDICTIVE, *place), device):
            replicated = {name: site["fn"].sample() for name, site in trace.observed.items()}
        groups["posterior_predictive"] = rows.predicted(site_values(pair, replicated))
    return groups


def _densities(rows: Rows, trace: PairTrace) -> dict[str, dict[str, Tensor]]:
    """Return log-densities ``(B,)`` by group and site.

    Those of latents that all data share, ``()``, have their place in the prior only.
    """
    log_likelihood = _by_site(rows, trace.observed)
    log_prior = _by_site(rows, {name: p for name, (p, _) in trace.latents.items()})
    local = [value for name, value in log_prior.items() if name not in rows.shared]
    lp = torch.stack([*log_likelihood.values(), *local]).sum(0)
    of_guide = [
        site
        for name, site in sample_sites(trace.guide).items()
        if not rows.shared
        or (name not in rows.shared and in_data_plate(site, trace.data_plate, of_guide=True))
    ]
    log_q = total_log_density(of_guide) if of_guide else torch.zeros_like(lp)
    return {
        "sample_stats": {"lp": lp, "log_q": log_q, "log_weight": lp - log_q},
        "log_likelihood": log_likelihood,
        "log_prior": log_prior,
    }


def _by_site(rows: Rows, sites: Mapping[str, Site]) -> dict[str, Tensor]:
    """Return log-densities by site ``(B,)``, those of the steps of a sequence summed."""
    densities = {name: log_density(site) for name, site in sites.items()}
    return sum_over_steps(densities) if rows.is_sequence else densities


def draw_from_prior(rows: Rows, num_samples: int) -> Groups:
    """Draw from the model alone; arrays ``(chain, draw, ...)``."""
    parts, at_once = [], 1 if rows.shared else rows.at_once
    for first in range(0, num_samples, at_once):
        count = min(at_once, num_samples - first)
        with seeded(_seed(rows.seed, _PRIOR, first), rows.run.device):
            args = rows.placeholder(count)
            sites = prior_predictive(rows.run.pair, tuple(args.values()))
        conditions = {name: arg for name, arg in args.items() if name not in ("x", "length")}
        latents = {name: sites.pop(name) for name in rows.latents}
        latents |= {name: latents[name].unsqueeze(0) for name in rows.shared}
        predictive = {**conditions, **rows.predicted(sites)}
        parts.append({"prior": to_numpy(latents), "prior_predictive": to_numpy(predictive)})
    return _chained(_concatenated(parts, 0), (NUM_CHAINS, num_samples // NUM_CHAINS))


def _seed(*place: int) -> int:
    """Return a seed for each place of each kind of draw."""
    return int(np.random.SeedSequence(place).generate_state(1, np.uint64)[0] >> np.uint64(1))


def _by_chain(value: Tensor, count: int, num_draws: int) -> Array:
    """``(datum * chain * draw, ...)`` to ``(chain, draw, datum, ...)``."""
    split = value.reshape(count, NUM_CHAINS, num_draws, *value.shape[1:])
    return split.permute(1, 2, 0, *range(3, split.dim())).cpu().numpy()


def to_numpy(values: Mapping[str, Tensor]) -> dict[str, Array]:
    """Return arrays of tensors."""
    return {name: value.cpu().numpy() for name, value in values.items()}


def _concatenated(parts: Sequence[Groups], axis: int) -> Groups:
    return {
        group: {name: np.concatenate([part[group][name] for part in parts], axis) for name in names}
        for group, names in parts[0].items()
    }
