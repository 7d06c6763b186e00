"""Files that are written whole, and to no place that a link points to; tensors in files."""

import ast
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import vaezoo
from vaezoo import RequestError, RunError
from vaezoo.runtime.storage import (
    append_bytes,
    inside,
    sweep,
    write_bytes,
    writing,
    writing_path,
)
from vaezoo.runtime.tensors import load_tensors, save_tensors

POSIX = pytest.mark.skipif(os.name != "posix", reason="modes and devices of POSIX")


def write_through_a_path(path: Path, content: bytes) -> None:
    with writing_path(path) as temporary:
        temporary.write_bytes(content)


WRITERS = [write_bytes, append_bytes, write_through_a_path]
REPLACING = [write_bytes, write_through_a_path]
Write = Callable[[Path, bytes], None]


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    """A file outside of the folder that is written to."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "victim").write_bytes(b"precious")
    return tmp_path / "victim"


@pytest.mark.parametrize("write", REPLACING)
def test_a_link_in_the_place_of_a_file_is_replaced(write: Write, victim: Path) -> None:
    path = victim.parent / "folder" / "file"
    path.symlink_to(victim)
    write(path, b"new")
    assert path.read_bytes() == b"new"
    assert not path.is_symlink()
    assert victim.read_bytes() == b"precious"


def test_nothing_is_added_to_what_a_link_points_to(victim: Path) -> None:
    path = victim.parent / "folder" / "file"
    path.symlink_to(victim)
    with pytest.raises(RunError, match=r"cannot write .*link"):
        append_bytes(path, b"new")
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize("write", WRITERS)
def test_a_name_that_can_be_guessed_is_not_opened(write: Write, victim: Path) -> None:
    folder = victim.parent / "folder"
    for name in (".file.part", "file.part", "file.tmp", ".file.tmp"):
        (folder / name).symlink_to(victim)
    write(folder / "file", b"new")
    assert victim.read_bytes() == b"precious"


def test_the_name_of_half_a_file_is_another_each_time(tmp_path: Path) -> None:
    names = set()
    for _ in range(3):
        with writing(tmp_path / "file"), writing_path(tmp_path / "other"):
            names |= {path.name for path in tmp_path.glob(".*")}
            (next(tmp_path.glob(".other*")) / "other").touch()
    assert len(names) == 6


@POSIX
@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_a_new_file_has_the_mode_of_the_umask(write: Write, mask: int, tmp_path: Path) -> None:
    before = os.umask(mask)
    try:
        write(tmp_path / "file", b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


@POSIX
@pytest.mark.parametrize("write", WRITERS)
@pytest.mark.parametrize("mode", [0o600, 0o664, 0o640])
def test_another_keeps_the_mode_of_the_old_one(write: Write, mode: int, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "file").chmod(mode)
    write(tmp_path / "file", b"new")
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == mode


@POSIX
@pytest.mark.parametrize("write", WRITERS)
def test_a_device_or_fifo_is_no_file_to_replace(write: Write, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(RunError, match="cannot write"):
        write(tmp_path / "fifo", b"new")
    assert stat.S_ISFIFO((tmp_path / "fifo").stat().st_mode)


@pytest.mark.parametrize("write", WRITERS)
def test_a_folder_is_not_replaced_by_a_file(write: Write, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(RunError, match="cannot write"):
        write(tmp_path / "folder", b"new")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("write", REPLACING)
def test_names_may_be_as_long_as_the_system_allows(write: Write, tmp_path: Path) -> None:
    name = "\N{LATIN SMALL LETTER U WITH DIAERESIS}" * 120 + ".npz"
    write(tmp_path / name, b"new")
    assert (tmp_path / name).read_bytes() == b"new"


def test_half_a_record_is_taken_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    append_bytes(tmp_path / "log", b"one")
    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(RunError, match="No space left"):
        append_bytes(tmp_path / "log", b"two")
    assert (tmp_path / "log").read_bytes() == b"one"


def test_no_folder_inside_is_a_link(victim: Path) -> None:
    folder = victim.parent / "folder"
    (folder / "last").symlink_to(victim.parent)
    with pytest.raises(RunError, match="last is a link"):
        inside(folder, "last/state.safetensors")


def test_the_folder_itself_may_be_a_link(victim: Path) -> None:
    link = victim.parent / "link"
    link.symlink_to(victim.parent / "folder")
    write_bytes(inside(link, "last/file"), b"new")
    assert (victim.parent / "folder" / "last" / "file").read_bytes() == b"new"


def test_a_folder_that_is_gone_is_not_made_again(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="gone"):
        inside(tmp_path / "run", "last/state.safetensors")
    assert not (tmp_path / "run").exists()


def test_what_a_killed_process_left_is_swept(victim: Path) -> None:
    folder = victim.parent / "folder"
    (folder / ".file.0123456789abcdef.part").write_bytes(b"half")
    (folder / ".tree.zarr.abcdefgh.part" / "tree.zarr").mkdir(parents=True)
    (folder / ".link.part").symlink_to(victim)
    (folder / ".file").touch()
    (folder / "last").mkdir()
    (folder / "last" / ".x.part").touch()
    (victim.parent / ".x.part").touch()
    (folder / "figures").symlink_to(victim.parent)
    sweep(folder)
    assert {path.name for path in folder.iterdir()} == {".file", "last", "figures"}
    assert not list((folder / "last").iterdir())
    assert (victim.parent / ".x.part").exists()
    assert victim.read_bytes() == b"precious"


def no_space(descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_file_is_the_old_one_until_the_new_one_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "folder" / "file"
    write_bytes(path, b"old")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(RunError, match=r"cannot write .*: No space left on device"):
        write_bytes(path, b"new")
    assert path.read_bytes() == b"old"
    assert [file.name for file in path.parent.iterdir()] == ["file"]


def test_tensors_come_back_with_their_values(tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    wide = torch.randn(3, 4)
    save_tensors(path, {"view": wide.T, "shared": wide}, {"epoch": 3, "name": "adam"})
    tensors, values = load_tensors(path)
    assert torch.equal(tensors["view"], wide.T)
    assert torch.equal(tensors["shared"], wide)
    assert values == {"epoch": 3, "name": "adam"}


@pytest.mark.parametrize("content", [b"", b"text", b"\x80\x04pickle"])
def test_what_is_no_file_of_tensors_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    with pytest.raises(RequestError, match="no file"):
        load_tensors(path)
    path.write_bytes(content)
    with pytest.raises(RequestError, match="is damaged or no safetensors file"):
        load_tensors(path)


# Nobody else opens a file to write

SOURCE = Path(vaezoo.__file__).parent
WRITING = {
    *("write_text", "savez", "savez_compressed", "savefig", "to_csv", "to_netcdf", "to_zarr"),
    *("save", "save_file", "dump", "tofile", "touch", "mkstemp", "NamedTemporaryFile", "copyfile"),
    *("copytree", "copy2", "rename", "symlink_to", "hardlink_to", "write_bytes", "open"),
}
# Where a name of these is another thing, or writes to what was opened safely.
ELSEWHERE = {
    "engine/compiler.py": "a mark in Inductor's own cache, which is looked at before",
    "runs/trust.py": "a mark in a folder that only its user can write to",
    "runtime/locks.py": "locks are held on files that stay open; no links are followed",
    "sharing/exchange.py": "a folder that is new, named by its user",
    "trees/formats.py": "to what writing_path gives",
}


def writes(path: Path) -> list[str]:
    """Return the calls of a file that may write to a path by themselves."""
    return [
        f"{path.relative_to(SOURCE)}:{node.lineno}: {ast.unparse(node)}"
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and _writes(node)
    ]


def _writes(call: ast.Call) -> bool:
    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    if name not in WRITING or (name == "write_bytes" and isinstance(call.func, ast.Name)):
        return False
    text = ast.unparse(call)
    if name == "open":
        return bool(re.search(r"['\"][rb]*[wax+][rb+]*['\"]|O_WRONLY|O_RDWR|O_CREAT", text))
    if text.endswith(".rename(columns=str)"):  # a table's
        return False
    into_memory = call.args and ast.unparse(call.args[0]) in ("content", "whole", "_plain(tensors)")
    return not into_memory and not text.startswith("self.saver.save(")


def test_everything_is_written_by_the_storage() -> None:
    wrong = [
        line
        for path in sorted(SOURCE.rglob("*.py"))
        if path.relative_to(SOURCE).as_posix() not in {*ELSEWHERE, "runtime/storage.py"}
        for line in writes(path)
    ]
    assert [line for line in wrong if "wave.open(content, 'wb')" not in line] == []
