"""Training: stochastic variational inference from data to a run folder."""

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vaezoo import registry
from vaezoo.checks.admission import Admission, examine_on_data
from vaezoo.config import layers, merge
from vaezoo.data import Data
from vaezoo.data.batches import Batches
from vaezoo.data.coercion import DataLike, as_data, without_reading
from vaezoo.data.dataset import with_mask
from vaezoo.data.transform import Transform
from vaezoo.distributed.processes import Processes, joined
from vaezoo.engine.precision import check_precision
from vaezoo.errors import RequestError
from vaezoo.pairs.sites import argument_names
from vaezoo.runs import Run, open_run
from vaezoo.runs.environment import describe_data, describe_environment
from vaezoo.runs.ownership import made, owned, require_free
from vaezoo.runs.records import METRICS
from vaezoo.runs.rows import are_default
from vaezoo.runs.weights import STATE, WEIGHTS
from vaezoo.runtime.device import find_device, seeded
from vaezoo.settings import DataSettings, Training, checked
from vaezoo.training.admission import built, filled_from_data, load_for, preset_of
from vaezoo.training.callbacks import Callback
from vaezoo.training.schedule import checked_schedule
from vaezoo.training.trainer import Trainer

__all__ = ["fit", "prepare", "resume"]

_WENT_WITH = "preset '{}' goes with these data; `preset='default'` trains without it"


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
) -> Run:
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
        Are told how it goes.

    Returns
    -------
    Run
        With the best weights by validation score.

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
    """
    processes = joined()
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
        run = open_run(Path(path), device=device, model=model)
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
            _warn(callbacks, f"{path} was stopped before it had a state; it begins again")
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
        with registry.naming_place():
            return trainer.train()


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


def prepare(
    model: str | type[nn.Module] | nn.Module,
    data: DataLike | DataSettings | None,
    *,
    data_settings: DataSettings | Mapping[str, Any] | None = None,
    config: Mapping[str, Any] | None = None,
    preset: str | None = None,
    training: Training | Mapping[str, Any] | None = None,
    out: str | Path | None = None,
    numbered: bool = False,
) -> tuple[Run, Data]:
    """Check a request for training and return a run at its start; nothing is written."""
    path = Path(out) if out else None
    if path is not None:
        _require_settings(model)
        if not numbered:
            require_free(path)
    cls = _class_of(model)
    settings, loaded = load_for(cls, data, data_settings)
    chosen = preset_of(cls, settings) if preset is None else preset
    values, schedule = _layers(cls, chosen, config, training, loaded)
    device = find_device(schedule.device)
    check_precision(schedule.precision, device)
    with seeded(schedule.seed, device), registry.blaming_file(cls):
        pair = model if isinstance(model, nn.Module) else built(cls, values, loaded.x_shape)
        names = argument_names(pair)
        loaded = with_mask(loaded) if "mask" in names else loaded
        again = None if pair is model else partial(built, cls, values, loaded.x_shape)
        admission = examine_on_data(pair, loaded, settings, again=again)
        facts = _facts_of(admission, loaded, names)
    run = Run(
        pair=pair.to(device),
        model=model if isinstance(model, str) else f"{cls.__module__}:{cls.__qualname__}",
        config=values,
        data=settings,
        training=schedule,
        transform=admission.transform,
        fitted_to=loaded,
        shapes={name: loaded.arrays[name].shape[1:] for name in names},
        path=path,
        records=[],
        info={
            **_info(cls, loaded, names, device, schedule),
            "own_splits": _splits_are_own(data, loaded, settings),
            **facts,
            "preset": chosen,
            "notes": [*([] if chosen == preset else [_WENT_WITH.format(chosen)]), *facts["notes"]],
        },
    )
    return run, loaded


def _splits_are_own(given: object, data: Data, settings: DataSettings) -> bool:
    """Whether no file and no seed gives the splits of data again, so that a run keeps them."""
    is_found = given is None or isinstance(given, str | Path | DataSettings)
    return not (is_found or are_default(data, settings.split_seed))


def _asked(*settings: Mapping[str, Any]) -> set[str]:
    """Return the names of the settings of a training that somebody asked for."""
    asked = dict(reduce(merge, settings).get("training") or {})
    options = [asked.get("objective"), asked.get("objective_options")]
    return {*asked, *(name for values in options if isinstance(values, Mapping) for name in values)}


def _facts_of(admission: Admission, data: Data, names: Sequence[str]) -> dict[str, Any]:
    """Return what ``run.json`` holds of an admission; a refusal where something is wrong."""
    admission.report.refuse()
    notes = [str(n) for n in admission.report.notes if n.check != "reparameterised"]
    return {"observed": admission.roles.to_dict(), "notes": notes + _unused(data, names)}


def _unused(data: Data, names: Sequence[str]) -> list[str]:
    """Return a line on the arrays that the model does not take; labels are there to look at."""
    arrays = [f"'{name}'" for name in data.arrays if name not in (*names, "label")]
    if not arrays:
        return []
    return [f"not used: {', '.join(arrays)}, since the model takes {', '.join(names)} only"]


def _layers(
    cls: type[nn.Module],
    preset: str | None,
    config: Mapping[str, Any] | None,
    training: Training | Mapping[str, Any] | None,
    data: Data,
) -> tuple[dict[str, Any], Training]:
    """Return the settings of a pair, and those of a training that goes with the data."""
    if isinstance(training, Training):
        training = training.model_dump(exclude_unset=True)
    asked = (config or {}, {"training": training or {}})
    with registry.blaming_file(cls):
        values, schedule = layers(cls, preset, *asked)
        values = filled_from_data(cls, values, data)
    schedule = checked_schedule(schedule, data, cls, asked=_asked(*asked))
    if len(data.splits.get("validation", ())) == 0:
        raise RequestError(
            f"{data.name} has no rows for validation; give at least 3 rows, or your own split"
        )
    return values, schedule


def _info(
    cls: type, data: Data, names: Sequence[str], device: torch.device, training: Training
) -> dict[str, Any]:
    """Return what a run says of itself in ``run.json`` when it starts."""
    return {
        **describe_environment(cls),
        **describe_data(data, names),
        "num_units": Batches(data, Transform(), names, device).num_units("train"),
        "device": str(device),
        "seed": training.seed,
        "status": "running",
    }


def _class_of(model: str | type[nn.Module] | nn.Module) -> type[nn.Module]:
    if isinstance(model, str):
        return registry.get_model(model)
    return type(model) if isinstance(model, nn.Module) else model


def _require_settings(model: str | type[nn.Module] | nn.Module) -> None:
    if isinstance(model, nn.Module):
        raise RequestError(
            "a pair that is already built cannot be saved, because its settings are unknown; "
            "give fit its class or name, and config={...}"
        )


def _warn(callbacks: Sequence[Callback], message: str) -> None:
    for callback in callbacks:
        callback.on_warning(message)
