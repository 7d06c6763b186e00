"""Limits of files, of sizes and memory, and outputs that are closed: one line, nothing lost."""

import os
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attacks.bench import called, misbehaviour
from attacks.deaths import goes_on
from attacks.home import RESUME, TRAIN, copied
from attacks.table import Attack

__all__ = ["attacks"]

COMMANDS = (
    TRAIN,
    RESUME,
    ("sample", "run", "-o", "out.npz"),
    ("encode", "run", "-o", "out.nc"),
    ("evaluate", "run", "--json"),
    ("data", "show", "x.npy"),
    ("reconstruct", "run", "-o", "out.png"),
)
SIZES = (600, 900, 1500, 2000, 3000, 4000, 6000, 10000, 20000, 40000)  # the lines fit into any
FILES = (*range(3, 13), 15, 20)
MEGABYTES = (0, 1, 2, 4, 8, 16, 32, 64)


def attacks(home: Path) -> Iterator[Attack]:
    """Yield every command under every limit."""
    for words in COMMANDS:
        name = " ".join(words[:2])
        for size in SIZES:
            set_limit = partial(_limit, "RLIMIT_FSIZE", size)
            attempt = partial(_called, home, words, set_limit)
            yield Attack("files of limited size", f"{name}, {size} bytes", attempt)
        for number in FILES:
            attempt = partial(_called, home, words, partial(_limit, "RLIMIT_NOFILE", number))
            yield Attack("open files limited", f"{name}, {number} files", attempt)
        for number in MEGABYTES:
            attempt = partial(_called, home, words, partial(_limit_memory, number))
            yield Attack("memory limited", f"{name}, {number} MB", attempt)
        for closed in (0, 1, 2):
            attempt = partial(_called, home, words, partial(os.close, closed), closed=closed)
            yield Attack("output closed", f"{name}, {closed}", attempt)
        attempt = partial(_called, home, words, _full_output, closed=1)
        yield Attack("output closed", f"{name}, a full disk", attempt)
        attempt = partial(_called, home, words, _broken_pipe, closed=1)
        yield Attack("output closed", f"{name}, a broken pipe", attempt)


def _limit(name: str, value: int) -> None:
    import resource

    resource.setrlimit(getattr(resource, name), (value, value))


def _limit_memory(megabytes: int) -> None:
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + megabytes * 2**20
    resource.setrlimit(resource.RLIMIT_AS, (most, most))


def _full_output() -> None:
    os.dup2(os.open("/dev/full", os.O_WRONLY), 1)


def _broken_pipe() -> None:
    reader, writer = os.pipe()
    os.dup2(writer, 1)
    os.close(reader)


def _called(
    home: Path,
    words: tuple[str, ...],
    limit: Callable[[], object],
    place: Path,
    closed: int | None = None,
) -> str:
    copied(home, place, "x.npy", *(["run"] if "--out" not in words else []))
    outcome = called(place, *words, before=limit)
    codes = (0, 1, 2, 141) if closed is not None else (0, 1, 2)
    if closed == 2 or (closed == 1 and outcome.code in (0, 141)):
        bad = f"exit code {outcome.code}" if outcome.code not in codes else ""
        bad = bad or ("traceback" if "Traceback" in outcome.err else "")
        bad = bad or ("hangs" if outcome.hangs else "")
    else:
        bad = misbehaviour(outcome, codes=codes)
    if bad or words != TRAIN:
        return bad
    return goes_on(place, RESUME, home / "run")
