"""What the dimensions of draws and data are called: ``chain, draw, datum, time, latent``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from vaezoo.data.dataset import Array
from vaezoo.data.padding import is_frame

__all__ = ["DIMS", "WITHOUT_DATA", "Coordinates", "variable_of"]

DIMS = ("chain", "draw", "datum", "time", "latent", "element")
WITHOUT_DATA = {"prior", "prior_predictive"}
_WITHOUT_DRAWS = {"guide", "observed_data", "constant_data"}
_OF_THE_TRANSFORM = ("x_mean", "x_std")  # one for all data
_IMAGE = ("channel", "height", "width")


def variable_of(site: str) -> str:
    """Return the name of a site in a tree, where a slash would be a path: as in an address.

    ``urllib.parse.unquote`` turns it back; the attribute ``site`` of such a variable has it, too.

    Examples
    --------
    >>> variable_of("vae/z"), variable_of("z_1")
    ('vae%2Fz', 'z_1')
    """
    return site.replace("%", "%25").replace("/", "%2F")


@dataclass(frozen=True)
class Coordinates:
    """Names of dimensions, and their coordinates.

    Attributes
    ----------
    latents
        Names of the latents and their shapes, of sequences without time.
    with_time
        Names of what a sequence has at every step.
    columns
        Names of the elements of a datum, if they have any.
    frames
        How many a padded sequence has; 0 for data that are none.
    shared
        Names of the latents that all data share, which have no dimension ``datum``.
    """

    latents: Mapping[str, tuple[int, ...]]
    with_time: frozenset[str]
    columns: tuple[str, ...] = ()
    frames: int = 0
    shared: frozenset[str] = frozenset()

    def dims(self, group: str, name: str, ndim: int) -> tuple[str, ...]:
        """Return the names of the dimensions of a variable.

        Examples
        --------
        >>> Coordinates({"z": (5,)}, frozenset()).dims("posterior", "z", 4)
        ('chain', 'draw', 'datum', 'latent')
        >>> Coordinates({"z": (5,)}, frozenset({"z", "x"})).dims("observed_data", "x", 3)
        ('datum', 'time', 'element')
        """
        if name in _OF_THE_TRANSFORM:
            return self._of_a_step("x", ndim)
        leading: tuple[str, ...] = () if group in _WITHOUT_DRAWS else ("chain", "draw")
        site = name.removesuffix("_mean").removesuffix("_sd") if group == "guide" else name
        leading += () if group in WITHOUT_DATA or site in self.shared else ("datum",)
        if len(leading) < ndim and site in self.with_time:
            leading += ("time",)
        return (*leading, *self._of_a_step(site, ndim - len(leading)))

    def _of_a_step(self, name: str, count: int) -> tuple[str, ...]:
        if name == "x" and count <= len(_IMAGE):
            return ("element",)[:count] if count < 2 else _IMAGE[-count:]
        if name in self.latents and count == 1:
            widths = {shape for shape in self.latents.values() if len(shape) == 1}
            return ("latent",) if len(widths) == 1 else (f"{variable_of(name)}_latent",)
        return tuple(f"{variable_of(name)}_dim_{i}" for i in range(count))

    def dataset(
        self, group: str, values: Mapping[str, Array], start: int, length: Array | None
    ) -> xr.Dataset:
        """Return the arrays of a group with dimensions and coordinates.

        Parameters
        ----------
        group
            Its name.
        values
            Its arrays.
        start
            Position of the first datum.
        length
            Lengths of sequences: behind their ends stands nan.
        """
        dataset = xr.Dataset(
            {
                variable_of(name): (self.dims(group, name, value.ndim), value, _attributes(name))
                for name, value in values.items()
            }
        )
        if length is not None:
            dataset = dataset.map(self._ended, length=length)
        coordinates: dict[str, Any] = {
            str(dim): np.arange(size) + (start if dim == "datum" else 0)
            for dim, size in dataset.sizes.items()
        }
        if len(self.columns) == dataset.sizes.get("element"):
            coordinates["element"] = list(self.columns)
        return dataset.assign_coords(coordinates)

    def _ended(self, values: xr.DataArray, length: Array) -> xr.DataArray:
        """Fill up sequences with nan to ``frames``, and behind the end of each."""
        if not {"datum", "time"}.issubset(values.dims) or values.dtype == bool:
            return values
        missing = self.frames - values.sizes["time"]
        # Without a value to pad with, whole numbers become floats, which have a nan.
        values = values.pad(time=(0, missing)) if missing else values
        return values.where(xr.DataArray(is_frame(length, self.frames), dims=("datum", "time")))


def _attributes(name: str) -> dict[str, str]:
    return {} if variable_of(name) == name else {"site": name}
