"""Which commit a folder is at, read from git's own files.

Git itself is never run: ``git describe --dirty`` executes what the settings of a checkout name, as
its ``core.fsmonitor`` or a clean filter, and the checkout may be a stranger's.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from vaezoo.errors import RequestError
from vaezoo.runtime.reading import read_plain

__all__ = ["commit_of"]

_COMMIT = re.compile(r"[0-9a-f]{40}(?:[0-9a-f]{24})?")
_REF = re.compile(r"refs/(?:[\w-][\w.@+-]*/)*[\w-][\w.@+-]*")
_LINE = 4096  # more than HEAD, a ref or the path of a worktree can have
_PACKED = 2**24


def commit_of(folder: Path, *, above: bool = True) -> str | None:
    """Return the commit that is checked out in a folder; None where there is none to be read.

    Parameters
    ----------
    folder
        Any folder of a checkout.
    above
        Look in the folders above it, too.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> (folder / ".git").mkdir()
    >>> _ = (folder / ".git/HEAD").write_text("ref: refs/heads/main")
    >>> _ = (folder / ".git/packed-refs").write_text(f"{'0a' * 20} refs/heads/main")
    >>> commit_of(folder)
    '0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a'
    """
    try:
        folder = folder.resolve()
        for place in (folder, *folder.parents) if above else (folder,):
            if (place / ".git").exists():
                return _commit(place / ".git")
    except (OSError, ValueError, RuntimeError):  # a loop of links is a RuntimeError before 3.13
        pass
    return None


def _commit(git: Path) -> str | None:
    private = _private_folder(git)
    head = _text(private / "HEAD").strip()
    if _COMMIT.fullmatch(head):
        return head
    name = head.removeprefix("ref:").strip()
    if not _REF.fullmatch(name):
        return None
    commits = (commit for place in _folders(private) for commit in _of_ref(place, name))
    return next(commits, None)


def _private_folder(git: Path) -> Path:
    """Return the folder with ``HEAD``; a worktree and a submodule have a file that names it."""
    if git.is_dir():
        return git
    named = _text(git).strip().removeprefix("gitdir:").strip()
    return git.parent / _local(named)


def _folders(private: Path) -> Iterator[Path]:
    """Yield the folders that may have a ref: that of ``HEAD``, and that of all worktrees."""
    yield private
    if shared := _text(private / "commondir").strip():
        yield private / _local(shared)


def _local(path: str) -> str:
    r"""Refuse ``//server/share``: Windows logs in where such a path leads."""
    if path[:1] in ("/", "\\") and path[1:2] in ("/", "\\"):
        raise ValueError(path)
    return path


def _of_ref(folder: Path, name: str) -> Iterator[str]:
    loose = _text(folder / name).strip()
    if _COMMIT.fullmatch(loose):
        yield loose
    for line in _text(folder / "packed-refs", _PACKED).splitlines():
        commit, _, packed = line.partition(" ")
        if packed == name and _COMMIT.fullmatch(commit):
            yield commit


def _text(file: Path, limit: int = _LINE) -> str:
    """Return what a plain file holds, or nothing: no link is followed, and no pipe waited for."""
    with suppress(RequestError):
        return read_plain(file, limit, follow=False).decode("ascii", "replace")
    return ""
