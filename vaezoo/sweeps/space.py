"""Spaces of settings: which there are, and a point of one as the settings of a pair."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import nn

from vaezoo.config import layers, merge, schema
from vaezoo.errors import RequestError, nearest, shown
from vaezoo.settings import Training

if TYPE_CHECKING:
    from optuna import Trial

__all__ = ["Dimension", "check_space", "read_space", "settings_of", "typed"]

_KINDS = ("int", "log", "log-int", "real")
_FORM = "write it as 'log:1e-4..1e-2', 'real:0..1', 'int:2..64', 'log-int:16..512' or 'a|b|c'"


@dataclass(frozen=True)
class Dimension:
    """One setting, and the values that it may have.

    Attributes
    ----------
    name
        Of the setting, as ``lr``, ``z_dim`` or ``likelihood.sigma``.
    kind
        ``real``, ``log``, ``int``, ``log-int``, or ``choice``.
    low, high
        Of a number, both included.
    choices
        As they are typed.
    """

    name: str
    kind: str
    low: float = 0.0
    high: float = 0.0
    choices: tuple[str, ...] = ()

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that stand for all: the smallest and the largest number, or each choice."""
        if self.kind == "choice":
            return tuple(map(typed, self.choices))
        whole = int if self.kind.endswith("int") else float
        return whole(self.low), whole(self.high)

    def suggest(self, trial: "Trial") -> Any:
        """Return the value of a trial."""
        if self.kind == "choice":
            return typed(trial.suggest_categorical(self.name, self.choices))
        log = self.kind.startswith("log")
        if self.kind.endswith("int"):
            return trial.suggest_int(self.name, int(self.low), int(self.high), log=log)
        return trial.suggest_float(self.name, self.low, self.high, log=log)


def read_space(space: Mapping[str, str | Sequence[object]]) -> list[Dimension]:
    """Return the dimensions of a space.

    Parameters
    ----------
    space
        Settings, each with its values: ``"log:1e-4..1e-2"`` or ``"real:0..1"`` for a number,
        ``"int:2..64"`` or ``"log-int:16..512"`` for a whole one, ``"a|b|c"``, or a list, for
        choices.

    Raises
    ------
    RequestError
        When one cannot be read.

    Examples
    --------
    >>> lr, net = read_space({"lr": "log:1e-4..1e-2", "net": ["mlp", "conv"]})
    >>> lr.ends, net.ends
    ((0.0001, 0.01), ('mlp', 'conv'))
    """
    if not space:
        raise RequestError(f"a sweep needs a `space`, as lr; {_FORM}")
    return [_dimension(str(name), values) for name, values in space.items()]


def _dimension(name: str, values: object) -> Dimension:
    if isinstance(values, Sequence) and not isinstance(values, str):
        choices = tuple(map(_source, values))
    else:
        kind, is_range, ends = str(values).partition(":")
        if is_range and kind in _KINDS:
            return Dimension(name, kind, *_ends(name, kind, ends))
        choices = tuple(word.strip() for word in str(values).split("|"))
    if len(set(choices)) < 2 or not all(choices):
        raise RequestError(f"the space of '{name}' has no choice, {shown(values)}; {_FORM}")
    return Dimension(name, "choice", choices=tuple(dict.fromkeys(choices)))


def _ends(name: str, kind: str, ends: str) -> tuple[float, float]:
    words = ends.split("..")
    try:
        low, high = (int(w) if kind.endswith("int") else float(w) for w in words)
    except ValueError:
        raise RequestError(
            f"the space of '{name}' cannot be read, {shown(ends)}; {_FORM}"
        ) from None
    if not (math.isfinite(low) and math.isfinite(high) and low < high):
        raise RequestError(f"the space of '{name}' is empty, {shown(ends)}; {_FORM}")
    if kind.startswith("log") and low <= 0:
        raise RequestError(f"the space of '{name}' has no logarithm at {low:g}; {_FORM}")
    return low, high


def typed(text: str) -> Any:
    """Return a choice as TOML reads it, or else the text."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (ValueError, RecursionError):
        return text


def _source(value: object) -> str:
    """Return a choice as it is typed."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(list(value)) if isinstance(value, tuple) else str(value)


def settings_of(base: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a pair with those of a trial in them.

    Examples
    --------
    >>> settings_of({"z_dim": 2}, {"lr": 0.01, "likelihood.sigma": "shared"})
    {'z_dim': 2, 'lr': 0.01, 'likelihood': {'sigma': 'shared'}}
    """
    settings = dict(base)
    for name, value in sorted(values.items(), key=lambda item: item[0].count(".")):
        *tables, last = name.split(".")
        setting: dict[str, Any] = {last: value}
        for table in reversed(tables):
            setting = {table: setting}
        settings = merge(settings, setting)
    return settings


def check_space(
    dimensions: Sequence[Dimension],
    cls: type[nn.Module],
    preset: str | None,
    base: Mapping[str, Any],
) -> None:
    """Refuse a space with settings, or values of them, that there are not.

    Raises
    ------
    RequestError
        With the nearest name.
    """
    names = {*schema(cls).model_fields, *Training.model_fields, "training"}
    for dimension in dimensions:
        if (first := dimension.name.split(".")[0]) not in names:
            raise RequestError(f"the space has no setting '{first}'; {nearest(first, names)}")
    start = {dimension.name: dimension.ends[0] for dimension in dimensions}
    for dimension in dimensions:
        for value in dimension.ends:
            settings = settings_of(base, {**start, dimension.name: value})
            try:
                layers(cls, preset, settings)
            except RequestError as error:
                raise RequestError(f"the space of '{dimension.name}': {error}") from error
