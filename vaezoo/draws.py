"""From a run to ArviZ: draws of q(z | x) as labelled arrays."""

from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from vaezoo._arviz import import_arviz
from vaezoo.data import Data
from vaezoo.data.dataset import Array
from vaezoo.device import seeded
from vaezoo.errors import RequestError
from vaezoo.runs import Run
from vaezoo.sites import (
    MOST_ROWS,
    Args,
    argument_names,
    encode,
    repeat_rows,
    sample_sites,
    site_values,
    total_log_density,
    trace_pair,
)
from vaezoo.storage import write_bytes

__all__ = ["posterior", "save_netcdf", "to_arviz"]

NUM_CHAINS = 4


@torch.no_grad()
def posterior(
    run: Run,
    data: str | Data | None = None,
    *,
    split: str = "test",
    limit: int = 100,
    num_samples: int = 1000,
    seed: int = 0,
    data_dir: str | None = None,
) -> xr.DataTree:
    """Draw from the guide's posterior of some data, as a tree of labelled arrays.

    Parameters
    ----------
    run
        A trained run.
    data
        A name, a path or a data set; by default the data of the run.
    split
        Which rows.
    limit
        Only the first so many rows.
    num_samples
        Draws for each datum, a multiple of 4.
    seed
        Seed of the draws.
    data_dir
        Where original data files lie.

    Returns
    -------
    xarray.DataTree
        Groups ``posterior`` (each latent, dimensions ``chain, draw, datum, latent``),
        ``sample_stats`` (``lp`` = log p(x, z), ``log_q``, ``log_weight``), ``log_likelihood``,
        ``guide`` (means) and ``observed_data``. The draws are independent: four chains are a
        convention that ArviZ's functions ask for, and R-hat is 1 whatever the guide is worth.
    """
    if num_samples < NUM_CHAINS or num_samples % NUM_CHAINS:
        raise RequestError(f"the number of draws must be a multiple of {NUM_CHAINS}")
    run.pair.eval()
    batches = list(run.batches(data, data_dir=data_dir).fixed(split, limit=limit))
    with seeded(seed, run.device):
        parts = [_draw(run, args, num_samples) for args in batches]
    values = {name: np.concatenate([part[name] for part in parts], 2) for name in parts[0]}
    return _tree(run, values, tuple(map(torch.cat, zip(*batches, strict=True))), seed)


def _draw(run: Run, args: Args, num_samples: int) -> dict[str, Array]:
    """Draw in pieces that go through the pair at once; arrays ``(chain, draw, datum, ...)``."""
    per_chain, rows = num_samples // NUM_CHAINS, len(args[0])
    step = max(1, MOST_ROWS // (rows * NUM_CHAINS))
    pieces = []
    for start in range(0, per_chain, step):
        draws = min(step, per_chain - start)
        found = _draw_once(run, repeat_rows(args, NUM_CHAINS * draws))
        pieces.append({name: _by_draw(value, rows, draws) for name, value in found.items()})
    return {name: np.concatenate([piece[name] for piece in pieces], 1) for name in pieces[0]}


def _draw_once(run: Run, args: Args) -> dict[str, Tensor]:
    trace = trace_pair(run.pair, args)
    latents = {name: q["value"] for name, (_, q) in trace.latents.items()}
    if not latents:
        raise RequestError(f"the pair of '{run.name}' has no latents, so there is nothing to draw")
    log_likelihood = total_log_density(trace.observed.values())
    log_prior = total_log_density(p for p, _ in trace.latents.values())
    log_q = total_log_density(sample_sites(trace.guide).values())
    return {
        **site_values(run.pair, latents),
        "log_likelihood": log_likelihood,
        "lp": log_likelihood + log_prior,
        "log_q": log_q,
        "log_weight": log_likelihood + log_prior - log_q,
    }


def _by_draw(value: Tensor, rows: int, draws: int) -> Array:
    split = value.reshape(rows, NUM_CHAINS, draws, *value.shape[1:])
    return split.permute(1, 2, 0, *range(3, split.dim())).cpu().numpy()


def _tree(run: Run, values: Mapping[str, Array], args: Args, seed: int) -> xr.DataTree:
    stats = {name: values[name] for name in ("lp", "log_q", "log_weight")}
    latents = {
        name: value for name, value in values.items() if name not in (*stats, "log_likelihood")
    }
    means = {name: value.cpu().numpy() for name, value in encode(run.pair, args).items()}
    observed = dict(zip(argument_names(run.pair), (arg.cpu().numpy() for arg in args), strict=True))
    sampled = ("chain", "draw")
    groups = {
        "posterior": _dataset(latents, sampled),
        "sample_stats": _dataset(stats, sampled),
        "log_likelihood": _dataset({"x": values["log_likelihood"]}, sampled),
        "guide": _dataset({f"{name}_mean": value for name, value in means.items()}, ()),
        "observed_data": _dataset(observed, ()),
    }
    tree = xr.DataTree.from_dict(groups)
    tree.attrs.update(
        name=run.name,
        inference_library="pyro-ppl",
        inference_library_version=version("pyro-ppl"),
        vaezoo_version=version("vaezoo"),
        approximation="guide",
        r_hat_is_meaningful=0,
        seed=seed,
        data=run.data.name,
        data_checksum=str(run.info.get("data_checksum", "")),
    )
    return tree


def _dataset(values: Mapping[str, Array], leading: tuple[str, ...]) -> xr.Dataset:
    """Label arrays ``(*leading, datum, ...)``; a latent's last dimension is ``latent``."""
    variables = {}
    for name, value in values.items():
        rest = value.ndim - len(leading) - 1
        is_latent = name.removesuffix("_mean") not in ("x", "label", "length")
        if is_latent and rest:
            inner = ("time", "latent")[-rest:] if rest <= 2 else _numbered(name, rest)
        else:
            inner = _numbered(name, rest)
        variables[name] = xr.DataArray(value, dims=(*leading, "datum", *inner))
    dataset = xr.Dataset(variables)
    return dataset.assign_coords({dim: np.arange(size) for dim, size in dataset.sizes.items()})


def _numbered(name: str, count: int) -> tuple[str, ...]:
    return tuple(f"{name}_dim_{i}" for i in range(count))


def to_arviz(tree: xr.DataTree) -> Any:
    """Return what the installed ArviZ works on: a DataTree on 1.x, an InferenceData on 0.23."""
    az = import_arviz()
    if int(az.__version__.partition(".")[0]) >= 1:
        return tree
    convert: Callable[[xr.DataTree], Any] = az.from_datatree
    return convert(tree)


def save_netcdf(tree: xr.DataTree, path: str | Path) -> None:
    """Write a tree as netCDF, at once; ``arviz.from_netcdf`` and xarray open it."""
    write_bytes(Path(path), bytes(tree.to_netcdf(engine="h5netcdf")))
