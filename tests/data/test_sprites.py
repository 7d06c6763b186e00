import io
from pathlib import Path

import h5py
import numpy as np
import pytest

from vaezoo.data.sets.sources import load_source
from vaezoo.data.sets.sprites import FACTORS, read_sprites
from vaezoo.errors import RequestError

SIZES = (1, 3, 2, 2, 1, 2)  # of the colour, and of the factors


def content() -> tuple[np.ndarray, np.ndarray]:
    """Pictures whose first pixels are the bits of their row number, and their factors."""
    classes = np.stack([grid.ravel() for grid in np.indices(SIZES)], 1).astype(np.int64)
    pictures = np.zeros((len(classes), 64, 64), np.uint8)
    pictures[:, 0, :8] = np.arange(len(classes))[:, None] >> np.arange(8) & 1
    return pictures, classes


@pytest.fixture(params=["hdf5", "npz"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    pictures, classes = content()
    path = tmp_path / f"sprites.{request.param}"
    if request.param == "npz":
        np.savez_compressed(path, imgs=pictures, latents_classes=classes)
        return path
    with h5py.File(path, "w") as file:
        file["imgs"] = pictures
        file["latents/classes"] = classes
    return path


def test_pictures_are_mapped(path: Path) -> None:
    data = read_sprites([path])
    assert isinstance(data.x, np.memmap)
    assert np.array_equal(data.x, content()[0])


def test_pictures_are_unpacked_once(path: Path, cache: Path) -> None:
    read_sprites([path])
    (file,) = (cache / "dsprites").iterdir()
    before = file.stat().st_mtime_ns
    read_sprites([path])
    assert [one.stat().st_mtime_ns for one in (cache / "dsprites").iterdir()] == [before]


def test_a_torn_file_of_the_cache_is_written_again(path: Path, cache: Path) -> None:
    read_sprites([path])
    (file,) = (cache / "dsprites").iterdir()
    file.write_bytes(b"torn")
    assert np.array_equal(read_sprites([path]).x, content()[0])


def test_factors_are_arrays_of_classes(path: Path) -> None:
    arrays = read_sprites([path]).arrays
    for i, name in enumerate(FACTORS):
        assert np.array_equal(arrays[name], content()[1][:, 1 + i])
    assert np.array_equal(arrays["label"], arrays["shape"])


def test_each_row_is_in_one_split(path: Path) -> None:
    data = read_sprites([path])
    assert sorted(np.concatenate(list(data.splits.values()))) == list(range(len(data.x)))


def test_another_file_is_refused_in_a_line(tmp_path: Path) -> None:
    path = tmp_path / "other.npz"
    np.savez(path, imgs=np.zeros((4, 8, 8), np.uint8), latents_classes=np.zeros((4, 6)))
    with pytest.raises(RequestError, match=r"pictures of \(4, 8, 8\).* expected \(N, 64, 64\)"):
        read_sprites([path])


@pytest.mark.parametrize("raw", [b"", b"<html>", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04 and no more"])
def test_a_damaged_file_is_refused_in_a_line(tmp_path: Path, raw: bytes) -> None:
    (tmp_path / "damaged").write_bytes(raw)
    with pytest.raises(RequestError, match="holds no dSprites"):
        read_sprites([tmp_path / "damaged"])


def test_reals_are_no_pictures(tmp_path: Path) -> None:
    stream = io.BytesIO()
    np.savez(stream, imgs=np.zeros((2, 64, 64)), latents_classes=np.zeros((2, 6), int))
    (tmp_path / "reals.npz").write_bytes(stream.getvalue())
    with pytest.raises(RequestError, match="holds no dSprites"):
        read_sprites([tmp_path / "reals.npz"])


@pytest.mark.slow
def test_published_pixels(real_data: Path) -> None:
    data = load_source("dsprites", data_dir=real_data)
    assert data.x.shape == (737280, 64, 64)
    white = sum(int(np.asarray(rows).sum()) for _, rows, _ in data.pieces())
    assert white == 128328864  # the published mean amounts to two less
    assert data.notes  # since they are not the original's
