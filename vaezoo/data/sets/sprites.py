"""Sprites: pictures of one shape each, made from five factors that vary independently."""

import hashlib
import io
import logging
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, BinaryIO, Protocol

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from vaezoo.data.dataset import Array, Data
from vaezoo.data.sets import download
from vaezoo.data.sets.readers import decompress
from vaezoo.data.splits import random_splits
from vaezoo.errors import RequestError, refusing
from vaezoo.runtime.storage import writing

__all__ = ["FACTORS", "read_sprites"]

# Columns of `latents_classes`, slowest first; that of the colour, before them, has one class.
FACTORS = ("shape", "scale", "orientation", "posX", "posY")
_log = logging.getLogger(__name__)
_HDF5 = b"\x89HDF"
_IMAGE = (64, 64)
_ROWS_AT_ONCE = 8192  # 32 MiB
_OTHER_PICTURES = (
    "the pictures are drawn again from the geometry of dSprites, and may differ from the original "
    "in a pixel of one in 13,000"
)


class _Pictures(Protocol):
    """An array of bytes in a file, of which rows are read in order."""

    shape: tuple[int, ...]

    def pieces(self) -> Iterator[bytes]: ...


def read_sprites(paths: Sequence[Path]) -> Data:
    """Read dSprites (Matthey, Higgins, Hassabis & Lerchner 2017) from its HDF5 or npz file.

    ``x (N, 64, 64)`` is 0 or 1. Each factor is an array of its classes, ``(N,)``, by the name that
    it has there: ``shape`` (square, ellipse, heart; ``label`` as well), ``scale``, ``orientation``,
    ``posX`` and ``posY``. The pictures take 3 GB, so they are unpacked once into the user's cache,
    and mapped from there. There is no published split: a hundredth of the rows, at random by a
    fixed seed, is for validation, and another for test.

    Raises
    ------
    RequestError
        When the file holds no such arrays.
    RunError
        When the cache has no room for the pictures.
    """
    (path,) = paths
    content = decompress(path)
    stream = io.BytesIO(content)
    with refusing(f"{path} holds no dSprites", "get it again"):
        pictures, classes = _of_hdf5(stream) if content.startswith(_HDF5) else _of_npz(stream)
        if pictures.shape[1:] != _IMAGE or classes.shape != (pictures.shape[0], 1 + len(FACTORS)):
            raise RequestError(
                f"{path}: pictures of {pictures.shape} with factors of {classes.shape}; expected "
                f"(N, 64, 64) and (N, {1 + len(FACTORS)})"
            )
    digest = hashlib.sha256(content).hexdigest()
    x = _mapped(pictures, download.cache_dir() / "dsprites" / f"pictures-{digest[:16]}.bytes")
    factors = {name: np.ascontiguousarray(classes[:, 1 + i]) for i, name in enumerate(FACTORS)}
    arrays: dict[str, Array] = {"x": x, "label": factors["shape"], **factors}
    is_original = content.startswith(_HDF5)
    return Data(
        "dsprites",
        arrays,
        random_splits(len(x), held_out=0.01),
        checksum="" if is_original else digest,
        notes=() if is_original else (_OTHER_PICTURES,),
    )


def _mapped(pictures: _Pictures, target: Path) -> NDArray[np.uint8]:
    """Return pictures as a map of a file, which is made when it is not there."""
    size = int(np.prod(pictures.shape))
    if not target.is_file() or target.stat().st_size != size:
        _log.info("unpacking %.1f GB into %s", size / 1e9, target)
        with writing(target) as file:
            for piece in pictures.pieces():
                file.write(piece)
    return np.memmap(target, np.uint8, "r", shape=pictures.shape)


class _InHdf5:
    """Pictures in a file of HDF5, as the original has them."""

    def __init__(self, stream: BinaryIO) -> None:
        import h5py

        self.file = h5py.File(stream, "r")
        self.shape: tuple[int, ...] = self.file["imgs"].shape

    def pieces(self) -> Iterator[bytes]:
        for start in range(0, self.shape[0], _ROWS_AT_ONCE):
            yield self.file["imgs"][start : start + _ROWS_AT_ONCE].astype(np.uint8).tobytes()


def _of_hdf5(stream: BinaryIO) -> tuple[_Pictures, NDArray[np.int64]]:
    pictures = _InHdf5(stream)
    return pictures, np.asarray(pictures.file["latents"]["classes"], np.int64)


class _InNpz:
    """Pictures in a file of numpy, whose member is inflated as it is read."""

    def __init__(self, archive: zipfile.ZipFile) -> None:
        self.archive = archive
        with archive.open("imgs.npy") as member:
            self.shape = _shape_of(member)

    def pieces(self) -> Iterator[bytes]:
        with self.archive.open("imgs.npy") as member:
            _shape_of(member)
            while piece := member.read(_IMAGE[0] * _IMAGE[1] * _ROWS_AT_ONCE):
                yield piece


def _shape_of(member: IO[bytes]) -> tuple[int, ...]:
    """Read the header of an array, and return its shape."""
    npy.read_magic(member)
    shape, is_fortran, dtype = npy.read_array_header_1_0(member)
    if is_fortran or dtype != np.uint8:
        raise ValueError("its pictures are no bytes in the order of C")
    return shape


def _of_npz(stream: BinaryIO) -> tuple[_Pictures, NDArray[np.int64]]:
    archive = zipfile.ZipFile(stream)
    with archive.open("latents_classes.npy") as member:
        classes = npy.read_array(member, allow_pickle=False)
    return _InNpz(archive), np.asarray(classes, np.int64)
