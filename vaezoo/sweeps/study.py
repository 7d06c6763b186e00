"""The trials of a sweep in one file, which processes of one machine or many share.

The file is Optuna's journal, to which each process appends; no database, no server. Who works on a
sweep holds a lock, which ends with its process: trials of those that were killed are tried again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from vaezoo.errors import RequestError, refusing
from vaezoo.runtime.locks import owner_of, take
from vaezoo.sweeps.space import Dimension

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

__all__ = [
    "JOURNAL",
    "counted",
    "give_up",
    "mend",
    "next_trial",
    "open_study",
    "reclaim",
    "working",
]

JOURNAL, WORKERS = "trials.log", ".workers"
FEWEST_BEFORE_PRUNING, EPOCHS_BEFORE_PRUNING = 5, 4
_SECONDS_OF_A_LOCK = 30  # then whoever held the journal's lock was killed with it


def open_study(folder: Path, *, is_new: bool = False) -> "optuna.Study":
    """Return the study of a folder; with ``is_new`` it is made where there is none.

    Raises
    ------
    RequestError
        Without Optuna, or when the journal cannot be read.
    """
    try:
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock
    except ImportError as error:
        raise RequestError("a sweep needs Optuna: pip install 'vaezoo[sweep]'") from error
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    path = str(folder / JOURNAL)
    with refusing(f"cannot read {path}", "choose another `out`"):
        lock = JournalFileOpenLock(path, grace_period=_SECONDS_OF_A_LOCK)
        storage = JournalStorage(JournalFileBackend(path, lock_obj=lock))
        pruner = optuna.pruners.MedianPruner(
            n_startup_trials=FEWEST_BEFORE_PRUNING, n_warmup_steps=EPOCHS_BEFORE_PRUNING
        )
        named: dict[str, Any] = {"study_name": "sweep", "storage": storage, "pruner": pruner}
        if is_new:
            return optuna.create_study(**named, direction="maximize", load_if_exists=True)
        return optuna.load_study(**named)


def mend(folder: Path) -> None:
    """Cut off the half of a line that a process which was killed has left, if nobody works."""
    path = folder / JOURNAL
    if not path.is_file() or _are_at_work(folder):
        return
    content = path.read_bytes()
    if content and not content.endswith(b"\n"):
        os.truncate(path, content.rfind(b"\n") + 1)


def _are_at_work(folder: Path) -> bool:
    return any(owner_of(worker) for worker in (folder / WORKERS).glob("*"))


@contextmanager
def working(folder: Path) -> Iterator[str]:
    """Hold a lock for as long as this process works on a sweep; yield its name."""
    name = uuid4().hex
    own = folder / WORKERS / name
    own.mkdir(parents=True)
    ownership = take(own)
    ownership.say()
    try:
        yield name
    finally:
        ownership.release()
        with suppress(OSError):
            own.rmdir()


def _is_left(trial: "FrozenTrial") -> bool:
    """Whether a trial does not count: it ended without a reason, and is tried again."""
    return trial.state.name == "FAIL" and "error" not in trial.user_attrs


def counted(study: "optuna.Study") -> "list[FrozenTrial]":
    """Return the trials that count: finished, pruned, failed, and those at work."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if trial.state != TrialState.WAITING and not _is_left(trial)]


def reclaim(study: "optuna.Study", folder: Path) -> int:
    """Try again what processes had begun that are dead now; return how many there were."""
    from optuna.trial import TrialState

    number = 0
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        worker = folder / WORKERS / str(trial.user_attrs.get("worker", ""))
        if "worker" not in trial.user_attrs or owner_of(worker) is None:
            give_up(study, trial)
            number += 1
    return number


def give_up(
    study: "optuna.Study", trial: "FrozenTrial | optuna.Trial", *, again: bool = True
) -> None:
    """Mark a trial that ended before its time, and have its settings tried again."""
    from optuna.trial import TrialState

    study.tell(trial.number, state=TrialState.FAIL)
    if again and trial.params:
        study.enqueue_trial(trial.params, user_attrs={"again": trial.number})


def next_trial(
    study: "optuna.Study", space: list[Dimension], most: int, worker: str, seed: int
) -> "tuple[optuna.Trial, dict[str, Any]] | None":
    """Return a new trial, and the values of its settings; None when there are enough."""
    import optuna

    number = len(study.get_trials(deepcopy=False))
    if len(counted(study)) >= most:
        return None
    # Each is drawn from a seed of its own, so that processes do not try the same.
    study.sampler = optuna.samplers.TPESampler(seed=(seed + 7919 * number) % 2**32)
    trial = study.ask()
    trial.set_user_attr("worker", worker)
    if sum(other.number <= trial.number for other in counted(study)) > most:
        give_up(study, trial, again=False)  # another process was quicker
        return None
    return trial, {dimension.name: dimension.suggest(trial) for dimension in space}
