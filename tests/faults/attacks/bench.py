"""What attacks are made of: a process that is forked, watched, stopped at an event, and judged."""

import errno
import io
import os
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["CANARY", "Outcome", "Trap", "called", "count_events", "forked", "misbehaviour"]

LIMIT = 120.0  # seconds after which a command hangs; the slowest takes two on an idle machine
MOST_MEMORY = 4 * 2**30
LONGEST_LINE = 2000
CANARY = "executed"  # the name of the file that hostile code leaves, if it is run
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate")


@dataclass(frozen=True)
class Outcome:
    """How a process ended: its exit code (minus a signal's number), output, and what it took."""

    code: int
    out: str
    err: str
    hangs: bool
    memory: int

    @property
    def said(self) -> str:
        return (self.err.strip().splitlines() or [""])[-1]


def forked(work: Callable[[], object], limit: float = LIMIT) -> Outcome:
    """Run a function in a process of its own, as a command that the user calls."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads
            child = os.fork()
        if child == 0:
            _be_child(work, out.fileno(), err.fileno())
        status, hangs, memory = _wait(child, limit)
        texts = []
        for stream in (out, err):
            stream.seek(0)
            texts.append(stream.read().decode(errors="replace"))
    return Outcome(os.waitstatus_to_exitcode(status), *texts, hangs, memory)


def _be_child(work: Callable[[], object], out: int, err: int) -> None:
    code = 70
    try:
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(out, 1)
        os.dup2(err, 2)
        sys.stdin = io.StringIO()
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
        sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115
        warnings.resetwarnings()
        warnings.simplefilter("ignore")
        _bound_memory()
        work()
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 71
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(Exception):
                stream.flush()
        os._exit(code)


def _bound_memory() -> None:
    """Keep the machine alive when a command takes all the memory that there is."""
    import resource

    pages = int(Path("/proc/self/statm").read_text().split()[0])
    most = pages * os.sysconf("SC_PAGE_SIZE") + 2 * MOST_MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (most, resource.RLIM_INFINITY))


def _wait(child: int, limit: float) -> tuple[int, bool, int]:
    """Return the status of a child, whether it had to be ended, and the most memory it had."""
    ends, hangs = time.monotonic() + limit, False
    pause = 0.001
    while True:
        pid, status, usage = os.wait4(child, os.WNOHANG)
        if pid:
            return status, hangs, usage.ru_maxrss * 1024
        if time.monotonic() > ends and not hangs:
            os.kill(child, signal.SIGKILL)
            hangs = True
        time.sleep(pause)
        pause = min(0.02, 1.5 * pause)


def called(
    place: Path,
    *words: str | Path,
    before: Callable[[], object] = lambda: None,
    limit: float = LIMIT,
) -> Outcome:
    """Call the command line in a folder; ``before`` sets a trap or a limit in its process."""

    def work() -> None:
        from vaezoo.cli import main

        os.chdir(place)
        before()
        main(list(map(str, words)))

    return forked(work, limit)


@dataclass
class Trap:
    """Acts when a process is about to change a file below a folder for the n-th time.

    ======== =================================================================================
    kill     the process dies at once
    torn     half of what was written since the last flush reaches the disk, then it dies; else as
             kill
    int      Ctrl-C
    term     a termination signal
    full     the disk is full from here on
    none     only counts
    a call   is made, once
    ======== =================================================================================
    """

    folder: Path
    number: int
    act: str | Callable[[], object]
    seen: int = 0
    flushed: dict[int, int] = field(default_factory=dict)  # sizes on the disk, by inode

    def __call__(self) -> None:
        fsync = os.fsync
        there = [file.stat() for file in self.folder.rglob("*") if file.is_file()]
        self.flushed = {status.st_ino: status.st_size for status in there}

        def audit(event: str, args: tuple[Any, ...]) -> None:
            writes = event == "open" and isinstance(args[2], int) and bool(args[2] & WRITING)
            if (writes or event in CHANGES) and self._is_below(args[0]):
                self._happen(can_be_full=writes or event == "os.mkdir")

        def audited(descriptor: int) -> None:
            self._happen(can_be_full=True, descriptor=descriptor)
            fsync(descriptor)
            status = os.fstat(descriptor)
            self.flushed[status.st_ino] = status.st_size

        os.fsync = audited
        sys.addaudithook(audit)

    def _is_below(self, path: object) -> bool:
        if not isinstance(path, str | bytes | os.PathLike):
            return False
        return os.path.abspath(os.fsdecode(path)).startswith(str(self.folder))  # noqa: PTH100

    def _happen(self, *, can_be_full: bool, descriptor: int | None = None) -> None:
        self.seen += 1
        if self.act == "full" and self.seen >= self.number and can_be_full:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if self.seen != self.number or self.act in ("none", "full"):
            return
        if callable(self.act):
            self.act()
            return
        if self.act == "torn" and descriptor is not None:
            with suppress(OSError):
                status = os.fstat(descriptor)
                before = min(self.flushed.get(status.st_ino, 0), status.st_size)
                os.ftruncate(descriptor, before + (status.st_size - before) // 2)
        if self.act in ("kill", "torn"):
            os.kill(os.getpid(), signal.SIGKILL)
        signal.raise_signal(signal.SIGINT if self.act == "int" else signal.SIGTERM)


def count_events(place: Path, *words: str | Path) -> int:
    """Return how often a command changes files below its folder."""
    trap = Trap(place, 0, "none")
    note = place.with_name(f"{place.name}.count")

    def work() -> None:
        from vaezoo.cli import main

        os.chdir(place)
        trap()
        try:
            main(list(map(str, words)))
        finally:
            note.write_text(str(trap.seen))

    outcome = forked(work)
    if outcome.code:
        raise AssertionError(outcome.err)
    return int(note.read_text())


def misbehaviour(
    outcome: Outcome, *, codes: Sequence[int] = (0, 1, 2), reports: bool = False
) -> str:
    """Return what is bad about how a command ended, or ""; some report failures on their output.

    It may work, or fail with one line for a person: no traceback, no silence, no hang, no death,
    no other exit code, no control characters, no page of text, and no more memory than there is.
    """
    said = outcome.err.strip()
    if outcome.hangs:
        return f"hangs: {said[-200:]}"
    if outcome.code not in codes:
        return f"exit code {outcome.code}: {said[-300:]}"
    if "Traceback" in outcome.err or "(a bug: " in outcome.err:
        return f"traceback: {said[-300:]}"
    if outcome.code and not (outcome.said.startswith("vaezoo: ") or (reports and outcome.out)):
        return f"exit code {outcome.code} without a line: {said[-200:]!r}"
    if outcome.code and len(outcome.said) > LONGEST_LINE:
        return f"a line of {len(outcome.said)} characters: {outcome.said[:200]}"
    if any(ord(c) < 32 and c not in "\n\t\r" for c in outcome.err + outcome.out):
        return f"control characters: {said[-200:]!r}"
    if outcome.memory > MOST_MEMORY:
        return f"{outcome.memory / 2**30:.1f} GB of memory"
    return ""
