"""Before a training: what is asked for, a pair and its data, as the checks take it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from vaezoo import registry
from vaezoo.checks.admission import refuse_size
from vaezoo.checks.conformance import not_built
from vaezoo.config import axes, build_model, marked
from vaezoo.data import SOURCES, Data, DataLike, as_data, load_data
from vaezoo.data.coercion import reading_of, refuse_reading
from vaezoo.data.sets.sources import DEFAULT_SOURCES
from vaezoo.data.summary import FACTS
from vaezoo.errors import RequestError, VaezooError
from vaezoo.parts import FromData
from vaezoo.settings import DataSettings

__all__ = ["built", "filled_from_data", "load_for", "preset_of"]

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
    if data is None:
        data = DEFAULT_SOURCES[registry.entry_of(cls).data]
    settings, others = reading_of(how or {})
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
