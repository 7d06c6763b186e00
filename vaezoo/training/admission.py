"""Before a training: what is asked for, a pair and its data, as the checks take it."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import nn

from vaezoo import registry
from vaezoo.checks.admission import refuse_size
from vaezoo.checks.conformance import not_built
from vaezoo.config import build_model
from vaezoo.data import SOURCES, Data, DataLike, as_data, load_data
from vaezoo.data.sets.sources import DEFAULT_SOURCES
from vaezoo.errors import VaezooError
from vaezoo.settings import DataSettings

__all__ = ["built", "load_for", "preset_of"]


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
    cls: type[nn.Module], data: DataLike | DataSettings | None
) -> tuple[DataSettings, Data]:
    """Return the data for a pair, and the settings by which a run finds them again if it can.

    Parameters
    ----------
    cls
        Class of the pair, whose default they are when none are named.
    data
        In any form that :func:`vaezoo.fit` takes.
    """
    if data is None:
        data = DEFAULT_SOURCES[registry.entry_of(cls).data]
    if isinstance(data, str | Path):
        data = DataSettings(name=str(data))
    if not isinstance(data, DataSettings):
        loaded = as_data(data)
        return DataSettings(name=loaded.name, categories=loaded.categories), loaded
    loaded = load_data(data.name, data_dir=data.dir, settings=data)
    if data.name not in SOURCES:
        names = {key: getattr(data, key) for key in ("name", "validation_data", "test_data")}
        paths = {k: str(Path(n).expanduser().absolute()) for k, n in names.items() if n}
        data = data.model_copy(update={**paths, "categories": dict(loaded.categories)})
    return data, loaded
