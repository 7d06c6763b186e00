"""Groups of a tree that are not drawn: moments of the guide, the data, and what the draws are."""

import json
from typing import Any

from vaezoo.data.dataset import Array
from vaezoo.data.padding import is_frame
from vaezoo.distributions.families import is_point, point_of
from vaezoo.pairs.lengths import with_frames
from vaezoo.pairs.sites import Args, is_auxiliary, run_guide, sample_sites, site_values
from vaezoo.runs import Run
from vaezoo.runs.environment import describe_library
from vaezoo.trees.groups import Groups, to_numpy
from vaezoo.trees.rows import Rows

__all__ = ["MEANING_OF_LOO", "attributes", "data_groups", "guide_moments"]

MEANING_OF_LOO = (
    "log p(x | z) where each datum has a z of its own, drawn given that datum: loo and compare of "
    "these say how well a datum is predicted from itself, not how well new data are; compare "
    "models by log p(x), as of IWAE"
)


def guide_moments(run: Run, args: Args) -> dict[str, Array]:
    """Return mean and deviation of each latent; of sequences along the path of means.

    Nothing where the guide has no mean in closed form, and nothing of a latent that is computed
    from another draw, as Pyro's AutoGuides do: its Delta there has no deviation.
    """
    sites = sample_sites(run_guide(run.pair, args, z="mean"))
    if any(is_auxiliary(site) for site in sites.values()):
        names = [n for n, s in sites.items() if not (is_auxiliary(s) or is_point(s["fn"]))]
        sites = {name: sites[name] for name in names}
    if any(point_of(site["fn"])[1] != "mean" for site in sites.values()):
        return {}
    means = {name: site["value"] for name, site in sites.items()}
    try:
        deviations = {name: site["fn"].variance.sqrt() for name, site in sites.items()}
    except NotImplementedError:
        deviations = {}
    moments = {"mean": means, "sd": deviations}
    return {
        f"{name}_{moment}": value.cpu().numpy()
        for moment, values in moments.items()
        for name, value in site_values(run.pair, values).items()
        if not value.isnan().all()
    }


def data_groups(rows: Rows, args: Args, start: int, stop: int) -> Groups:
    """Return what comes with the data: what the model observes, and all else."""
    named = dict(zip(rows.batches.names, args, strict=True))
    observed = {rows.base_of(name) for name in rows.example.observed} | {"x"}
    in_time = rows.coordinates.with_time & named.keys()
    named |= {name: with_frames(named[name], rows.frames) for name in in_time}
    values = to_numpy(rows.observed(named))
    places, arrays = rows.places(start, stop), rows.batches.data.arrays
    of_each = {name: array[places] for name, array in arrays.items() if array.ndim == 1}
    constant = {k: value for k, value in {**of_each, **values}.items() if k not in observed}
    if rows.is_sequence:
        constant["mask"] = is_frame(constant["length"], rows.frames)
    transform = rows.run.transform
    volume = rows.log_volume(args)
    if volume is not None:
        constant["log_volume"] = volume.cpu().numpy()
    if transform.mean is not None and transform.std is not None:
        constant |= {"x_mean": transform.mean, "x_std": transform.std}
    return {
        "observed_data": {name: values[name] for name in values if name in observed},
        "constant_data": {"row": places, **constant},
    }


def attributes(rows: Rows) -> dict[str, Any]:
    """Return what draws are, where they come from, and in which units x is."""
    run, data, transform = rows.run, rows.batches.data, rows.run.transform.to_dict()
    plain = {name: transform[name] for name in ("scale", "binarize")}
    return {
        "name": run.name,
        **describe_library(),
        "approximation": "guide",
        "r_hat_is_meaningful": 0,
        "seed": rows.seed,
        "data": data.name,
        "data_checksum": data.checksum,
        "split": rows.split,
        "units": "x as in the data; the pair sees it after the transform: divided by scale, "
        "minus x_mean, divided by x_std (where there are any), binarised; log-densities are of "
        "what the pair sees: less log_volume of constant_data, they are of x as in the data",
        "transform": json.dumps(plain),
    }
