"""What a stranger's file may be instead of a file, and what it may say of its size."""

import io
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from vaezoo.errors import RequestError
from vaezoo.runtime import memory
from vaezoo.runtime.arrays import load_arrays
from vaezoo.runtime.memory import free_memory, require_memory
from vaezoo.runtime.reading import open_plain, read_plain
from vaezoo.runtime.tensors import load_tensors

posix = pytest.mark.skipif(os.name == "nt", reason="pipes and devices of POSIX")


@posix
def test_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(RequestError, match="it is a pipe"):
        open_plain(tmp_path / "pipe")


@posix
def test_a_device_is_refused() -> None:
    with pytest.raises(RequestError, match="a device"):
        read_plain(Path("/dev/zero"), 10)


def test_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="a folder"):
        open_plain(tmp_path)


@pytest.mark.parametrize("name", ["missing", "a\0b"])
def test_what_cannot_be_opened_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="cannot read"):
        open_plain(tmp_path / name)


def test_more_than_the_limit_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abcd")
    with pytest.raises(RequestError, match="more than 3 bytes"):
        read_plain(tmp_path / "a", 3)


def test_free_memory_is_some_and_finite() -> None:
    assert 2**20 < (free_memory() or 2**30) < 2**60


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free_memory", lambda: 10**9)
    require_memory(10**9, "x", "")
    with pytest.raises(
        RequestError, match=r"x takes 2\.0 GB of memory, and 1\.0 GB are free; less"
    ):
        require_memory(2 * 10**9, "x", "less")


LIMITED = """
import resource
from vaezoo.runtime import memory
resource.setrlimit(resource.RLIMIT_AS, (2**30, 2**30))
assert memory.free_memory() < 2**30
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit that Linux keeps")
def test_limit_of_the_address_space_counts() -> None:
    """In a process of its own, since a limit cannot be lifted again."""
    subprocess.run([sys.executable, "-c", LIMITED], check=True)


# Arrays


def packed(path: Path, **arrays: np.ndarray) -> Path:
    np.savez_compressed(path, **arrays)
    return path


def rewritten(
    path: Path, change: Callable[[bytes], bytes], method: int = zipfile.ZIP_DEFLATED
) -> Path:
    """Write an archive again, its one member changed."""
    with zipfile.ZipFile(path) as archive:
        name = archive.namelist()[0]
        content = change(archive.read(name))
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr(name, content)
    return path


def test_arrays_are_what_numpy_reads(tmp_path: Path) -> None:
    x = np.arange(6.0).reshape(2, 3)
    stored = load_arrays(packed(tmp_path / "x.npz", x=x, text=np.array(["a", "b"])))
    assert isinstance(stored, dict)
    assert stored["x"].tolist() == x.tolist()
    assert stored["text"].tolist() == ["a", "b"]


def test_bomb_is_refused_before_it_is_inflated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = packed(tmp_path / "x.npz", x=np.zeros((4096, 4096), np.uint8))
    assert path.stat().st_size < 2**16
    monkeypatch.setattr(memory, "free_memory", lambda: 2**20)
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("was read"))
    with pytest.raises(RequestError, match=r"takes 0\.0 GB of memory.*save x as \.npy"):
        load_arrays(path)


@pytest.mark.parametrize("rows", [3, 2**40])
def test_shape_that_the_member_does_not_hold_is_refused(tmp_path: Path, rows: int) -> None:
    header = io.BytesIO()
    shape = {"descr": "<f8", "fortran_order": False, "shape": (rows, 2)}
    np.lib.format.write_array_header_1_0(header, shape)
    path = packed(tmp_path / "x.npz", x=np.zeros(1))
    rewritten(path, lambda _: header.getvalue() + bytes(32))
    with pytest.raises(RequestError, match=rf"announces {16 * rows} bytes .* and holds 32"):
        load_arrays(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_LZMA, zipfile.ZIP_BZIP2])
def test_compression_without_bounds_is_refused(tmp_path: Path, method: int) -> None:
    path = rewritten(packed(tmp_path / "x.npz", x=np.zeros(9)), bytes, method)
    with pytest.raises(RequestError, match="compressed as numpy does not"):
        load_arrays(path)


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    path = packed(tmp_path / "x.npz", x=np.array([{}, []], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle"):
        load_arrays(path)


@pytest.mark.skipif(sys.platform != "linux", reason="files with holes")
def test_tensors_that_do_not_fit_are_not_read(tmp_path: Path) -> None:
    with (tmp_path / "weights.safetensors").open("wb") as file:
        file.truncate(2**40)  # a hole, which takes no room on the disk
    with pytest.raises(RequestError, match=r"GB are free; train again"):
        load_tensors(tmp_path / "weights.safetensors", remedy="train again")
