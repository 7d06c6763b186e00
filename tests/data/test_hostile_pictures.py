"""Pictures of strangers: five formats, one frame, and a size that is looked at first."""

import os
import struct
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vaezoo.data import from_arrays
from vaezoo.data.files import pictures
from vaezoo.data.files.pictures import read_pictures
from vaezoo.data.files.reader import load_file
from vaezoo.errors import RequestError
from vaezoo.runtime import memory
from vaezoo.settings import DataSettings


def chunk(kind: bytes, content: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(kind + content))
    return struct.pack(">I", len(content)) + kind + content + checksum


def png(width: int, height: int) -> bytes:
    """A grey picture as its header says, without the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n%%EOF\n"


@pytest.mark.parametrize("ending", pictures._ENDINGS)
def test_postscript_is_no_picture(
    tmp_path: Path, ending: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from PIL import EpsImagePlugin

    monkeypatch.setattr(EpsImagePlugin, "Ghostscript", lambda *_, **__: pytest.fail("was started"))
    (tmp_path / f"a{ending}").write_bytes(EPS)
    with pytest.raises(RequestError, match="is not an image"):
        load_file(tmp_path)


@pytest.mark.parametrize("form", ["TIFF", "PPM", "ICO", "TGA", "PCX", "SGI"])
def test_other_formats_are_no_pictures(tmp_path: Path, form: str) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png", form)
    with pytest.raises(RequestError, match="is not an image"):
        load_file(tmp_path)


@pytest.mark.parametrize("size", [(13000, 13000), (2**24 + 1, 1), (2**31 - 1, 2**31 - 1)])
def test_a_huge_picture_is_not_decoded(tmp_path: Path, size: tuple[int, int]) -> None:
    (tmp_path / "a.png").write_bytes(png(*size))
    with pytest.raises(RequestError, match=r"a\.png' *(is .* pixels|.*exceeds limit)"):
        load_file(tmp_path)


def test_many_pictures_are_refused_before_they_are_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(4):
        (tmp_path / f"{number}.png").write_bytes(png(4000, 4000))
    monkeypatch.setattr(memory, "free_memory", lambda: 2**25)
    monkeypatch.setattr(pictures, "_pixels", lambda *_: pytest.fail("was decoded"))
    with pytest.raises(RequestError, match=r"takes 0\.1 GB .*; make the images smaller"):
        load_file(tmp_path)


@pytest.mark.parametrize("form", ["GIF", "PNG", "WEBP"])
def test_several_frames_are_refused(tmp_path: Path, form: str) -> None:
    frames = [Image.new("L", (4, 4), grey) for grey in (0, 255)]
    frames[0].save(tmp_path / "a.png", form, save_all=True, append_images=frames[1:])
    with pytest.raises(RequestError, match="several frames"):
        load_file(tmp_path)


def test_photographs_of_telephones_are_read(tmp_path: Path) -> None:
    """A JPEG with a second picture behind it, which is for the brightness."""
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.jpg", "MPO", save_all=True, append_images=frames[1:])
    x, _, _ = read_pictures(tmp_path, DataSettings(name=""))
    assert x.shape == (1, 3, 4, 4)
    assert x[0, 0].min() > 200


@pytest.mark.skipif(os.name == "nt", reason="a pipe of POSIX")
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(RequestError, match="it is a pipe"):
        load_file(tmp_path)


def test_a_folder_that_is_called_as_a_picture_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()
    with pytest.raises(RequestError, match=r"a\.png'.*(a folder|denied)"):
        load_file(tmp_path)


def test_a_column_of_one_value_a_billion_times_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pd, _ = pytest.importorskip("pandas"), pytest.importorskip("pyarrow")
    pd.DataFrame({"a": [0.5] * 2**20}).to_parquet(tmp_path / "x.parquet")
    assert (tmp_path / "x.parquet").stat().st_size < 2**17
    monkeypatch.setattr(memory, "free_memory", lambda: 2**20)
    monkeypatch.setattr(sys.modules["pandas"], "read_parquet", lambda *_, **__: pytest.fail("read"))
    with pytest.raises(RequestError, match=r"save x as \.npy"):
        load_file(tmp_path / "x.parquet")


def test_huge_pictures_are_walked_one_by_one() -> None:
    large = from_arrays(np.zeros((5, 3, 4000, 4000), np.uint8))
    assert [len(x) for _, x, _ in large.pieces()] == [1] * 5
    small = from_arrays(np.zeros((5000, 28, 28), np.uint8))
    assert [len(x) for _, x, _ in small.pieces()] == [4096, 904]
