"""The installed ArviZ, 0.23 or 1.x: imported here and nowhere else."""

import warnings
from typing import TYPE_CHECKING, Any

from vaezoo.errors import RunError

if TYPE_CHECKING:
    import xarray as xr

__all__ = ["import_arviz", "to_arviz"]


def import_arviz() -> Any:
    """Return the module ``arviz``, without the announcement that 0.23 makes once a day.

    Raises
    ------
    RunError
        When it cannot be imported because its cache folder cannot be made.
    """
    try:
        with warnings.catch_warnings(action="ignore", category=FutureWarning):
            import arviz
    except OSError as error:
        raise RunError(
            f"ArviZ cannot be imported: {error}; set XDG_CACHE_HOME to a folder it can write to"
        ) from error
    return arviz


def to_arviz(tree: "xr.DataTree") -> Any:
    """Return what the installed ArviZ works on: a DataTree on 1.x, an InferenceData on 0.23.

    Examples
    --------
    >>> import vaezoo
    >>> run = vaezoo.fit("vae-bernoulli", config={"z_dim": 2}, training={"steps": 5})
    >>> tree = vaezoo.draw_posterior(run, limit=3, num_samples=8)
    >>> vaezoo.to_arviz(tree)["posterior"]["z"].shape
    (4, 2, 3, 2)
    """
    az = import_arviz()
    if int(az.__version__.partition(".")[0]) >= 1:
        return tree
    return az.from_datatree(tree)
