"""Padded sequences as rows of frames."""

import numpy as np
import xarray as xr

__all__ = ["stack_valid"]


def stack_valid(dataset: xr.Dataset, mask: xr.DataArray) -> xr.Dataset:
    """Return sequences without their padding: ``datum`` and ``time`` become one dimension ``obs``.

    ArviZ's summaries of padded sequences have rows of nan; those of this have none.

    Parameters
    ----------
    dataset
        A group, as ``tree["posterior"].to_dataset()``.
    mask
        ``tree["constant_data"]["mask"]``; it may have more data than the group.

    Returns
    -------
    xarray.Dataset
        With coordinates ``datum`` and ``time`` along ``obs``. Variables without time are left out.

    Examples
    --------
    >>> z = xr.Dataset({"z": (("chain", "draw", "datum", "time"), np.ones((1, 1, 2, 3)))})
    >>> z = z.assign_coords(datum=[0, 1])
    >>> mask = xr.DataArray([[True, True, False], [True] * 3], {"datum": [0, 1]}, ("datum", "time"))
    >>> dict(stack_valid(z, mask).sizes)
    {'chain': 1, 'draw': 1, 'obs': 5}
    """
    mask = mask.sel(datum=dataset["datum"]).transpose("datum", "time")
    datum, time = np.nonzero(mask.values)
    index = {"datum": xr.DataArray(datum, dims="obs"), "time": xr.DataArray(time, dims="obs")}
    names = [name for name, value in dataset.data_vars.items() if "time" in value.dims]
    stacked = dataset[names].isel(index)
    others = [str(dim) for dim in stacked.dims if dim not in ("chain", "draw", "obs")]
    return stacked.transpose("chain", "draw", "obs", *others, missing_dims="ignore")
