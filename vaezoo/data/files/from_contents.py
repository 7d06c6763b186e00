"""From what a file, or values in memory, hold to a data set."""

import numpy as np

from vaezoo.data.dataset import Array, Data, checked_arrays, checksum_of, grey_scale
from vaezoo.data.files.contents import Contents
from vaezoo.data.files.windows import windowed
from vaezoo.data.layout import channels_first
from vaezoo.data.splits import SPLITS
from vaezoo.errors import RequestError
from vaezoo.settings import DataSettings

__all__ = ["data_of"]


def data_of(
    name: str,
    contents: Contents,
    how: DataSettings,
    *,
    checksum: str = "",
    scale: float | None = None,
    whole: bool = False,
) -> Data:
    """Return what a file, or values in memory, hold as a data set.

    Parameters
    ----------
    name
        What messages call it.
    contents
        What it holds.
    how
        Which windows, channels, scale and splits.
    checksum
        Of the source; by default of the arrays.
    scale
        Largest grey level, before that of the settings.
    whole
        Take all rows as each split, unless the contents say their splits.

    Examples
    --------
    >>> data_of("x", Contents({"x": np.zeros((9, 3))}), DataSettings(name="")).rows("test")
    array([4])
    """
    for line in () if whole else contents.lacks:
        raise RequestError(line)
    if how.stride and not how.window:
        raise RequestError("`stride` is that of windows; give `window`, too")
    is_whole = whole and contents.split is None
    if how.window is not None:
        contents = windowed(contents, how.window, how.stride, whole=is_whole)
    native = {key: _native(array) for key, array in contents.arrays.items()}
    arrays, layout = channels_first(checked_arrays(native, name), how.channels)
    rows = np.arange(len(arrays["x"]), dtype=np.int64)
    return Data(
        name,
        arrays,
        dict.fromkeys(SPLITS, rows) if is_whole else contents.splits(how.split_seed),
        scale or how.scale or grey_scale(arrays),
        checksum or checksum_of(arrays),
        contents.columns,
        contents.categories,
        (*contents.notes, *layout),
    )


def _native(array: Array) -> Array:
    """The array in a format that torch knows: the machine's byte order, at most 64 bits."""
    if array.dtype == np.longdouble:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))
