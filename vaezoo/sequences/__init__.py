"""Sequences: a pair of one time step, and the forms in which it runs.

Who writes a model takes :class:`SequencePair` from here, and :func:`read` or :func:`read_backwards`
for a guide that reads more than one frame. All else runs it: :class:`Rollout` takes it through
time, :class:`PathPair` is the form that is trained.
"""

from typing import TYPE_CHECKING

from vaezoo.lazy import lazy_names

if TYPE_CHECKING:
    from vaezoo.sequences.paths import PathPair, training_form
    from vaezoo.sequences.reading import Cell, read, read_backwards
    from vaezoo.sequences.sequence_pair import Rollout, SequencePair

__all__ = [
    "Cell",
    "PathPair",
    "Rollout",
    "SequencePair",
    "read",
    "read_backwards",
    "training_form",
]

__getattr__, __dir__ = lazy_names(__name__)
