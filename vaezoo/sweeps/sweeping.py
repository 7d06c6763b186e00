"""A sweep: trainings over a space of settings, side by side, one run folder for each."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vaezoo.data.coercion import DataLike
from vaezoo.distributed.places import leave
from vaezoo.errors import RequestError, RunError, require_positive, shown
from vaezoo.registry import get_model
from vaezoo.runs.ownership import begun
from vaezoo.runtime.storage import write_json
from vaezoo.settings import DataSettings, Settings, Training
from vaezoo.sweeps.outcome import Sweep, Trial, outcome_of
from vaezoo.sweeps.space import check_space, read_space
from vaezoo.sweeps.study import JOURNAL, counted, mend, open_study, reclaim, working
from vaezoo.sweeps.trying import Request, try_all, why_refused
from vaezoo.training.admission import load_for

__all__ = ["sweep"]

REQUEST = "sweep.json"
SECONDS_BETWEEN_LOOKS = 0.5
MOST_ROUNDS = 3  # of starting the processes again, when some were killed

Tell = Callable[[Trial], object]


def sweep(
    model: str | type[nn.Module],
    data: "DataLike | DataSettings | None" = None,
    *,
    space: Mapping[str, str | Sequence[object]],
    trials: int,
    out: str | Path,
    jobs: int = 1,
    prune: bool = True,
    data_settings: DataSettings | Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    preset: str | None = None,
    training: Training | Mapping[str, Any] | None = None,
    on_trial: Tell = lambda trial: None,
) -> Sweep:
    """Train with many settings, and look for those of the best validation ELBO.

    Settings are drawn by the tree-structured Parzen estimator of Optuna (Bergstra et al. 2011);
    those of a training whose validation ELBO lies below the median of the others at the same epoch
    are given up (Golovin et al. 2017). The same call goes on with a sweep that was stopped, and
    several machines work on one whose folder they share.

    Parameters
    ----------
    model, data, data_settings, config, preset, training
        As :func:`vaezoo.fit` takes them.
    space
        Settings to vary, each with its values: ``{"lr": "log:1e-4..1e-2", "z_dim": "int:2..64",
        "posterior": ["diagonal", "full-rank"]}``; see :func:`vaezoo.sweeps.space.read_space`.
    trials
        How many trainings there are, those of other machines included.
    out
        The folder of the sweep; each trial is a run folder in it.
    jobs
        Processes of this machine; with several, the model and the data are named.
    prune
        Whether to give up trainings that are worse than most.
    on_trial
        Is told of each trial that has ended.

    Returns
    -------
    Sweep
        All trials, and which is the best.

    Raises
    ------
    RequestError
        Before anything is trained: a space with unknown settings or wrong values.
    RunError
        When no trial could be trained, with the reason.

    Examples
    --------
    >>> import tempfile
    >>> sweep = vaezoo.sweep(
    ...     "vae-bernoulli",
    ...     space={"lr": "log:1e-4..1e-2", "z_dim": "int:2..8"},
    ...     trials=2,
    ...     training={"steps": 5},
    ...     out=tempfile.mkdtemp(),
    ... )
    >>> len(sweep.trials), sorted(sweep.best.settings)
    (2, ['lr', 'z_dim'])
    """
    require_positive("trials", trials, "trial")
    require_positive("jobs", jobs, "process")
    request = Request(
        model=model,
        data=data,
        data_settings=_plain(data_settings),
        space=dict(space),
        trials=trials,
        config=dict(config or {}),
        preset=preset,
        training=_plain(training),
        prune=prune,
    )
    cls = get_model(model) if isinstance(model, str) else model
    check_space(read_space(space), cls, preset, request.base)
    load_for(cls, data, data_settings)
    folder = Path(out)
    leave()  # each task of a job step is one more process of the sweep
    _begin(folder, request)
    study = open_study(folder, is_new=True)
    reclaim(study, folder)
    if jobs == 1:
        with working(folder) as worker:
            try_all(request, folder, worker, on_trial)
    else:
        _in_processes(request, folder, jobs, on_trial)
    outcome = outcome_of(folder)
    if outcome.best_or_none is None:
        reasons = [trial.error for trial in outcome.trials if trial.error]
        raise RunError(f"no trial of {folder} could be trained: {(reasons or ['?'])[-1]}")
    return outcome


def _plain(settings: Settings | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return settings that were given, without those at their defaults."""
    if isinstance(settings, Settings):
        return settings.model_dump(exclude_unset=True)
    return dict(settings or {})


def _begin(folder: Path, request: Request) -> None:
    """Make the folder of a sweep, or refuse one of another; more trials may be asked for."""
    own, stored = request.to_dict(), begun(folder, REQUEST, "sweep")
    if stored is not None:
        differ = [name for name in own if name != "trials" and stored.get(name) != own[name]]
        if differ:
            raise RequestError(
                f"{folder} is a sweep with other settings: `{differ[0]}` was "
                f"{shown(stored.get(differ[0]))}; choose another `out`"
            )
    mend(folder)
    write_json(folder / REQUEST, own)


def _in_processes(request: Request, folder: Path, jobs: int, tell: Tell) -> None:
    """Let processes of this machine try all; those that were killed are started again."""
    words = json.dumps({**request.to_dict(for_processes=True), "folder": str(folder), "jobs": jobs})
    study = open_study(folder)
    told = {trial.number for trial in outcome_of(folder).ended}
    for _ in range(MOST_ROUNDS):
        processes = [_start(words) for _ in range(jobs)]
        try:
            while any(process.poll() is None for process in processes):
                time.sleep(SECONDS_BETWEEN_LOOKS)
                told |= _tell_new(folder, told, tell)
        except BaseException:
            for process in processes:
                process.terminate()
            for process in processes:
                process.wait()
            raise
        told |= _tell_new(folder, told, tell)
        if any(process.returncode == RequestError.exit_code for process in processes):
            raise RequestError(why_refused(folder))
        reclaim(study, folder)
        if len(counted(study)) >= request.trials or not any(p.returncode for p in processes):
            return
    raise RunError(f"processes of the sweep were killed again and again; see {folder / JOURNAL}")


def _start(words: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-P", "-m", "vaezoo.sweeps.worker"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stdin is not None
    process.stdin.write(words)
    process.stdin.close()
    return process


def _tell_new(folder: Path, told: set[int], tell: Tell) -> set[int]:
    new = [trial for trial in outcome_of(folder).ended if trial.number not in told]
    for trial in new:
        tell(trial)
    return {trial.number for trial in new}
