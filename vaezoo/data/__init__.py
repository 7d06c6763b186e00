"""Data sets: by name, from the user's own files, or from arrays.

Importing this package loads neither torch nor pyro; what needs them is loaded when it is asked for.
"""

import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from vaezoo.data.dataset import SPLITS, Array, Data, from_arrays, from_sequences, random_splits
from vaezoo.data.files import load_file
from vaezoo.data.sets.download import DATA_VARIABLE, Remote, fetch, locate
from vaezoo.data.sets.sources import SOURCES, Source, fetch_source, get_source, load_source
from vaezoo.errors import RequestError, nearest

if TYPE_CHECKING:
    from vaezoo.data.batches import Batches, epoch_order
    from vaezoo.data.contract import Summary, choose_transform, probe, summarize
    from vaezoo.data.transform import Transform, standardization

__all__ = [
    "DATA_VARIABLE",
    "SOURCES",
    "SPLITS",
    "Array",
    "Batches",
    "Data",
    "Remote",
    "Source",
    "Summary",
    "Transform",
    "choose_transform",
    "epoch_order",
    "fetch",
    "fetch_source",
    "from_arrays",
    "from_sequences",
    "get_source",
    "list_data",
    "load",
    "load_file",
    "load_source",
    "locate",
    "probe",
    "random_splits",
    "standardization",
    "summarize",
]

_NEEDS_TORCH = {
    "Batches": "batches",
    "Summary": "contract",
    "Transform": "transform",
    "choose_transform": "contract",
    "epoch_order": "batches",
    "probe": "contract",
    "standardization": "transform",
    "summarize": "contract",
}


def load(spec: str | Path, *, data_dir: str | Path | None = None, seed: int = 0) -> Data:
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

    Raises
    ------
    RequestError
        When there is no such data set or path, or it cannot be used.
    RunError
        When a download fails.

    Examples
    --------
    >>> load("digits").x.shape
    (1797, 8, 8)
    """
    if spec in SOURCES:
        return load_source(str(spec), data_dir=data_dir)
    if Path(spec).expanduser().exists():
        return load_file(spec, seed=seed)
    looks_like_path = Path(spec).suffix or os.sep in str(spec)
    missing = f"no file or folder '{spec}'" if looks_like_path else f"no data set '{spec}'"
    hint = nearest(Path(spec).stem, SOURCES)
    raise RequestError(f"{missing}; {hint} (or give a .npy, .npz, .csv, .parquet or image folder)")


def list_data() -> list[Source]:
    """Return what is known of the named data sets, sorted by name.

    Examples
    --------
    >>> [source.name for source in list_data()][:2]
    ['binarized-mnist', 'digits']
    """
    return [SOURCES[name] for name in sorted(SOURCES)]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def __getattr__(name: str) -> object:
    if name in _NEEDS_TORCH:
        return getattr(importlib.import_module(f"vaezoo.data.{_NEEDS_TORCH[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
