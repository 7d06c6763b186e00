"""Kinds of files that people have: sparse matrices, pictures of unlike size."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import sparse
from scipy.io import wavfile

from vaezoo.data import Data, load_data
from vaezoo.errors import RequestError
from vaezoo.settings import DataSettings


def read(path: Path, **sizes: int) -> Data:
    return load_data(path, settings=DataSettings.model_validate({"name": "", **sizes}))


@pytest.mark.parametrize("form", ["csr", "csc", "coo"])
def test_a_sparse_matrix_is_read_whole(tmp_path: Path, form: str) -> None:
    counts = np.random.default_rng(0).poisson(0.2, (20, 7))
    sparse.save_npz(tmp_path / "x.npz", sparse.csr_matrix(counts).asformat(form))
    data = read(tmp_path / "x.npz")
    assert np.array_equal(data.x, counts)
    assert data.notes == ("x: a sparse matrix of scipy, made dense",)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for name, size in (("a", (20, 30)), ("b", (16, 16)), ("c", (40, 17))):
        Image.fromarray(rng.integers(0, 256, size, np.uint8)).save(tmp_path / f"{name}.png")
    return tmp_path


def test_pictures_of_unlike_size_are_resized(folder: Path) -> None:
    assert read(folder, resize=8).x.shape == (3, 8, 8)


def test_the_middle_of_pictures_is_cut_out(folder: Path) -> None:
    pixels = np.asarray(Image.open(folder / "a.png"))
    assert np.array_equal(read(folder, crop=10).x[0], pixels[5:15, 10:20])


def test_pictures_are_resized_then_cut(folder: Path) -> None:
    assert read(folder, resize=12, crop=8).x.shape == (3, 8, 8)


def test_pictures_smaller_than_the_cut_are_refused(folder: Path) -> None:
    with pytest.raises(RequestError, match=r"b\.png' is 16x16, smaller than `crop=17`"):
        read(folder, crop=17)


def test_pictures_of_unlike_size_name_the_setting(folder: Path) -> None:
    with pytest.raises(RequestError, match="`resize=64`"):
        read(folder)


def wav(path: Path, samples: np.ndarray, rate: int = 8000) -> None:
    path.parent.mkdir(exist_ok=True)
    wavfile.write(path, rate, samples)


def test_recordings_are_sequences_of_frames(tmp_path: Path) -> None:
    sound = np.random.default_rng(0).integers(-(2**15), 2**15, 1050).astype(np.int16)
    wav(tmp_path / "no" / "a.wav", sound)
    wav(tmp_path / "yes" / "b.wav", sound[:450])
    data = read(tmp_path, frame=100)
    assert (data.kind, data.x.shape) == ("sequences", (2, 10, 100))
    assert np.allclose(data.x[1, :4].ravel(), sound[:400] / 2**15)
    assert data.arrays["length"].tolist() == [10, 4]
    assert data.arrays["label"].tolist() == [0, 1]


def test_recordings_of_two_rates_are_refused(tmp_path: Path) -> None:
    for name, rate in (("a", 8000), ("b", 16000)):
        wav(tmp_path / f"{name}.wav", np.zeros(900, np.int16), rate)
    with pytest.raises(RequestError, match=r"b\.wav' has 16000 samples a second"):
        read(tmp_path)


def test_what_is_no_recording_of_one_channel_is_refused(tmp_path: Path) -> None:
    wav(tmp_path / "a.wav", np.zeros((900, 2), np.int16))
    with pytest.raises(RequestError, match="2 channels"):
        read(tmp_path)
    (tmp_path / "a.wav").write_bytes(b"RIFF nothing")
    with pytest.raises(RequestError, match="no recording"):
        read(tmp_path)
