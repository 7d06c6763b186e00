"""Failures that are answers: one line that says what is wrong, where, and what to do.

A message speaks Python. What the reader may change stands in backticks, as an argument or a
setting: `` `free_bits` `` or `` `objective='iwae'` ``, an option of a part as in a configuration
file, `` `likelihood.sigma='shared'` ``; what the reader may run, as a call of a public function,
`` `vaezoo.resume('runs/a')` ``. The command line prints its flags and commands instead.
"""

import difflib
from collections.abc import Iterable
from operator import index

__all__ = [
    "NonFiniteError",
    "RequestError",
    "RunError",
    "VaezooError",
    "nearest",
    "require_positive",
    "require_whole",
]


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
    except TypeError:
        raise RequestError(f"`{argument}` takes a whole number, not {value!r}") from None


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
