"""Data sets: by name, from the user's own files, or from arrays.

Importing this package loads neither torch nor pyro; its names are loaded when they are used.
"""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
    from vaezoo.data.batches import Batches, epoch_order
    from vaezoo.data.coercion import DataLike, as_data
    from vaezoo.data.contract import choose_transform
    from vaezoo.data.dataset import Data, from_arrays, from_sequences
    from vaezoo.data.files.reader import load_file
    from vaezoo.data.likelihoods import explain_likelihood
    from vaezoo.data.load import list_data, load_data
    from vaezoo.data.sets.download import Remote, locate
    from vaezoo.data.sets.sources import SOURCES, Source, fetch_source, get_source
    from vaezoo.data.splits import SPLITS, random_splits
    from vaezoo.data.summary import Summary, summarize
    from vaezoo.data.transform import Transform, standardization

__all__ = [
    "SOURCES",
    "SPLITS",
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
    "explain_likelihood",
    "fetch_source",
    "from_arrays",
    "from_sequences",
    "get_source",
    "list_data",
    "load_data",
    "load_file",
    "locate",
    "random_splits",
    "standardization",
    "summarize",
]

__getattr__, __dir__ = lazy_names(__name__)
