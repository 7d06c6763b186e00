"""What is optional never fails: it is left out, with a line that says what and why."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from vaezoo.errors import NonFiniteError, RunError, VaezooError

__all__ = ["attempt", "reason_of"]


@contextmanager
def attempt(what: str, notify: Callable[[str], object]) -> Iterator[None]:
    """Do something that may be left out: a failure becomes one line.

    A full disk and Ctrl-C are no reasons to go on, and pass.

    Parameters
    ----------
    what
        What is left out, as ``"figures/samples.png"``.
    notify
        Is told the line.

    Raises
    ------
    RunError
        When a file cannot be written.

    Examples
    --------
    >>> with attempt("figures/samples.png", print):
    ...     raise ValueError("volumes cannot be drawn")
    left out: figures/samples.png: ValueError: volumes cannot be drawn
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, RunError) and not isinstance(error, NonFiniteError):
            raise
        notify(f"left out: {what}: {reason_of(error)}")


def reason_of(error: Exception) -> str:
    """Return why something failed in one line: a refusal in its words, a bug with its type.

    Examples
    --------
    >>> from vaezoo.errors import RequestError
    >>> reason_of(RequestError("no latents")), reason_of(KeyError("z"))
    ('no latents', "KeyError: 'z'")
    """
    if isinstance(error, VaezooError):
        return str(error)
    lines = str(error).splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
