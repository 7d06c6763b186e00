"""Draws of chains and of checked posteriors, with the coordinates of those of the guide."""

from collections.abc import Mapping

import numpy as np
import xarray as xr
from torch import Tensor

from vaezoo.data.dataset import Array
from vaezoo.diagnostics.checking import PosteriorCheck
from vaezoo.diagnostics.grading import VERDICTS
from vaezoo.diagnostics.sequences import SequenceCheck
from vaezoo.inference.hmc import HMCResult
from vaezoo.trees.drawing import Draws
from vaezoo.trees.groups import NUM_CHAINS, to_numpy

__all__ = ["chains_tree", "checked_tree"]


def checked_tree(
    draws: Draws, q: xr.DataTree, check: PosteriorCheck | SequenceCheck
) -> xr.DataTree:
    """Return draws of the posteriors, with the verdict on each datum in ``constant_data``.

    The draws are resampled and hence independent but for repeats; as those of ``q`` they are cut
    into four chains. Those of data that are not trusted are there too, but are not right.
    """
    values = {name: _by_chain(z) for name, z in check.draws.items()}
    tree = _tree(draws, q, values, "checked")
    constant = tree["constant_data"].to_dataset()
    verdict = np.array(VERDICTS)[check.verdict.cpu().numpy()].astype(object)
    tree["constant_data"] = xr.DataTree(constant.assign(verdict=("datum", verdict)))
    return tree


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
