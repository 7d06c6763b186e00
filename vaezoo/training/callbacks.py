"""What is told how training goes."""

import sys
import time
from collections.abc import Mapping
from importlib import import_module
from typing import Any

from vaezoo.errors import RequestError
from vaezoo.markup import as_html
from vaezoo.runs import Run
from vaezoo.runs.summary import headline

__all__ = ["Callback", "FinishedError", "Interrupted", "ProgressBar"]


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


class ProgressBar(Callback):
    """Shows how training goes where Python runs: in a notebook a bar, elsewhere lines on stderr.

    In a notebook it is one output that is replaced, so that a training of any length leaves one
    line behind; it needs no widgets.

    Parameters
    ----------
    seconds
        At least so long between two updates, in a notebook; ten times as long between two lines.

    Examples
    --------
    >>> import vaezoo
    >>> bar = vaezoo.ProgressBar()
    >>> run = vaezoo.fit("vae-linear", training={"steps": 30}, callbacks=[bar])
    >>> bar.text.partition(", ")[0]
    'step 30 of 30'
    """

    def __init__(self, seconds: float = 0.5) -> None:
        self.seconds = seconds
        self.step = self.total = 0
        self.name = self.score = ""
        self.began = self.last = 0.0
        self.output: Any = None

    def on_start(self, run: Run, num_steps: int, first_step: int) -> None:
        self.name, self.total, self.step = run.name, num_steps, first_step
        self.first, self.score, self.began = first_step, "", time.monotonic()
        self.output = _notebook_output()
        self._show()

    def on_step(self, step: int, loss: float) -> None:
        self.step = step
        if time.monotonic() - self.last > self.seconds * (1 if self.output else 10):
            self._show()

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        name, value = headline(record["validation"])
        self.score = f", epoch {record['epoch']}, validation {name} {value:.2f}"

    def on_warning(self, message: str) -> None:
        print(f"warning: {message}", file=sys.stderr)

    def on_end(self, run: Run) -> None:
        self._show()

    @property
    def text(self) -> str:
        """The line that it shows."""
        spent = time.monotonic() - self.began
        steps = self.step - self.first
        left = spent / steps * (self.total - self.step) if steps else 0.0
        time_left = f", about {left:.0f} s left" if left >= 1 else ""
        return f"step {self.step} of {self.total}{self.score}, {spent:.0f} s{time_left}"

    def _show(self) -> None:
        self.last = time.monotonic()
        if self.output is None:
            print(f"{self.name}: {self.text}", file=sys.stderr)
            return
        bar = f'<progress value="{self.step}" max="{self.total}"></progress>'
        content = {"text/html": f"{bar} {as_html(self.name)}: {as_html(self.text)}"}
        self.output.update({**content, "text/plain": f"{self.name}: {self.text}"}, raw=True)


def _notebook_output() -> Any:
    """Return an output of a notebook that can be replaced; None where there is no notebook."""
    ipython = sys.modules.get("IPython")  # it is there where a notebook is
    shell = ipython.get_ipython() if ipython else None
    if shell is None or not hasattr(shell, "kernel"):
        return None
    display: Any = import_module("IPython.display").display
    return display({"text/plain": ""}, raw=True, display_id=True)
