"""From a run to ArviZ: draws of posterior and prior as labelled arrays."""

from collections.abc import Sequence
from pathlib import Path

import xarray as xr

from vaezoo.data import DataLike
from vaezoo.errors import RequestError, nearest, require_positive
from vaezoo.pairs.admission import DENSITY, admit
from vaezoo.runs import RunLike, as_run
from vaezoo.runs.conditions import Given
from vaezoo.runtime.device import seeded
from vaezoo.trees.coordinates import DIMS
from vaezoo.trees.drawing import MOST_GIB, Draws
from vaezoo.trees.groups import DEFAULT_GROUPS, GROUPS, NUM_CHAINS
from vaezoo.trees.pieces import join_trees
from vaezoo.trees.rows import Rows

__all__ = ["draw_posterior", "plan_draws"]


def draw_posterior(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = 100,
    num_samples: int = 1000,
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    groups: str | Sequence[str] = DEFAULT_GROUPS,
    max_gib: float = MOST_GIB,
) -> xr.DataTree:
    """Draw from the guide's posterior of some data, as a tree of labelled arrays.

    Parameters
    ----------
    run
        A trained run, or its folder.
    data
        In any form that :func:`fit` takes, in units of the run's data; by default those.
    split
        Which rows; of values in memory all rows are taken.
    limit
        Only the first so many rows; None for all.
    num_samples
        Draws for each datum, and from the prior; a multiple of 4.
    given
        Other conditions than those of the data, by name: a value for all rows, or for each.
    seed
        Seed of the draws. Those of a group do not depend on which others are asked for.
    data_dir
        Where original data files lie.
    groups
        Names of :data:`GROUPS`, or ``all``.
    max_gib
        Refuse to make a tree of more GiB.

    Returns
    -------
    xarray.DataTree
        By default the groups

        - ``posterior``: each latent, dimensions ``chain, draw, datum, latent``, of sequences
          ``chain, draw, datum, time, latent``;
        - ``sample_stats`` ``(chain, draw, datum)``: ``lp`` = log p(x, z), ``log_q``, and
          ``log_weight``, their difference, in nats;
        - ``log_prior`` ``(chain, draw, datum)``: log p(z) of each latent;
        - ``guide`` ``(datum, ...)``: mean and deviation of each latent, as ``z_mean``, ``z_sd``,
          where q has them in closed form, and ``elbo``, from the draws;
        - ``observed_data``: x;
        - ``constant_data``: ``row`` in the data set, label, of sequences ``length`` and ``mask``,
          of scaled data ``log_volume``: log-densities less it are of x in the units of the data.

        On request ``log_likelihood`` ``(chain, draw, datum)``: log p(x | z) of each observed site,
        ``prior`` ``(chain, draw, latent)`` and ``prior_predictive``, and
        ``posterior_predictive`` ``(chain, draw, datum, ...)``: x given each draw of z, and of
        sequences given the true frames before.

        All x are in units of the data; the tree's attributes say what the pair sees. Behind the end
        of a sequence they and the latents are nan. The draws are independent: four chains are a
        convention that ArviZ's functions ask for, and R-hat is 1 whatever the guide is worth.

    Raises
    ------
    RequestError
        When the pair has no latents, or its guide one value for each as an autoencoder has, a group
        is unknown, what is given is no condition, or the tree would be too large.

    Examples
    --------
    >>> run = vaezoo.fit("vae-linear", config={"z_dim": 2}, training={"steps": 5})
    >>> tree = vaezoo.draw_posterior(run, limit=3, num_samples=8)
    >>> dict(tree["posterior"]["z"].sizes)
    {'chain': 4, 'draw': 2, 'datum': 3, 'latent': 2}
    """
    draws = plan_draws(
        run,
        data,
        split=split,
        limit=limit,
        num_samples=num_samples,
        given=given,
        seed=seed,
        data_dir=data_dir,
        groups=groups,
    )
    draws.check_size(max_gib)
    return join_trees(draws.pieces())


def plan_draws(
    run: RunLike,
    data: "DataLike | None" = None,
    *,
    split: str = "test",
    limit: int | None = 100,
    num_samples: int = 1000,
    given: Given | None = None,
    seed: int = 0,
    data_dir: str | Path | None = None,
    groups: str | Sequence[str] = DEFAULT_GROUPS,
) -> Draws:
    """Return what :func:`draw_posterior` would draw, to know its size or to write it in pieces.

    Examples
    --------
    >>> run = vaezoo.fit("vae-linear", config={"z_dim": 2}, training={"steps": 5})
    >>> draws = plan_draws(run, limit=None, num_samples=1000)
    >>> len(draws.rows), draws.estimate_size() // 2**20  # MiB; draws.pieces() are saved one by one
    (180, 4)
    """
    if num_samples < NUM_CHAINS or num_samples % NUM_CHAINS:
        raise RequestError(f"`num_samples` takes a multiple of {NUM_CHAINS}, not {num_samples}")
    require_positive("limit", limit, "row")
    run = as_run(run)
    with seeded(seed, run.device):
        batches = run.batches(data, data_dir=data_dir, given=given, split=split, limit=limit)
        run = run.explaining(batches)
    names, rows = (
        _checked_groups(groups),
        Rows(run, batches, split, limit, seed, tuple(given or ())),
    )
    admit(run.pair, rows.example, "a tree of draws", DENSITY)
    _refuse_names({*rows.latents, *rows.example.observed, *batches.data.arrays})
    return Draws(rows, num_samples, names)


def _refuse_names(names: set[str]) -> None:
    for name in sorted(names.intersection(DIMS)):
        raise RequestError(
            f"'{name}' is a dimension of a tree of draws; give the site or array another name"
        )


def _checked_groups(groups: str | Sequence[str]) -> tuple[str, ...]:
    names = (groups,) if isinstance(groups, str) else tuple(groups)
    if "all" in names:
        return GROUPS
    for name in names:
        if name not in GROUPS:
            raise RequestError(f"no group '{name}'; {nearest(name, (*GROUPS, 'all'))}")
    if not names:
        raise RequestError(f"no groups; choose from: {', '.join((*GROUPS, 'all'))}")
    return tuple(name for name in GROUPS if name in names)
