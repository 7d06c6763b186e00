"""Sound to listen to: ``.wav`` files of 16 bits."""

import io
import wave
from pathlib import Path

import numpy as np

from vaezoo.data import SOURCES
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError
from vaezoo.pairs.sites import takes_lengths
from vaezoo.runs import Run
from vaezoo.runtime.storage import write_bytes

__all__ = ["sampling_rate", "write_wav"]

_LARGEST = 2**15
_PAUSE = 0.3  # seconds between sounds


def sampling_rate(run: Run, rate: int | None = None) -> int:
    """Return the samples a second of a run's sequences.

    Parameters
    ----------
    run
        A run on sound, in frames of consecutive samples.
    rate
        What the user says of data of their own.

    Raises
    ------
    RequestError
        When the data are no sound, their rate is not known, or it is another one.
    """
    name = run.data.name
    source = SOURCES.get(name)
    if not takes_lengths(run.pair) or (source and source.rate is None):
        raise RequestError(f"{name} is no sound; write a .png or .npz")
    stated = source.rate if source else None
    if stated and rate and rate != stated:
        raise RequestError(f"{name} has {stated} samples a second, not {rate}; leave out `rate`")
    rate = stated or rate
    if not rate:
        raise RequestError(f"the sampling rate of {name} is not known; give it, as `rate=8000`")
    return rate


def write_wav(x: Array, path: Path, rate: int) -> None:
    """Write sounds, one after the other, with pauses between them.

    Parameters
    ----------
    x
        Frames of samples in [-1, 1), ``(N, T, D)``; louder ones are cut, nan is silence.
    path
        The file.
    rate
        Samples a second.
    """
    pause = np.zeros(round(_PAUSE * rate))
    samples = np.concatenate([part for one in x for part in (one.ravel(), pause)][:-1])
    levels = np.round(np.nan_to_num(samples) * _LARGEST).clip(-_LARGEST, _LARGEST - 1)
    content = io.BytesIO()
    with wave.open(content, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(levels.astype("<i2").tobytes())
    write_bytes(path, content.getvalue())
