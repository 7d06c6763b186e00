"""Signals that ask training, or a whole command, to stop."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

__all__ = ["asked_to_stop", "termination_interrupts"]


@contextmanager
def asked_to_stop() -> Iterator[Callable[[], bool]]:
    """Yield what says whether Ctrl-C or a termination signal came; a second one stops at once."""
    came = False

    def request(number: int, frame: object) -> None:
        nonlocal came
        if came:
            raise KeyboardInterrupt
        came = True

    is_main = threading.current_thread() is threading.main_thread()
    numbers = [signal.SIGINT, signal.SIGTERM] if is_main else []
    before = [signal.signal(number, request) for number in numbers]
    try:
        yield lambda: came
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def termination_interrupts() -> Iterator[None]:
    """Let a termination signal do what Ctrl-C does, unless somebody has decided otherwise.

    A process that it ends at once leaves what it was writing, and says nothing.

    Examples
    --------
    >>> with termination_interrupts():
    ...     try:
    ...         signal.raise_signal(signal.SIGTERM)
    ...     except KeyboardInterrupt:
    ...         print("stopped")
    stopped
    """
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
