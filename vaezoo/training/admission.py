"""Before a training: what is asked for, a pair and its data, as the checks take it."""

from collections.abc import Mapping, Sequence
from functools import partial, reduce
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vaezoo import registry
from vaezoo.checks.admission import Admission, examine_on_data, refuse_size
from vaezoo.checks.conformance import not_built
from vaezoo.config import axes, build_model, layers, marked, merge
from vaezoo.data import SOURCES, Data, DataLike, as_data, load_data
from vaezoo.data.batches import Batches
from vaezoo.data.coercion import reading_of, refuse_reading
from vaezoo.data.dataset import with_arguments
from vaezoo.data.sets.sources import DEFAULT_SOURCES, default_source
from vaezoo.data.summary import FACTS
from vaezoo.data.transform import Transform
from vaezoo.engine.precision import check_precision
from vaezoo.errors import RequestError, VaezooError
from vaezoo.pairs.sites import argument_names
from vaezoo.parts import FromData
from vaezoo.runs import Run
from vaezoo.runs.environment import describe_data, describe_environment
from vaezoo.runs.ownership import require_free
from vaezoo.runs.rows import are_default
from vaezoo.runtime.device import find_device, seeded
from vaezoo.settings import DataSettings, Training
from vaezoo.training.schedule import checked_schedule

__all__ = ["built", "filled_from_data", "load_for", "prepare", "preset_of"]

_STANDS_FOR = "its paper's data are '{0}', which are not on this machine: `vaezoo data fetch {0}`"
_WENT_WITH = "preset '{}' goes with these data; `preset='default'` trains without it"
_FILES = ("name", "validation_data", "test_data")


def filled_from_data(cls: type, values: Mapping[str, Any], data: Data) -> dict[str, Any]:
    """Return resolved settings, those that are None read off the data where they can be.

    Examples
    --------
    >>> from vaezoo.config import resolve
    >>> cls = registry.get_model("vae-bernoulli")
    >>> values = resolve(cls, {"likelihood": "binomial"})
    >>> filled_from_data(cls, values, load_data("digits"))["likelihood"]
    {'name': 'binomial', 'total': 16}
    """
    return _filled_from_data(cls, cls, values, data)


def _filled_from_data(
    owner: type, cls: type, values: Mapping[str, Any], data: Data
) -> dict[str, Any]:
    complete = dict(values)
    for name, marker in marked(cls, FromData).items():
        if name in values and values[name] is None:
            fact = FACTS[marker.fact](data)
            complete[name] = list(fact) if isinstance(fact, tuple) else fact
    for name, axis in axes(cls).items():
        part = axis.find(values[name]["name"], owner)
        complete[name] = _filled_from_data(owner, part, values[name], data)
    return complete


def built(cls: type[nn.Module], config: Mapping[str, object], x_shape: Sequence[int]) -> nn.Module:
    """Build a pair; an exception of its constructor is told by its line.

    Raises
    ------
    ContractError
        When the constructor fails.
    """
    try:
        return build_model(cls, config, x_shape)
    except (VaezooError, KeyboardInterrupt):
        raise
    except BaseException as error:  # SystemExit, too
        refuse_size(cls, error)
        not_built(cls, error).refuse()
        raise


def preset_of(cls: type[nn.Module], settings: DataSettings) -> str | None:
    """Return the preset of a pair that is named after its data, for those of the library."""
    is_there = settings.name in SOURCES and settings.name in registry.entry_of(cls).presets
    return settings.name if is_there else None


def load_for(
    cls: type[nn.Module],
    data: DataLike | DataSettings | None,
    how: DataSettings | Mapping[str, Any] | None = None,
) -> tuple[DataSettings, Data]:
    """Return the data for a pair, and the settings by which a run finds them again if it can.

    Parameters
    ----------
    cls
        Class of the pair, whose default they are when none are named.
    data
        In any form that :func:`vaezoo.fit` takes.
    how
        How they are read, and what happens to their values.
    """
    settings, others = reading_of(how or {})
    if data is None:
        entry = registry.entry_of(cls)
        data = default_source(entry.data, entry.data_set, data_dir=settings.dir)
    if isinstance(data, str | Path):
        for split in others:
            raise RequestError(f"`{split}_data` holds values; give a path, as for the data")
        data = settings.model_copy(update={"name": str(data)})
    elif isinstance(data, DataSettings) and how:
        raise RequestError("settings of data are given twice; give `data_settings` and a path")
    if isinstance(data, DataSettings):
        loaded = load_data(data.name, data_dir=data.dir, settings=data)
        return _found_again(data, loaded, () if data.name in SOURCES else _FILES), loaded
    if isinstance(data, Data):
        refuse_reading(data, settings)
    loaded = as_data(data, settings=how)
    kept = settings.model_copy(update={"name": loaded.name})
    return _found_again(kept, loaded, _FILES[1:]), loaded


def _found_again(settings: DataSettings, data: Data, files: Sequence[str]) -> DataSettings:
    """Return settings by which data are found from any folder, with the codes of their texts."""
    names = {key: getattr(settings, key) for key in files}
    paths = {key: str(Path(n).expanduser().absolute()) for key, n in names.items() if n}
    return settings.model_copy(update={**paths, "categories": dict(data.categories)})


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
    loaded: tuple[DataSettings, Data] | None = None,
) -> tuple[Run, Data]:
    """Check a request for training and return a run at its start; nothing is written.

    Parameters are those of :func:`vaezoo.fit`, and what :func:`load_for` gave before, if it did.
    """
    path = Path(out) if out else None
    if path is not None:
        _require_settings(model)
        if not numbered:
            require_free(path)
    cls = _class_of(model)
    settings, rows = loaded or load_for(cls, data, data_settings)
    chosen = preset_of(cls, settings) if preset is None else preset
    values, schedule = _layers(cls, chosen, config, training, rows)
    device = find_device(schedule.device)
    check_precision(schedule.precision, device)
    with seeded(schedule.seed, device), registry.blaming_file(cls):
        pair = model if isinstance(model, nn.Module) else built(cls, values, rows.x_shape)
        names = argument_names(pair)
        rows = with_arguments(rows, names)
        again = None if pair is model else partial(built, cls, values, rows.x_shape)
        admission = examine_on_data(pair, rows, settings, again=again)
        facts = _facts_of(admission, rows, names)
    run = Run(
        pair=pair.to(device),
        model=model if isinstance(model, str) else f"{cls.__module__}:{cls.__qualname__}",
        config=values,
        data=settings,
        training=schedule,
        transform=admission.transform,
        fitted_to=rows,
        shapes={name: rows.arrays[name].shape[1:] for name in names},
        path=path,
        records=[],
        info={
            **_info(cls, rows, names, device, schedule),
            "own_splits": _splits_are_own(data, rows, settings),
            **facts,
            "preset": chosen,
            "notes": [
                *_of_default_data(cls, settings),
                *([] if chosen == preset else [_WENT_WITH.format(chosen)]),
                *facts["notes"],
            ],
        },
    )
    return run, rows


def _of_default_data(cls: type[nn.Module], settings: DataSettings) -> list[str]:
    """Return a line where other data stand in the place of those that a paper is about."""
    entry = registry.entry_of(cls)
    if not entry.data_set or settings.name != DEFAULT_SOURCES[entry.data]:
        return []
    is_there = default_source(entry.data, entry.data_set, data_dir=settings.dir) != settings.name
    return [] if is_there else [_STANDS_FOR.format(entry.data_set)]


def _splits_are_own(given: object, data: Data, settings: DataSettings) -> bool:
    """Whether no file and no seed gives the splits of data again, so that a run keeps them."""
    is_found = given is None or isinstance(given, str | Path | DataSettings)
    return not (is_found or are_default(data, settings.split_seed))


def _facts_of(admission: Admission, data: Data, names: Sequence[str]) -> dict[str, Any]:
    """Return what ``run.json`` holds of an admission; a refusal where something is wrong."""
    admission.report.refuse()
    notes = [str(n) for n in admission.report.notes if n.check != "reparameterised"]
    return {"observed": admission.roles.to_dict(), "notes": notes + _unused(data, names)}


def _unused(data: Data, names: Sequence[str]) -> list[str]:
    """Return a line on the arrays that the model does not take; labels are there to look at."""
    arrays = [f"'{name}'" for name in data.arrays if name not in (*names, "label")]
    if not arrays or data.name in SOURCES:  # whose factors are there to look at, too
        return []
    return [f"not used: {', '.join(arrays)}, since the model takes {', '.join(names)} only"]


def _asked(*settings: Mapping[str, Any]) -> set[str]:
    """Return the names of the settings of a training that somebody asked for."""
    asked = dict(reduce(merge, settings).get("training") or {})
    options = [asked.get("objective"), asked.get("objective_options")]
    return {*asked, *(name for values in options if isinstance(values, Mapping) for name in values)}


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
