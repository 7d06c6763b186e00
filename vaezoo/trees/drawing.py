"""Draws of posterior and prior, made in pieces of some data each."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
import xarray as xr

from vaezoo.errors import RequestError
from vaezoo.trees.constants import MEANING_OF_LOO, attributes, data_groups, guide_moments
from vaezoo.trees.coordinates import WITHOUT_DATA
from vaezoo.trees.groups import NUM_CHAINS, Groups, draw_from_guide, draw_from_prior
from vaezoo.trees.rows import Rows

__all__ = ["MOST_GIB", "Draws"]

MOST_GIB = 2.0
_PIECE = 2**26  # bytes of x that a piece would have at most, if all draws had one
_MOST_ROWS = 500
_NOT_FROM_GUIDE = {"prior", "prior_predictive", "observed_data", "constant_data"}


@dataclass(frozen=True)
class Draws:
    """Draws that are still to be made; see :func:`vaezoo.trees.posterior.plan_draws`.

    Attributes
    ----------
    rows
        The data that they are made for.
    num_samples
        Draws for each datum.
    groups
        Names of the groups.
    """

    rows: Rows
    num_samples: int
    groups: tuple[str, ...]

    def estimate_size(self) -> int:
        """Return the bytes of the tree: that of one datum with four draws, scaled."""
        scale = {"datum": len(self.rows), "draw": self.num_samples // NUM_CHAINS}
        small = self._piece(0, 1, NUM_CHAINS)
        return sum(
            variable.nbytes * math.prod(scale.get(str(dim), 1) for dim in variable.dims)
            for node in small.children.values()
            for variable in node.variables.values()
        )

    def check_size(self, max_gib: float = MOST_GIB) -> None:
        """Refuse what is larger than some GiB.

        Raises
        ------
        RequestError
            With the size, and what makes it smaller.
        """
        gib = self.estimate_size() / 2**30
        if gib > max_gib:
            raise RequestError(
                f"{self.num_samples} draws for each of {len(self.rows)} rows are {gib:.3g} GiB, "
                f"more than {max_gib:g}; take fewer rows (`limit`), draws or groups, "
                "or raise `max_gib`"
            )

    def pieces(self) -> Iterator[xr.DataTree]:
        """Yield the tree in pieces of some rows each; what has no rows is in the first."""
        every = self._rows_of_a_piece
        for start in range(0, len(self.rows), every):
            yield self._piece(start, min(start + every, len(self.rows)), self.num_samples)

    @property
    def _rows_of_a_piece(self) -> int:
        """The same for all groups, so that they share their draws."""
        rows = self.rows
        size = 4 * self.num_samples * rows.frames * math.prod(rows.batches.data.x_shape)
        return max(1, min(_MOST_ROWS, rows.at_once // NUM_CHAINS, _PIECE // size))

    @torch.no_grad()
    def _piece(self, start: int, stop: int, num_samples: int) -> xr.DataTree:
        rows = self.rows
        values = self._values(start, stop, num_samples)
        names = [name for name in self.groups if start == 0 or name not in WITHOUT_DATA]
        lengths = rows.lengths(start, stop) if rows.is_sequence else None
        groups = {
            name: rows.coordinates.dataset(name, values[name], start, lengths) for name in names
        }
        if "log_likelihood" in groups and rows.latents.keys() - rows.shared:
            groups["log_likelihood"].attrs["loo"] = MEANING_OF_LOO
        tree = xr.DataTree.from_dict(
            {name: group for name, group in groups.items() if start == 0 or "datum" in group.dims}
        )
        tree.attrs.update(attributes(rows))
        return tree

    def _values(self, start: int, stop: int, num_samples: int) -> Groups:
        """Return the arrays of some rows; groups that nobody asked for may be missing or there."""
        rows, args = self.rows, self.rows.args(start, stop)
        values: Groups = {}
        if not _NOT_FROM_GUIDE.issuperset(self.groups):
            predictive = "posterior_predictive" in self.groups
            values = draw_from_guide(rows, args, start, num_samples, predictive=predictive)
        if start == 0 and not WITHOUT_DATA.isdisjoint(self.groups):
            values |= draw_from_prior(rows, num_samples)
        if "guide" in self.groups:
            elbo = values["sample_stats"]["log_weight"].mean((0, 1))
            values["guide"] = {**guide_moments(rows.run, args), "elbo": elbo}
        return values | data_groups(rows, args, start, stop)
