"""Data sets by name, or the user's own by their path."""

import os
from pathlib import Path

from vaezoo.data.dataset import Data
from vaezoo.data.files.columns import Columns, refuse_unread, settings_of
from vaezoo.data.sets.sources import SOURCES, Source, load_source
from vaezoo.errors import RequestError, nearest, printable, refusing, shown
from vaezoo.settings import DataSettings

__all__ = ["list_data", "load_data"]


def load_data(
    spec: str | Path,
    *,
    data_dir: str | Path | None = None,
    seed: int = 0,
    columns: Columns | None = None,
    settings: DataSettings | None = None,
    whole: bool = False,
) -> Data:
    """Return a data set by its name, or the user's own by its path.

    Parameters
    ----------
    spec
        A name (``"mnist"``; see :func:`list_data`), or the path of a ``.npy``, ``.npz``, ``.csv``
        or ``.parquet`` file or of a folder of images (see :func:`load_file`). A name comes first:
        write ``./mnist`` for a folder of that name.
    data_dir
        Where files of named data sets may lie already, besides the folder that the environment
        variable ``VAEZOO_DATA`` names.
    seed
        Of the split of the user's own data. Named data sets have a fixed split.
    columns
        Columns of a table that are other arguments of the model, as ``{"c": ["age", "income"]}``.
    settings
        All about how a file is read, instead of ``seed`` and ``columns``.
    whole
        Take all rows of a file as each split, unless it says its splits itself.

    Raises
    ------
    RequestError
        When there is no such data set or path, or it cannot be used.
    RunError
        When a download fails.

    Examples
    --------
    >>> load_data("digits").x.shape
    (1797, 8, 8)
    """
    if not isinstance(spec, str | Path):
        raise RequestError(f"data are named by a text or a path, not by {shown(spec)}")
    how = settings or settings_of(str(spec), seed, columns)
    if spec in SOURCES:
        data = load_source(str(spec), data_dir=data_dir)
        refuse_unread(how.columns, data.arrays, data.name)
        return data
    with refusing(f"cannot look for '{printable(str(spec), 100)}'"):
        is_there = Path(spec).expanduser().exists()
    if is_there:
        # It reads files of every kind, which nobody waits for who names a data set.
        from vaezoo.data.files.reader import load_path

        return load_path(Path(spec).expanduser(), how, whole=whole)
    looks_like_path = Path(spec).suffix or os.sep in str(spec)
    missing = f"no file or folder '{spec}'" if looks_like_path else f"no data set '{spec}'"
    hint = nearest(Path(spec).stem, SOURCES)
    raise RequestError(f"{missing}; {hint} (or give a .npy, .npz, .csv, .parquet or image folder)")


def list_data() -> list[Source]:
    """Return what is known of the named data sets, sorted by name.

    Examples
    --------
    >>> [source.name for source in list_data()][:2]
    ['binarized-mnist', 'breast-cancer']
    """
    return [SOURCES[name] for name in sorted(SOURCES)]
