"""Runs that are trained already: those that come with the package, and where a named run lies.

``runs/`` has a run folder for each, without what only going on with its training needs, and
``manifest.json`` what each was trained on, how it scored, and the SHA-256 of its files. Both are
written by ``benchmarks/pretrained.py``. No file here imports torch.
"""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
    from vaezoo.pretrained.catalogue import Pretrained, get_pretrained, list_pretrained
    from vaezoo.pretrained.places import Place, find_run

__all__ = ["Place", "Pretrained", "find_run", "get_pretrained", "list_pretrained"]

__getattr__, __dir__ = lazy_names(__name__)
