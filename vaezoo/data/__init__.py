"""Data sets: by name, from the user's own files, or from arrays.

Importing this package loads neither torch nor pyro; its names are loaded when they are used.
"""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
    from vaezoo.data.batches import Batches, epoch_order
    from vaezoo.data.coercion import DataLike, as_data
    from vaezoo.data.contract import Summary, choose_transform, probe, summarize
    from vaezoo.data.dataset import SPLITS, Array, Data, from_arrays, from_sequences, random_splits
    from vaezoo.data.files import load_file
    from vaezoo.data.load import list_data, load_data
    from vaezoo.data.sets.download import DATA_VARIABLE, Remote, fetch, locate
    from vaezoo.data.sets.sources import SOURCES, Source, fetch_source, get_source, load_source
    from vaezoo.data.transform import Transform, standardization

__all__ = [
    "DATA_VARIABLE",
    "SOURCES",
    "SPLITS",
    "Array",
    "Batches",
    "Data",
    "DataLike",
    "Remote",
    "Source",
    "Summary",
    "Transform",
    "as_data",
    "choose_transform",
    "epoch_order",
    "fetch",
    "fetch_source",
    "from_arrays",
    "from_sequences",
    "get_source",
    "list_data",
    "load_data",
    "load_file",
    "load_source",
    "locate",
    "probe",
    "random_splits",
    "standardization",
    "summarize",
]

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "Array": "dataset",
        "Batches": "batches",
        "DATA_VARIABLE": "sets.download",
        "Data": "dataset",
        "DataLike": "coercion",
        "Remote": "sets.download",
        "SOURCES": "sets.sources",
        "SPLITS": "dataset",
        "Source": "sets.sources",
        "Summary": "contract",
        "Transform": "transform",
        "as_data": "coercion",
        "choose_transform": "contract",
        "epoch_order": "batches",
        "fetch": "sets.download",
        "fetch_source": "sets.sources",
        "from_arrays": "dataset",
        "from_sequences": "dataset",
        "get_source": "sets.sources",
        "list_data": "load",
        "load_data": "load",
        "load_file": "files",
        "load_source": "sets.sources",
        "locate": "sets.download",
        "probe": "contract",
        "random_splits": "dataset",
        "standardization": "transform",
        "summarize": "contract",
    },
)
