"""Names of the dimensions of Pyro's sites: those of the plates around them, or their user's own."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr

from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.pairs.sites import Site
from vaezoo.trees.coordinates import variable_of

__all__ = ["Plates"]

_DRAWS = ("chain", "draw")


class Plates:
    """Dimensions of the sites of a model, and their coordinates.

    A dimension that a plate stands for has the name of the plate; any other is called
    ``SITE_dim_0``, as ArviZ does.

    Parameters
    ----------
    sites
        Sites of the model, by name.
    dims
        Names of the dimensions of a site, but for ``chain`` and ``draw``, in place of these.
    coords
        Labels along a dimension, in place of ``0, 1, ...``.

    Examples
    --------
    >>> Plates({}, {"theta": ["school"]}).dims("theta", (8,))
    ('school',)
    >>> Plates({}).dims("theta", (8, 2))
    ('theta_dim_0', 'theta_dim_1')
    """

    def __init__(
        self,
        sites: Mapping[str, Site],
        dims: Mapping[str, Sequence[str]] | None = None,
        coords: Mapping[str, Sequence[Any]] | None = None,
    ) -> None:
        self._dims, self._coords = dict(dims or {}), dict(coords or {})
        self._plates = {name: _plates_of(site) for name, site in sites.items()}
        self._taken = {variable_of(name) for name in sites} | set(_DRAWS)
        self.sizes: dict[str, int] = {}
        for plates in self._plates.values():
            self.sizes |= {plate: size for plate, size in plates.values() if size > 0}

    def dims(self, name: str, shape: tuple[int, ...], batch: int | None = None) -> tuple[str, ...]:
        """Return the names of the dimensions of the values of a site.

        Parameters
        ----------
        name
            Of the site.
        shape
            Of one draw of what is to be named.
        batch
            How many leading dimensions plates may stand for; all by default.
        """
        if name in self._dims:
            return self._of_user(name, shape)
        names = [f"{variable_of(name)}_dim_{i}" for i in range(len(shape))]
        last = len(shape) if batch is None else batch
        for place, (plate, size) in self._plates.get(name, {}).items():
            if 0 <= last + place < len(shape) and shape[last + place] == size:
                names[last + place] = self._free(plate)
        return tuple(names)

    def of_argument(self, name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
        """Return the names of the dimensions of an argument: its rows may be those of a plate."""
        if name in self._dims:
            return self._of_user(name, shape)
        names = [f"{name}_dim_{i}" for i in range(len(shape))]
        plates = [plate for plate, size in self.sizes.items() if shape and size == shape[0]]
        if len(plates) == 1:
            names[0] = self._free(plates[0])
        return tuple(names)

    def _of_user(self, name: str, shape: tuple[int, ...]) -> tuple[str, ...]:
        names = tuple(self._dims[name])
        if len(names) != len(shape):
            raise RequestError(
                f"`dims` gives '{name}' {len(names)} names, but a draw of it has the shape "
                f"{shape}; name each of its dimensions"
            )
        return names

    def _free(self, plate: str) -> str:
        """Return another name for a plate that is called like a site, which xarray refuses."""
        name = variable_of(plate)
        return f"{name}_plate" if name in self._taken else name

    def dataset(
        self, values: Mapping[str, tuple[tuple[str, ...], Array]], leading: tuple[str, ...] = _DRAWS
    ) -> xr.Dataset:
        """Return a group: arrays with the names of their dimensions, and coordinates.

        Raises
        ------
        RequestError
            When ``coords`` has another number of labels than a dimension has places.
        """
        group = xr.Dataset(
            {
                variable_of(name): ((*leading, *dims), array, _site(name))
                for name, (dims, array) in values.items()
            }
        )
        for name, size in group.sizes.items():
            labels = self._coords.get(str(name))
            if labels is not None and len(labels) != size:
                raise RequestError(
                    f"`coords` gives '{name}' {len(labels)} labels, but it has {size} places"
                )
        places = {str(name): np.arange(size) for name, size in group.sizes.items()}
        mine = {name: list(self._coords[name]) for name in places if name in self._coords}
        return group.assign_coords({**places, **mine})


def _plates_of(site: Site) -> dict[int, tuple[str, int]]:
    """Return names and sizes of the plates that are dimensions of a site, by place from behind."""
    frames = site["cond_indep_stack"]
    return {f.dim: (f.name, int(f.size)) for f in frames if f.dim is not None}


def _site(name: str) -> dict[str, str]:
    return {} if variable_of(name) == name else {"site": name}
