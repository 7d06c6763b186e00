"""Training: stochastic variational inference from data to a run folder."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, overload

from torch import nn

from vaezoo import registry, runs
from vaezoo.data import Data
from vaezoo.data.coercion import DataLike, as_data, without_reading
from vaezoo.distributed.processes import ALONE, Processes, joined
from vaezoo.errors import RequestError, source_of
from vaezoo.runs import Run
from vaezoo.runs.ownership import made, owned
from vaezoo.runs.records import METRICS
from vaezoo.runs.weights import STATE, WEIGHTS
from vaezoo.settings import DataSettings, Training, checked
from vaezoo.training import many
from vaezoo.training.admission import prepare
from vaezoo.training.callbacks import Callback
from vaezoo.training.schedule import checked_schedule
from vaezoo.training.trainer import Trainer

__all__ = ["fit", "reopened", "resume"]


@overload
def fit(
    model: str | type[nn.Module] | nn.Module,
    data: "DataLike | DataSettings | None" = None,
    *,
    data_settings: DataSettings | Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    preset: str | None = None,
    training: Training | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    numbered: bool = False,
    callbacks: Sequence[Callback] = (),
    seeds: None = None,
) -> Run: ...


@overload
def fit(
    model: str | type[nn.Module] | nn.Module,
    data: "DataLike | DataSettings | None" = None,
    *,
    data_settings: DataSettings | Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    preset: str | None = None,
    training: Training | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    numbered: bool = False,
    callbacks: Sequence[Callback] = (),
    seeds: Iterable[int],
) -> list[Run]: ...


def fit(
    model: str | type[nn.Module] | nn.Module,
    data: "DataLike | DataSettings | None" = None,
    *,
    data_settings: DataSettings | Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    preset: str | None = None,
    training: Training | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    numbered: bool = False,
    callbacks: Sequence[Callback] = (),
    seeds: Iterable[int] | None = None,
) -> Run | list[Run]:
    """Train a model/guide pair.

    Parameters
    ----------
    model
        A name of the zoo, a file, a class, or a pair that is already built.
    data
        A name, a path, an array ``(N, *x_shape)``, sequences ``[(T_n, D), ...]``, or any other form
        that :func:`vaezoo.data.as_data` takes; by default the digits of scikit-learn, as images or
        row by row.
    data_settings
        How data are read and what happens to their values, as ``{"standardize": False, "window":
        50}``; a mapping is checked against :class:`vaezoo.settings.DataSettings`, and may hold
        values as ``validation_data`` and ``test_data``.
    config
        Settings of the pair.
    preset
        Named settings of the pair to start from; those named after the data set, if there are, by
        default. ``"default"`` takes none.
    training
        How to train; a mapping is checked against :class:`vaezoo.settings.Training`.
    out
        The run folder; without one nothing is written.
    numbered
        When `out` is taken, take ``out-2``, ``out-3`` and so on, instead of a refusal.
    callbacks
        Are told how it goes; with seeds, how the first one goes, and of warnings of all.
    seeds
        Train once for each of these, as ``range(10)``, side by side in this process: into
        ``out/seed-0`` and so on, with a summary in ``out/seeds.json``. On the tiers ``eager`` and
        ``graph`` each run is bit by bit the one that its seed gives alone.

    Returns
    -------
    Run, or list of Run
        With the best weights by validation score; one for each seed where there are seeds.

    Raises
    ------
    RequestError
        Before anything is trained: wrong names, settings, data, or a folder that is in use; of one
        that is being trained, by which process and since when.
    NonFiniteError
        When loss or gradients are NaN or infinite. The state of the step before is saved.
    Interrupted
        On Ctrl-C. The state is saved.

    Examples
    --------
    >>> run = fit("vae-bernoulli", training={"epochs": 1})
    >>> sorted(run.metrics[-1]["validation"])[:3]
    ['active_units', 'at_floor', 'bits_per_dim']
    >>> runs = fit("vae-linear", training={"steps": 3}, seeds=range(2))
    >>> [run.info["seed"] for run in runs]
    [0, 1]
    """
    processes = joined()
    if seeds is not None:
        if processes.are_many:
            raise RequestError("`seeds` go side by side in one process; start it without torchrun")
        return many.fit_seeds(
            model,
            data,
            seeds=seeds,
            data_settings=data_settings,
            config=config,
            preset=preset,
            training=training,
            out=out,
            numbered=numbered,
            callbacks=callbacks,
        )
    callbacks = callbacks if processes.is_first else ()
    with processes.telling_failure():
        with processes.first_goes_ahead():
            run, loaded = prepare(
                model,
                data,
                data_settings=data_settings,
                config=config,
                preset=preset,
                training=training,
                out=out if processes.is_first else None,
                numbered=numbered,
            )
        processes.check_device(run.device)
        run.info |= _of_processes(processes)
        for callback in callbacks:
            callback.on_prepare(run)
        folder = made(run, numbered=numbered, notify=partial(_warn, callbacks))
        trainer = Trainer(run, loaded, callbacks, processes)
        with registry.naming_place():
            return trainer.train(folder)


def resume(
    path: str | Path,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    device: str | None = None,
    data: "DataLike | None" = None,
    data_dir: str | Path | None = None,
    model: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
) -> Run:
    """Go on with a run from its last saved state, on the CPU bit by bit as if it had not stopped.

    One whose process died before the first state begins again.

    Parameters
    ----------
    path
        The run folder.
    epochs, steps
        Train until here instead of the run's own end.
    device
        Another device than before.
    data
        The data again, if they were given in memory; they must be the same.
    data_dir
        Where the original data files lie now.
    model
        A ``.py`` file to take the pair from, instead of the run's copy.
    callbacks
        Are told how it goes.

    Raises
    ------
    RequestError
        When the run is being trained, by a process that is named; or cannot be read, or finished.

    Examples
    --------
    >>> import tempfile, vaezoo
    >>> folder = tempfile.mkdtemp()
    >>> run = vaezoo.fit("vae-bernoulli", training={"steps": 5}, out=folder)
    >>> vaezoo.resume(folder, steps=8).info["steps"]
    8
    """
    processes = joined()
    callbacks = callbacks if processes.is_first else ()
    owner = owned(Path(path), notify=partial(_warn, callbacks))
    with processes.telling_failure(), owner if processes.is_first else nullcontext():
        run = runs.open_run(Path(path), device=device, model=model)
        trainer = reopened(
            run,
            epochs=epochs,
            steps=steps,
            device=device,
            data=data,
            data_dir=data_dir,
            callbacks=callbacks,
            processes=processes,
        )
        with registry.naming_place():
            return trainer.train()


def reopened(
    run: Run,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    device: str | None = None,
    data: DataLike | None = None,
    data_dir: str | Path | None = None,
    callbacks: Sequence[Callback] = (),
    processes: Processes = ALONE,
) -> Trainer:
    """Return what goes on with a run that was opened and is owned; parameters as in `resume`.

    Raises
    ------
    FinishedError
        When there is nothing left to do.
    """
    _require_state(run)
    processes.check_device(run.device)
    loaded = run.remember(_data_again(run, data, data_dir))
    if epochs or steps:
        longer = {**run.training.model_dump(), "epochs": epochs, "steps": steps}
        schedule = checked(Training, longer)
        run.training = checked_schedule(schedule, loaded, type(run.pair))
    processes.meet()  # all have read what the first one changes from here on
    if begins := processes.of_first(lambda: _has_no_state(run)):
        is_named = data is None and not run.info.get("own_splits")
        run, loaded = _at_start(run, None if is_named else loaded, data_dir, device, processes)
        _warn(callbacks, f"{run.path} was stopped before it had a state; it begins again")
    run.batches()  # refuses a pair whose file has changed and breaks the contract
    trainer = Trainer(run, loaded, callbacks, processes)
    if not begins:
        trainer.restore()
        _compare_processes(run, processes, callbacks)
    if processes.is_first:
        run.save_config()
    else:
        run.path = None
    run.save_info(status="running", **_of_processes(processes))
    return trainer


def _require_state(run: Run) -> None:
    """Refuse a run that comes with the package, or from a hub: it has weights only."""
    if run.source is not None:
        model, data = source_of(run.model), source_of(run.data.name)
        raise RequestError(
            f"{run.name} was trained elsewhere, and comes without the state to go on from; train "
            f"one of your own: `vaezoo.fit({model}, data={data})`"
        )


def _of_processes(processes: Processes) -> dict[str, int]:
    """Return what ``run.json`` holds of the processes that train a run."""
    return {"processes": processes.number} if processes.are_many else {}


def _compare_processes(run: Run, processes: Processes, callbacks: Sequence[Callback]) -> None:
    """Say it when a run goes on by another number of processes than before."""
    before = run.info.pop("processes", 1)
    if before != processes.number:
        _warn(
            callbacks,
            f"before it was trained by {before}, now by {processes.number} processes at once: the "
            "batches are the same, the noise is not, so it does not go on bit by bit",
        )


def _data_again(run: Run, data: "DataLike | None", data_dir: str | Path | None) -> Data:
    """Return the data of a run, from where they were, or as they are given again."""
    if data is None:
        return run.find_data(data_dir=data_dir)
    return as_data(data, data_dir=data_dir, settings=run.data)


def _has_no_state(run: Run) -> bool:
    """Whether a process died before the first state, which is saved with the first record."""
    is_new = run.info.get("status") == "running" and len(run.metrics) <= 1
    return is_new and not (run.folder() / STATE).is_file()


def _at_start(
    run: Run,
    data: Data | None,
    data_dir: str | Path | None,
    device: str | None,
    processes: Processes,
) -> tuple[Run, Data]:
    """Return a run as it was when its training began, in the same folder, and its data."""
    settings = run.data.model_copy(update={"dir": str(data_dir)} if data_dir else {})
    training = run.training.model_dump(exclude_none=True)
    fresh, loaded = prepare(
        run.model,
        settings if data is None else data,
        data_settings=None if data is None else without_reading(run.data),
        config=run.config,
        training={**training, **({"device": device} if device else {})},
    )
    for name in (METRICS, WEIGHTS) if processes.is_first else ():
        (run.folder() / name).unlink(missing_ok=True)
    fresh.path, fresh.data, fresh.training = run.path, run.data, run.training
    fresh.info["id"] = run.id
    return fresh, loaded


def _warn(callbacks: Sequence[Callback], message: str) -> None:
    for callback in callbacks:
        callback.on_warning(message)
