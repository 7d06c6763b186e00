"""Piano-rolls of polyphonic music: which of the 88 keys sound, a frame a time step.

Boulanger-Lewandowski, Bengio & Vincent 2012, arXiv:1206.6392. Likelihoods are quoted in nats per
frame: their sum over all sequences, divided by the number of frames.
"""

import importlib
import io
from collections.abc import Sequence
from pathlib import Path
from pickle import Unpickler
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vaezoo.data.dataset import Data
from vaezoo.data.padding import pad
from vaezoo.data.sets.readers import decompress, is_matlab, read_matlab
from vaezoo.data.splits import consecutive_splits
from vaezoo.errors import RequestError, refusing

__all__ = ["read_piano_rolls"]

_LOWEST, _HIGHEST = 21, 108  # MIDI numbers of the keys A0 and C8
_SHAPE = (_HIGHEST - _LOWEST + 1,)
_KEYS = tuple(str(note) for note in range(_LOWEST, _HIGHEST + 1))
_IN_MATLAB = ("traindata", "validdata", "testdata")
_IN_PICKLE = ("train", "valid", "test")
_KNOWN = {
    ("numpy", "dtype"): ("numpy", "dtype"),
    ("numpy.core.multiarray", "scalar"): ("numpy._core.multiarray", "scalar"),
    ("numpy._core.multiarray", "scalar"): ("numpy._core.multiarray", "scalar"),
}

Roll = NDArray[np.uint8]


def read_piano_rolls(paths: Sequence[Path]) -> Data:
    """Read a file of MATLAB, or the pickle of the same set, with its own split.

    ``x (N, T, 88)`` is 1 where a key sounds, from the MIDI note 21 on; the names of its elements
    are the MIDI notes. The two formats of a set give the same arrays.

    Raises
    ------
    RequestError
        When a pickle asks for more than numbers, or either format does not hold piano-rolls.
    """
    path = paths[0]
    raw = decompress(path)
    parts = _from_matlab(raw, path) if is_matlab(raw) else _from_pickle(raw, path)
    x, length = pad([roll for part in parts for roll in part], str(path))
    splits = consecutive_splits(*map(len, parts))
    return Data(path.stem, {"x": x, "length": length}, splits, columns=_KEYS)


def _from_matlab(raw: bytes, path: Path) -> list[list[Roll]]:
    parts = [list(cells.ravel()) for cells in read_matlab(raw, *_IN_MATLAB)]
    if any(roll.shape[1:] != _SHAPE or roll.max(initial=0) > 1 for part in parts for roll in part):
        raise RequestError(f"{path} does not hold binary frames of {_SHAPE[0]} keys")
    return parts


def _from_pickle(raw: bytes, path: Path) -> list[list[Roll]]:
    splits = ", ".join(_IN_PICKLE)
    notes = f"sequences of frames of notes {_LOWEST} ... {_HIGHEST}"
    with refusing(f"{path} does not hold {splits} as {notes}", "get it again"):
        stored = _NumbersOnly(raw, path).load()
        return [[_roll(frames) for frames in stored[split]] for split in _IN_PICKLE]


def _roll(frames: Sequence[Sequence[int]]) -> Roll:
    keys = np.array([note for frame in frames for note in frame], dtype=np.int64) - _LOWEST
    if len(keys) and not 0 <= keys.min() <= keys.max() < _SHAPE[0]:
        raise ValueError("a note outside the keyboard")
    roll = np.zeros((len(frames), *_SHAPE), np.uint8)
    roll[np.repeat(np.arange(len(frames)), [len(frame) for frame in frames]), keys] = 1
    return roll


class _NumbersOnly(Unpickler):
    """Reads a pickle of Python 2 that is made of containers, strings and NumPy numbers.

    A pickle can call whatever it can name; here it can name what makes a number and nothing else.
    """

    def __init__(self, raw: bytes, path: Path) -> None:
        super().__init__(io.BytesIO(raw), encoding="latin1")
        self._path = path

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _KNOWN:
            raise RequestError(
                f"{self._path}: the pickle asks for {module}.{name}, which is no number; "
                "do not trust this file, get it again"
            )
        module, name = _KNOWN[module, name]
        return getattr(importlib.import_module(module), name)
