"""Many seeds of one training: side by side in one process, a run folder for each."""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
    from vaezoo.training.many.fitting import fit_seeds

__all__ = ["fit_seeds"]

__getattr__, __dir__ = lazy_names(__name__)
