"""Sequences: a pair of one time step, and the forms in which it runs.

Who writes a model takes :class:`SequencePair` from here, and :func:`read` or :func:`read_backwards`
for a guide that reads more than one frame; who gives a whole path one site, :func:`frame_mask`. All
else runs it: :class:`Rollout` takes it through time, :class:`PathPair` is the form that is trained.

Two questions are asked of a pair. Whether its data are sequences is
:func:`vaezoo.pairs.sites.takes_lengths`; whether it is written as one step, so that it can be
rolled out, is ``isinstance(pair, SequencePair)``, or :func:`as_sequence_pair` where it has to be.
"""

from vaezoo.pairs.lengths import frame_mask
from vaezoo.sequences.paths import PathPair, training_form
from vaezoo.sequences.reading import Cell, read, read_backwards
from vaezoo.sequences.sequence_pair import Rollout, SequencePair, as_sequence_pair

__all__ = [
    "Cell",
    "PathPair",
    "Rollout",
    "SequencePair",
    "as_sequence_pair",
    "frame_mask",
    "read",
    "read_backwards",
    "training_form",
]
