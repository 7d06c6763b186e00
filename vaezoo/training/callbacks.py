"""What is told how training goes."""

from collections.abc import Mapping
from typing import Any

from vaezoo.errors import RequestError
from vaezoo.runs import Run

__all__ = ["Callback", "FinishedError", "Interrupted"]


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C or a termination signal, and its state is saved.

    One that came when the last step was taken stops what was to come after: the run has finished.
    """

    def __init__(self, run: Run, step: int) -> None:
        super().__init__(f"stopped at step {step}")
        self.run = run
        self.step = step


class FinishedError(RequestError):
    """A run has nothing left to train."""


class Callback:
    """Is told how training goes. Every method may be left as it is."""

    def on_prepare(self, run: Run) -> None:
        """What was asked for can be trained; the first steps are prepared."""

    def on_start(self, run: Run, num_steps: int, first_step: int) -> None:
        """Training begins."""

    def on_step(self, step: int, loss: float) -> None:
        """A step was taken; ``loss`` in nats per datum."""

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        """An epoch ended; ``record`` is its line of ``metrics.jsonl``."""

    def on_warning(self, message: str) -> None:
        """Something deserves attention."""

    def on_end(self, run: Run) -> None:
        """Training ended: finished, stopped, or failed."""
