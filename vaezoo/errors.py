"""Failures that are answers: one line that says what is wrong, where, and what to do.

A message speaks Python. What the reader may change stands in backticks, as an argument or a
setting: `` `free_bits` `` or `` `objective='iwae'` ``, an option of a part as in a configuration
file, `` `likelihood.sigma='shared'` ``; what the reader may run, as a call of a public function,
`` `vaezoo.resume('runs/a')` ``. The command line prints its flags and commands instead.
"""

import difflib
import errno
import os
import shlex
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from operator import index

__all__ = [
    "NonFiniteError",
    "RequestError",
    "RunError",
    "VaezooError",
    "command",
    "is_out_of_memory",
    "nearest",
    "printable",
    "quoted",
    "reason_of",
    "refusing",
    "require_positive",
    "require_whole",
    "shown",
    "source_of",
    "words_of",
]

# Controls, marks that turn the direction of writing, halves of characters, ends of lines.
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
_OUT_OF_MEMORY = ("allocate memory", "out of memory", "not enough memory", "alloc_cpu")


class VaezooError(Exception):
    """A failure with a message for a person; ``exit_code`` is what the command line returns."""

    exit_code = 1


class RequestError(VaezooError):
    """The request is wrong: a name, an argument, a file or a shape. Nothing was started."""

    exit_code = 2


class RunError(VaezooError):
    """The work itself failed after it had started. What was done is kept."""


class NonFiniteError(RunError):
    """The loss or a gradient is NaN or infinite. The parameters are those before the step."""


def nearest(name: str, options: Iterable[str]) -> str:
    """Return the end of an error message: the closest of ``options``, or all of them.

    Examples
    --------
    >>> nearest("z_dims", ["z_dim", "hidden"])
    "did you mean 'z_dim'?"
    >>> nearest("q", ["hidden", "z_dim"])
    'choose from: hidden, z_dim'
    """
    names = sorted(set(options))
    lower = {option.lower(): option for option in names}
    close = [
        lower[match] for match in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.6)
    ]
    if close:
        return f"did you mean {' or '.join(repr(option) for option in close)}?"
    return f"choose from: {', '.join(names)}" if names else "there are none"


def require_whole(argument: str, value: int | None) -> None:
    """Refuse an argument that is no whole number; None stands for a default.

    Examples
    --------
    >>> require_whole("free_running", "3")
    Traceback (most recent call last):
    vaezoo.errors.RequestError: `free_running` takes a whole number, not '3'
    """
    try:
        index(0 if value is None else value)
    except Exception:  # whatever its class does when it is asked
        raise RequestError(f"`{argument}` takes a whole number, not {shown(value)}") from None


def require_positive(argument: str, value: int | None, unit: str) -> None:
    """Refuse an argument that is no number of units, or less than one; None asks for all.

    Examples
    --------
    >>> require_positive("limit", 0, "row")
    Traceback (most recent call last):
    vaezoo.errors.RequestError: `limit` takes at least one row, not 0
    """
    require_whole(argument, value)
    if value is not None and value < 1:
        raise RequestError(f"`{argument}` takes at least one {unit}, not {value}")


def printable(text: str, limit: int | None = None, keep: str = "") -> str:
    r"""Return a text that a terminal only shows: control characters are written as escapes.

    Parameters
    ----------
    text
        From a file, a name or an exception: whatever a stranger may have chosen.
    limit
        The most characters that are returned; the middle of a longer text is left out.
    keep
        Characters that stay as they are, as ends of lines where several are printed.

    Examples
    --------
    >>> printable("a\x1b[2Jb\n")
    'a\\x1b[2Jb\\n'
    >>> printable("x" * 100, limit=20)
    'xxxxxxxxx ... xxxxxx'
    """
    if limit is not None and len(text) > limit:
        ahead = max(0, (limit - 5) * 3 // 5)
        text = f"{text[:ahead]} ... {text[len(text) - (limit - 5 - ahead) :]}"
    if text.isprintable():
        return text
    return "".join(c if c in keep or not _is_invisible(c) else _escape(c) for c in text)


def _is_invisible(character: str) -> bool:
    return unicodedata.category(character) in _INVISIBLE


def _escape(character: str) -> str:
    return character.encode("unicode_escape", "backslashreplace").decode("ascii")


def reason_of(error: BaseException, limit: int = 300, *, whole: bool = False) -> str:
    """Return what an exception says, in one line that can be printed, whoever wrote its class.

    It is the first line of its message, or with ``whole`` all of them as one.

    Examples
    --------
    >>> reason_of(ValueError("bad \\x1b[31m magic\\nmore"))
    'ValueError: bad \\\\x1b[31m magic'
    >>> reason_of(PermissionError(13, "Permission denied", "a.npy"))
    'PermissionError: Permission denied'
    """
    # The name as the interpreter has it: a metaclass may answer for the attribute.
    name = type.__dict__["__name__"].__get__(type(error))
    lines = words_of(error).splitlines()
    words = " ".join(map(str.strip, lines if whole else lines[:1]))
    return printable(f"{name}: {words}" if words else name, limit)


def words_of(error: BaseException) -> str:
    """Return the message of an exception, also of one whose class fails to give it.

    Examples
    --------
    >>> words_of(PermissionError(13, "Permission denied", "a.npy")), words_of(KeyError("x"))
    ('Permission denied', "'x'")
    """
    try:
        text = str(error.strerror if isinstance(error, OSError) and error.strerror else error)
        text = "".join([text])  # no subclass of str, whose methods are its author's
    except KeyboardInterrupt:
        raise
    except BaseException:
        return "(its message cannot be read)"
    return text.strip()


def shown(value: object, limit: int = 100) -> str:
    """Return what a value looks like in a message, whoever wrote its class.

    Examples
    --------
    >>> shown("runs/a"), shown([1, 2])
    ("'runs/a'", '[1, 2]')
    """
    try:
        text = "".join([repr(value)])
    except KeyboardInterrupt:
        raise
    except BaseException:
        text = f"a {type.__dict__['__name__'].__get__(type(value))}"
    return printable(text, limit)


def source_of(value: object) -> str:
    r"""Return a value as Python writes it, for a setting or a call in backticks: it has none.

    Examples
    --------
    >>> source_of("runs/a`b")
    "'runs/a\\x60b'"
    """
    return repr(value).replace("`", "\\x60")


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that there is no memory left, torch's kinds included.

    Examples
    --------
    >>> is_out_of_memory(MemoryError()), is_out_of_memory(ValueError("no"))
    (True, False)
    """
    if isinstance(error, MemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    words = words_of(error).lower()
    return isinstance(error, RuntimeError) and any(part in words for part in _OUT_OF_MEMORY)


@contextmanager
def refusing(what: str, remedy: str = "") -> Iterator[None]:
    """Turn whatever is raised where something foreign is read, or run, into a refusal.

    It stands around the reading of arrays, tables, pictures, settings and states, and around code
    of the user, which raise what they like: a list of exceptions is never complete. An interrupt
    passes, and what is a :class:`VaezooError` already. A generator does not yield in it: its end,
    which is an exception, would be refused.

    Parameters
    ----------
    what
        The start of the message: what could not be done, and with which file or value.
    remedy
        The end of the message: what to do.

    Raises
    ------
    RequestError
        ``what``, and the reason.
    RunError
        The same, when memory was not enough.

    Examples
    --------
    >>> with refusing("cannot read 'a.json'"):
    ...     {}["format"]
    Traceback (most recent call last):
    vaezoo.errors.RequestError: cannot read 'a.json': KeyError: 'format'
    """
    end = f"; {remedy}" if remedy else ""
    try:
        yield
    except (VaezooError, KeyboardInterrupt):
        raise
    except BaseException as error:
        if is_out_of_memory(error):
            raise RunError(f"{what}: out of memory") from error
        raise RequestError(f"{what}: {reason_of(error)}{end}") from error


def command(*words: object) -> str:
    """Return a command of vaezoo that can be pasted into a shell, whatever its paths look like.

    Examples
    --------
    >>> command("sample", "runs/my run", "-n", 3)
    "vaezoo sample 'runs/my run' -n 3"
    """
    return " ".join(["vaezoo", *map(quoted, words)])


def quoted(word: object) -> str:
    """Return a word as a person types it in a shell.

    Examples
    --------
    >>> quoted("a b"), quoted("runs/a")
    ("'a b'", 'runs/a')
    """
    text = str(word)
    if isinstance(word, os.PathLike) and text.startswith("-"):
        text = f".{os.sep}{text}"
    if os.name == "nt":  # a name there holds no double quote
        plain = text.replace("\\", "/")
        return text if shlex.quote(plain) == plain else f'"{text}"'
    if not any(map(_is_invisible, text)):
        return shlex.quote(text)
    escaped = "".join(_octal(c) if _is_invisible(c) or c in "'\\" else c for c in text)
    return f"$'{escaped}'"


def _octal(character: str) -> str:
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))
