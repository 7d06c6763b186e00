"""The boundary: whatever a stranger's file raises or is called becomes one line."""

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from vaezoo.errors import (
    RequestError,
    RunError,
    command,
    is_out_of_memory,
    printable,
    reason_of,
    refusing,
)


class SilentError(Exception):
    """One whose text cannot be read."""

    def __str__(self) -> str:
        raise SystemExit(5)


class LyingText(str):
    """A text whose methods are its author's."""

    def __str__(self) -> str:
        return "\x1b[2J"

    def strip(self, *_: object) -> str:
        raise SystemExit(6)


class LyingError(Exception):
    def __str__(self) -> str:
        return LyingText("what it says")


class Nameless(type):
    """The type of a class whose name cannot be read."""

    @property
    def __name__(cls) -> str:
        raise SystemExit(7)


class NamelessError(Exception, metaclass=Nameless):
    pass


RAISED = [
    ValueError("no"),
    KeyError("format"),
    RecursionError("too deep"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    OverflowError(34, "Numerical result out of range"),
    PermissionError(13, "Permission denied", "a.npy"),
    SystemExit(5),
    GeneratorExit(),
    StopIteration(3),
    SilentError(),
    LyingError(),
    NamelessError("hidden"),
    BaseException("base"),
    BaseExceptionGroup("several", [SystemExit(1)]),
    type("\x1b[2J", (Exception,), {})("named"),
    Exception("x" * 100_000),
    Exception("\n\n"),
]


@pytest.mark.parametrize("error", RAISED, ids=range(len(RAISED)))
def test_whatever_is_raised_becomes_a_refusal_of_one_printable_line(error: BaseException) -> None:
    with pytest.raises(RequestError) as caught, refusing("cannot read 'a.npy'"):
        raise error
    message = str(caught.value)
    assert message.startswith("cannot read 'a.npy': ")
    assert message.isprintable()
    assert len(message) < 350
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), RunError("disk"), RequestError("shape")])
def test_what_is_an_answer_already_passes_the_boundary(error: BaseException) -> None:
    with pytest.raises(type(error)) as caught, refusing("cannot read 'a.npy'"):
        raise error
    assert caught.value is error


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:121] err == 0. DefaultCPUAllocator: "
            "can't allocate memory: you tried to allocate 8000000000000 bytes"
        ),
        RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"),
    ],
)
def test_no_memory_left_is_a_failure_of_the_work(error: Exception) -> None:
    with pytest.raises(RunError, match=r"'a.npy'.*out of memory"), refusing("cannot read 'a.npy'"):
        raise error


def test_torch_says_that_memory_is_out() -> None:
    import torch

    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_the_words_of_an_exception_are_its_own_not_those_of_a_subclass_of_str() -> None:
    assert reason_of(LyingError()) == "LyingError: what it says"
    assert reason_of(SilentError()) == "SilentError: (its message cannot be read)"


@pytest.mark.parametrize("code", [*range(32), 0x7F, 0x9B, 0x202E, 0x2028, 0xDC80, 0x200B])
def test_a_control_character_is_shown_not_sent(code: int) -> None:
    assert printable(f"a{chr(code)}b").isprintable()


def test_writing_of_all_peoples_stays_as_it_is() -> None:
    words = "größe 大きさ размер µ ± ✓"
    assert printable(words) == words
    assert printable("a\nb", keep="\n") == "a\nb"


@pytest.mark.parametrize("length", [0, 10, 19, 20, 21, 1000])
def test_a_long_text_is_capped(length: int) -> None:
    assert len(printable("x" * length, limit=20)) == min(length, 20)


NAMES = ["a b", "it's", '"', "$(touch x)", "`touch x`", "a;b", "~", "*", "a\\b", "é", "#", "", "!x"]


@pytest.mark.parametrize("name", NAMES)
def test_a_printed_command_is_read_back_as_the_same_words(name: str) -> None:
    assert shlex.split(command("sample", name, "-n", 3)) == ["vaezoo", "sample", name, "-n", "3"]


@pytest.mark.skipif(sys.platform == "win32", reason="names without controls, another shell")
@pytest.mark.parametrize("name", [*NAMES, "\x1b[2J", "a\nb", "\x1b'\\x", "a\udcffb"])
def test_a_shell_reads_the_same_name(name: str) -> None:
    printed = command(name)
    assert printed.isprintable()
    script = printed.replace("vaezoo", "printf %s", 1)
    shown = subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout
    assert shown == name.encode("utf-8", "surrogateescape")


def test_a_path_is_no_flag() -> None:
    assert shlex.split(command("sample", Path("-o")))[-1] != "-o"
