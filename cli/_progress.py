"""How training is shown: a bar on a terminal, plain lines elsewhere, TensorBoard on request."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

from vaezoo.cli._flags import in_flags
from vaezoo.cli._streams import LONGEST, echo
from vaezoo.data.transform import describe_transform
from vaezoo.errors import RequestError, RunError, printable
from vaezoo.observations.roles import describe_arguments
from vaezoo.pairs.sites import argument_names
from vaezoo.runs import Run
from vaezoo.runs.summary import headline
from vaezoo.runtime.storage import inside
from vaezoo.training.callbacks import Callback

__all__ = ["Reading", "make_callbacks", "rows_bar", "steps_bar"]

_SECONDS_BETWEEN_LINES, _MOST_SECONDS_BETWEEN_LINES = 2.0, 5.0
_SECONDS_IN_SILENCE = 1.0
_STEPS_TO_ESTIMATE, _SECONDS_TO_ESTIMATE, _SECONDS_WORTH_A_WORD = 20, 10.0, 60.0
SPLITS = ("train", "validation")
TERMS = ("elbo", "recon", "kl", "reconstruction", "penalty")


def make_callbacks(*, quiet: bool, tensorboard: bool, resumes: bool = False) -> list[Callback]:
    """Return what shows training here; what a resumed run has lost is said in any case."""
    callbacks: list[Callback] = []
    if not quiet:
        callbacks.append(Bar() if sys.stderr.isatty() else Lines())
    elif resumes:
        callbacks.append(Reopening())
    if tensorboard:
        callbacks.append(TensorBoard())
    return callbacks


def _summary(record: Mapping[str, Any]) -> str:
    (name, train), (_, validation) = (headline(record[split]) for split in SPLITS)
    return f"{name} train {train:.2f} validation {validation:.2f}{_kl(record)}"


def _kl(record: Mapping[str, Any]) -> str:
    values = record["validation"]
    return f"  KL {values['kl']:.2f}" if "kl" in values else ""


def _read(run: Run) -> list[str]:
    """Return what was decided when the data were read, and what becomes of each argument."""
    data = run.find_data()
    columns = {n: (c,) if isinstance(c, str) else c for n, c in run.data.columns.items()}
    names = argument_names(run.pair)
    line = describe_arguments(run.roles, data.arrays, names, {"x": data.columns, **columns})
    notes = [*data.notes, describe_transform(run.transform)]
    return [*(f"data: {in_flags(note)}" for note in notes if note), f"arguments: {line}"]


def in_minutes(seconds: float) -> str:
    """Return a duration in the unit that it is best told in.

    Examples
    --------
    >>> in_minutes(7.2), in_minutes(500), in_minutes(20_000)
    ('7 s', '8 min', '5.6 h')
    """
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"


class Lines(Callback):
    """A line for epochs every two seconds at most, and for steps if there was none for five.

    After twenty steps, or ten seconds, the whole time is told, when it is above a minute.
    """

    def __init__(self) -> None:
        self.last_epoch = self.last = -1e9
        self.total = 0
        self.began: tuple[int, float] | None = None
        self.has_estimated = False

    def on_prepare(self, run: Run) -> None:
        echo(f"preparing {run.name} on {_where(run)}", err=True)

    def on_start(self, run: Run, num_steps: int, first_step: int) -> None:
        self.total = num_steps
        self.last = time.monotonic()
        echo(f"training {run.name} on {_where(run)}: {num_steps} steps", err=True)
        if first_step == 0:
            for line in _read(run):
                echo(line, err=True, limit=LONGEST)

    def on_step(self, step: int, loss: float) -> None:
        now = time.monotonic()
        if self.began is None:  # by the second step; the first one is captured, perhaps
            self.began = (step, now)
            return
        first, then = self.began
        left = (now - then) / (step - first) * (self.total - step)
        is_enough = step - first >= _STEPS_TO_ESTIMATE or now - then > _SECONDS_TO_ESTIMATE
        if is_enough and not self.has_estimated and left > _SECONDS_WORTH_A_WORD:
            echo(f"{self.total} steps take about {in_minutes(now - then + left)}", err=True)
        self.has_estimated |= is_enough
        if now - self.last > _MOST_SECONDS_BETWEEN_LINES:
            self.last = now
            echo(
                f"step {step:>6} of {self.total}  loss {loss:.2f}  {in_minutes(left)} left",
                err=True,
            )

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if now - self.last_epoch < _SECONDS_BETWEEN_LINES and record["step"] < self.total:
            return
        self.last_epoch = self.last = now
        echo(
            f"epoch {record['epoch']:>4}  step {record['step']:>6}  {_summary(record)}  "
            f"{record['seconds']:.0f} s",
            err=True,
        )

    def on_warning(self, message: str) -> None:
        echo(f"warning: {in_flags(message)}", err=True, limit=LONGEST)


class Reading(Callback):
    """A line while data are read and a pair is checked on them, where that takes a second.

    A refusal that comes at once stays the only line.

    Parameters
    ----------
    what
        The line.
    seconds
        After which it is printed.
    """

    def __init__(self, what: str, seconds: float = _SECONDS_IN_SILENCE) -> None:
        self.timer = threading.Timer(seconds, partial(echo, what, err=True))
        self.timer.daemon = True

    def __enter__(self) -> "Reading":
        self.timer.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.timer.cancel()

    def on_prepare(self, run: Run) -> None:
        self.timer.cancel()


class Reopening(Callback):
    """What is said before training goes on: of records that are lost, or of what begins again."""

    def __init__(self) -> None:
        self.has_begun = False

    def on_start(self, run: Run, num_steps: int, first_step: int) -> None:
        self.has_begun = True

    def on_warning(self, message: str) -> None:
        if not self.has_begun:
            echo(f"warning: {in_flags(message)}", err=True, limit=LONGEST)


class Bar(Callback):
    """A progress bar with the latest numbers."""

    def __init__(self) -> None:
        self.console = Console(stderr=True)
        self.bar = Progress(
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeRemainingColumn(compact=True),
            TextColumn("{task.description}", markup=False),
            console=self.console,
            transient=True,
        )

    def on_prepare(self, run: Run) -> None:
        self._print(f"preparing {run.name} on {_where(run)}")

    def on_start(self, run: Run, num_steps: int, first_step: int) -> None:
        self._print(f"training {run.name} on {_where(run)}")
        if first_step == 0:
            for line in _read(run):
                self._print(line)
        self.task = self.bar.add_task("epoch 1", total=num_steps, completed=first_step)
        self.bar.start()

    def _print(self, text: str) -> None:
        self.console.print(printable(text, LONGEST), highlight=False, markup=False)

    def on_step(self, step: int, loss: float) -> None:
        self.bar.update(self.task, completed=step)

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        name, value = headline(record["validation"])
        self.bar.update(
            self.task, description=f"epoch {record['epoch']}  {name} {value:.2f}{_kl(record)}"
        )

    def on_warning(self, message: str) -> None:
        self._print(f"warning: {in_flags(message)}")

    def on_end(self, run: Run) -> None:
        self.bar.stop()


@contextmanager
def rows_bar() -> Iterator[Callable[[int, int], None] | None]:
    """Yield what shows how many rows are done: a bar on a terminal, nothing elsewhere."""
    with _bar(TimeRemainingColumn(compact=True)) as update:
        yield update and (lambda done, total: update(completed=done, total=total))


@contextmanager
def steps_bar() -> Iterator[Callable[[str, int, int], None] | None]:
    """Yield what shows which step is under way: a bar on a terminal, nothing elsewhere."""
    with _bar(TextColumn("{task.description}", markup=False)) as update:
        yield update and (
            lambda name, done, total: update(completed=done, total=total, description=name)
        )


@contextmanager
def _bar(last: ProgressColumn) -> Iterator[Callable[..., None] | None]:
    if not sys.stderr.isatty():
        yield None
        return
    columns = (BarColumn(bar_width=20), MofNCompleteColumn(), last)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield partial(bar.update, bar.add_task("", total=None))


class TensorBoard(Callback):
    """Writes the records of epochs as TensorBoard events into the run folder."""

    def __init__(self) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise RequestError(
                "--tensorboard needs one more package: pip install 'vaezoo[board]'"
            ) from error
        self.make: Any = SummaryWriter
        self.writer: Any = None

    def on_start(self, run: Run, num_steps: int, first_step: int) -> None:
        folder = inside(run.folder(), "tensorboard/events").parent
        if links := [file for file in folder.iterdir() if file.is_symlink()]:
            raise RunError(f"cannot write {folder}: {links[0]} is a link; remove it")
        self.writer = self.make(str(folder))

    def on_epoch(self, record: Mapping[str, Any]) -> None:
        for split in SPLITS:
            for name in [name for name in TERMS if name in record[split]]:
                self.writer.add_scalar(f"{name}/{split}", record[split][name], record["step"])
        for name in ("beta", "lr"):
            self.writer.add_scalar(name, record[name], record["step"])

    def on_end(self, run: Run) -> None:
        if self.writer is not None:
            self.writer.close()


def _where(run: Run) -> str:
    """Return where a run is trained, as ``cuda`` or ``cpu, by 2 processes``."""
    number = run.info.get("processes", 1)
    return f"{run.device}, by {number} processes" if number > 1 else str(run.device)
