"""Spoken digits: raw sound, in frames of consecutive samples."""

import re
import tarfile
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from vaezoo.data.dataset import Data
from vaezoo.data.padding import pad
from vaezoo.errors import RequestError, refusing

__all__ = ["read_spoken_digits"]

_FRAME = 200  # samples, as Chung et al. 2015, arXiv:1506.02216, have them at 16 kHz
_RATE = 8000
_LARGEST = 2**15
_MEMBER = re.compile(r"/recordings/(\d)_([a-z]+)_(\d+)\.wav$")
_INDICES = {"train": range(10, 50), "validation": range(5, 10), "test": range(5)}

Key = tuple[int, str, int]


def read_spoken_digits(paths: Sequence[Path]) -> Data:
    """Read the Free Spoken Digit Dataset from its archive, without unpacking it to disk.

    ``x (N, T, 200)`` is the sound in [-1, 1) as float32, 25 ms a frame; ``label`` is the digit.
    Samples after the last whole frame are left out (3 % of them): zeros in their place would be
    values that no microphone gave, of a density that grows without bound.

    Of the 50 recordings of each digit by each speaker, 0 to 4 are for test, as their authors have
    it; of the others, 5 to 9 are for validation.

    Raises
    ------
    RequestError
        When the archive is damaged, or a recording is not of 16 bits, one channel and 8 kHz.
    """
    recordings = sorted(_recordings(paths[0]).items())
    x, length = pad([frames for _, frames in recordings], str(paths[0]))
    label = np.array([digit for (digit, _, _), _ in recordings], dtype=np.int64)
    index = np.array([index for (_, _, index), _ in recordings])
    splits = {name: np.flatnonzero(np.isin(index, some)) for name, some in _INDICES.items()}
    return Data("spoken-digits", {"x": x, "length": length, "label": label}, splits)


def _recordings(path: Path) -> dict[Key, NDArray[np.float32]]:
    """Frames by digit, speaker and index."""
    recordings = {}
    damaged = f"{path} is damaged, or no archive of sound"
    with refusing(damaged, "get it again"), tarfile.open(path) as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content and (match := _MEMBER.search(member.name)):
                digit, speaker, index = match.groups()
                recordings[int(digit), speaker, int(index)] = _frames(content, member.name)
    return recordings


def _frames(content: IO[bytes], name: str) -> NDArray[np.float32]:
    with wave.open(content) as sound:
        form = (sound.getnchannels(), 8 * sound.getsampwidth(), sound.getframerate())
        if form != (1, 16, _RATE):
            raise RequestError(
                f"{name} has {form[0]} channels of {form[1]} bits at {form[2]} Hz; "
                f"expected 1 of 16 bits at {_RATE} Hz"
            )
        samples = np.frombuffer(sound.readframes(sound.getnframes()), "<i2")
    whole = samples[: len(samples) // _FRAME * _FRAME].reshape(-1, _FRAME)
    return whole.astype(np.float32) / np.float32(_LARGEST)
