"""How much memory is free, and what is kept of what tensors gave back."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path

from vaezoo.errors import RequestError

__all__ = ["free_memory", "keep_freed_memory", "require_memory"]

_GB = 1e9
# Where groups of processes have their limit, and what of it is taken, in both kinds of groups.
_GROUPS = {
    "": [(Path("/sys/fs/cgroup"), "memory.max", "anon")],
    "memory": [(Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "total_rss")],
}

# Names of mallopt of the C library of Linux, and how it is told the same from outside.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_TOLD = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")
KEPT, LARGEST_KEPT = 2**27, 2**25  # bytes; of no larger block is it taken


def require_memory(size: int, what: str, way_out: str) -> None:
    """Refuse what would take more memory than there is.

    Parameters
    ----------
    size
        In bytes.
    what
        Which takes it.
    way_out
        What to do instead.

    Raises
    ------
    RequestError
        When there is less.

    Examples
    --------
    >>> try:
    ...     require_memory(10**15, "'x.npz'", "use fewer rows")
    ... except RequestError as error:
    ...     print(str(error).partition(",")[0])
    'x.npz' takes 1000000.0 GB of memory
    """
    free = free_memory()
    if free is not None and size > free:
        raise RequestError(
            f"{what} takes {size / _GB:.1f} GB of memory, and {free / _GB:.1f} GB are free; "
            f"{way_out}"
        )


@cache
def keep_freed_memory() -> None:
    """Have this process keep up to 128 MB of the memory that it frees, for what it takes next.

    A decoder makes tensors of megabytes in every call. By default Linux takes each of them back as
    soon as it is free, and clears it for the next call, page by page: a third of the time of an
    importance-weighted bound. It is for commands that do no more than evaluate: what lies where
    changes, too, and steps of training may be slower by that. Nothing changes on other systems, or
    where the environment says what to do.
    """
    if sys.platform != "linux" or any(name in os.environ for name in _TOLD):
        return
    with suppress(OSError, AttributeError):  # another C library has no such function
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_TRIM_THRESHOLD, KEPT)
        mallopt(_MMAP_THRESHOLD, LARGEST_KEPT)


def free_memory() -> int | None:
    """Return the bytes of memory that this process can still take; None where nobody tells."""
    return min(_limits(), default=None)


def _limits() -> Iterator[int]:
    if sys.platform == "linux":
        for limit in (_of_machine, _of_group, _of_address_space):
            with suppress(OSError, ValueError, LookupError, ImportError):
                yield max(0, limit())
    elif sys.platform == "win32":
        yield _of_windows()
    else:
        with suppress(OSError, ValueError):
            yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _of_machine() -> int:
    fields = dict(line.split(":", 1) for line in _text(Path("/proc/meminfo")).splitlines())
    return int(fields["MemAvailable"].split()[0]) * 1024


def _of_group() -> int:
    """Return what a container, or a batch system, leaves; pages of files make room when asked."""
    for line in Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines():
        _, controllers, path = line.split(":", 2)
        for root, limit, field in _GROUPS.get(controllers, ()):
            for folder in (root / path.lstrip("/"), root):
                if (folder / limit).is_file():
                    return int(_text(folder / limit)) - _field(folder / "memory.stat", field)
    raise LookupError("in no group")


def _text(file: Path) -> str:
    return file.read_text(encoding="ascii")


def _field(file: Path, name: str) -> int:
    return int(dict(line.split() for line in _text(file).splitlines())[name])


def _of_address_space() -> int:
    """Return what ``ulimit -v`` leaves."""
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        raise ValueError("no limit")
    pages = int(_text(Path("/proc/self/statm")).split()[0])
    return limit - pages * resource.getpagesize()


def _of_windows() -> int:
    class Status(ctypes.Structure):
        _fields_ = (
            ("length", ctypes.c_ulong),
            ("load", ctypes.c_ulong),
            *((name, ctypes.c_ulonglong) for name in "abcdefg"),
        )

    status = Status(length=ctypes.sizeof(Status))
    ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status))  # type: ignore[attr-defined,unused-ignore]
    return int(status.b)
