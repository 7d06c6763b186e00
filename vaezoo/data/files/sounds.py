"""Folders of sounds: each recording is a sequence of frames of so many samples."""

import hashlib
import io
import warnings
from pathlib import Path

import numpy as np

from vaezoo.data.dataset import Array
from vaezoo.data.padding import pad
from vaezoo.errors import RequestError
from vaezoo.runtime.reading import read_plain

__all__ = ["read_sounds", "sounds_in"]

_LARGEST = 2**29  # bytes of one file


def sounds_in(path: Path) -> list[Path]:
    """Return the ``.wav`` files of a folder, and of the folders in it, hidden ones left out."""
    files = sorted(file for file in path.rglob("*") if file.suffix.lower() == ".wav")
    return [file for file in files if not file.name.startswith(".")]


def read_sounds(
    path: Path, files: list[Path], frame: int
) -> tuple[dict[str, Array], list[str], str, str]:
    """Return recordings as sequences of frames, whole numbers divided by the largest there is.

    The last samples of a recording that fill no frame are left out.

    Parameters
    ----------
    path
        The folder.
    files
        Recordings in it, of one channel and one rate.
    frame
        Samples in a frame.

    Returns
    -------
    tuple
        ``x (N, T, frame)`` and ``length``; the sub-folder of each; the checksum; a line.

    Raises
    ------
    RequestError
        When one is no recording, is shorter than a frame, has several channels, or another rate.
    """
    digest, sequences = hashlib.sha256(), []
    rates: dict[int, Path] = {}
    for file in files:
        raw = read_plain(file, _LARGEST)
        digest.update(f"{file.relative_to(path).as_posix()}\0{len(raw)}\0".encode() + raw)
        rate, samples = _samples(file, raw)
        rates.setdefault(rate, file)
        if len(rates) > 1:
            one, other = rates.items()
            raise RequestError(
                f"'{other[1]}' has {other[0]} samples a second, but '{one[1]}' has {one[0]}; "
                "resample them to one rate"
            )
        if len(samples) < frame:
            raise RequestError(f"'{file}' has {len(samples)} samples, fewer than `frame={frame}`")
        sequences.append(samples[: len(samples) // frame * frame].reshape(-1, frame))
    x, length = pad(sequences, f"'{path}'")
    folders = [f.parent.relative_to(path).as_posix() for f in files if f.parent != path]
    line = f"x: {len(files)} recordings of {next(iter(rates))} Hz, in frames of {frame} samples"
    return {"x": x, "length": length}, folders, digest.hexdigest(), line


def _samples(file: Path, raw: bytes) -> tuple[int, Array]:
    from scipy.io import wavfile

    try:
        with warnings.catch_warnings(action="ignore"):
            rate, samples = wavfile.read(io.BytesIO(raw))
    except (ValueError, OSError, EOFError) as error:
        raise RequestError(f"'{file}' is no recording that can be read; remove it") from error
    if samples.ndim != 1:
        raise RequestError(f"'{file}' has {samples.shape[1]} channels; save one of them")
    if samples.dtype.kind == "u":
        return int(rate), (samples.astype(np.float32) - 128) / 128
    if samples.dtype.kind == "i":
        return int(rate), (samples / -float(np.iinfo(samples.dtype).min)).astype(np.float32)
    return int(rate), samples.astype(np.float32)
