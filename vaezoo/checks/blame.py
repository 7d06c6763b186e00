"""Which line of the user's file something comes from."""

import contextlib
import inspect
import re
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import pyro
import torch

from vaezoo.errors import printable, words_of

__all__ = [
    "calling_line",
    "class_of",
    "line_of",
    "line_that_sets",
    "location",
    "one_line",
    "raised_at",
    "repair_of",
]

_OWN = tuple(str(path) for path in Path(__file__).parents[1].iterdir() if path.name != "models")
_FORMS = ("vaezoo.sequences.paths", "vaezoo.sequences.missing", "vaezoo.observations.missing")
_DTYPES = re.compile(r"\b(?:float(?:32|64)?|double|half|bfloat16|long|int)\b", re.IGNORECASE)
_LIBRARIES = (*pyro.__path__, *torch.__path__, contextlib.__file__, *_OWN)


def is_library(file: str) -> bool:
    """Whether a file is of torch, of pyro or of vaezoo's library (models are not)."""
    return file.startswith(_LIBRARIES) or file.startswith("<")


def location(file: str, line: int) -> str:
    """Return ``file:line``, the path relative to the working folder when it lies below it.

    Examples
    --------
    >>> location(str(Path.cwd() / "my_vae.py"), 41)
    'my_vae.py:41'
    """
    path = Path(file)
    near = path.is_relative_to(Path.cwd())
    return f"{path.relative_to(Path.cwd()) if near else path}:{line}"


def calling_line(file: str = "", *, below: CodeType | None = None) -> str:
    """Return the innermost line outside the libraries that led here, in a file if it has any.

    Only what was called by the function of ``below`` counts. It is empty when there is none.
    """
    nearest = ""
    frame: FrameType | None = sys._getframe(1)
    while frame and frame.f_code is not below:
        name = frame.f_code.co_filename
        if name == file:
            return location(name, frame.f_lineno)
        if not nearest and not is_library(name):
            nearest = location(name, frame.f_lineno)
        frame = frame.f_back
    return nearest


def class_of(pair: torch.nn.Module) -> type:
    """Return the class that the author wrote: of a pair in another form, that of the pair in it.

    Examples
    --------
    >>> class_of(torch.nn.Linear(2, 2)).__name__
    'Linear'
    """
    if type(pair) is torch.nn.ModuleDict:  # with what an objective owns
        pair = pair["pair"]
    while type(pair).__module__.startswith(_FORMS) and isinstance(pair.pair, torch.nn.Module):
        pair = pair.pair
    return type(pair)


def line_of(function: Any, *, full: bool = False) -> str:
    """Return file and line of a function or class, the path relative unless ``full``.

    Examples
    --------
    >>> line_of(print)  # has no source
    'print'
    """
    try:
        _, line = inspect.getsourcelines(function)
        file = inspect.getfile(function)
        return f"{file}:{line}" if full else location(file, line)
    except (OSError, TypeError):
        return str(getattr(function, "__qualname__", function))


def line_that_sets(cls: type, attribute: str, *, after_init: bool = False) -> str:
    """Return the line of a class that sets ``self.<attribute>``, or else that of the class.

    With ``after_init`` lines of ``__init__`` are passed over, and calls that change the attribute
    in place, as ``self.seen.append(x)``, count.
    """
    with contextlib.suppress(OSError, TypeError):
        lines, start = inspect.getsourcelines(cls)
        ending = r"\b.*[=(]" if after_init else r"\b.*="
        pattern = re.compile(rf"self\.{re.escape(attribute)}{ending}")
        numbers = [n for n, line in enumerate(lines, start) if attribute and pattern.search(line)]
        if after_init:
            body, first = inspect.getsourcelines(inspect.getattr_static(cls, "__init__"))
            later = [n for n in numbers if not first <= n < first + len(body)]
            numbers = later or numbers
        if numbers:
            return location(inspect.getfile(cls), numbers[0])
    return line_of(cls)


def raised_at(error: BaseException, cls: type) -> str:
    """Return where an exception left the user's code, that of a class first; or else its line."""
    if isinstance(error.__cause__, StopIteration):  # through a plate, as another exception
        error = error.__cause__
    return _innermost(list(traceback.extract_tb(error.__traceback__)), cls)


def _innermost(frames: Sequence[traceback.FrameSummary], cls: type) -> str:
    file = line_of(cls, full=True).rpartition(":")[0]
    own = [frame for frame in frames if not is_library(frame.filename)]
    here = [frame for frame in own if frame.filename == file] or own
    return location(here[-1].filename, here[-1].lineno or 0) if here else line_of(cls)


def one_line(error: BaseException) -> str:
    """Return kind and message of an exception, without the shapes that pyro appends.

    Examples
    --------
    >>> one_line(ValueError("expected (3,) but got (2,).  Trace Shapes: ..."))
    'ValueError: expected (3,) but got (2,)'
    """
    message = " ".join(words_of(error).partition("Trace Shapes:")[0].split())
    return printable(f"{type(error).__name__}: {message[:160].rstrip(' :;.')}")


def repair_of(error: BaseException) -> str:
    """Return what to do about an exception of a pair, where its words say what was wrong.

    Examples
    --------
    >>> repair_of(RuntimeError("mat1 and mat2 must have the same dtype, but got Float and Double"))
    'data are float32: begin model and guide with x = x.double(), or leave out .double()'
    >>> repair_of(ValueError("no"))
    'correct this line'
    """
    dtypes = {word.lower() for word in _DTYPES.findall(words_of(error))}
    if dtypes in ({"float", "double"}, {"float32", "float64"}):
        return "data are float32: begin model and guide with x = x.double(), or leave out .double()"
    return "correct this line"
