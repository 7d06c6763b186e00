"""Configurations: the typed constructor arguments of a pair, from presets, files and callers.

The configuration of a pair is the keyword-only signature of its constructor: names, types and
defaults. Nothing else has to be declared. ``x_shape`` is given by the data.
"""

import inspect
import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model
from torch import nn

from vaezoo.errors import RequestError, nearest, refusing, shown
from vaezoo.objectives.base import OBJECTIVES, SHARED_OPTIONS
from vaezoo.parts import Axis, FromData, Part
from vaezoo.parts.combinations import refuse_without_meaning
from vaezoo.registry import blaming_file, entry_of, get_model
from vaezoo.runtime.reading import read_plain
from vaezoo.settings import Training, checked, describe

__all__ = [
    "axes",
    "build_model",
    "layers",
    "marked",
    "merge",
    "objective_options",
    "read_file",
    "resolve",
    "resolve_objective",
    "schema",
]

Config = dict[str, Any]
Marker = TypeVar("Marker", Axis, FromData)
GIVEN_BY_DATA = ("x_shape",)
DEFAULT = "default"  # the preset that always applies
SECTIONS = ("config", "data", "training")
LARGEST_FILE = 2**20  # bytes of a configuration
_PART_OF_KEY = r"""(?:"(?:\\.|[^"\\\n])*"|'[^'\n]*'|[\w-]++)[ \t]*+\.[ \t]*+"""
_DEEP_KEY = re.compile(
    rf"(?<![\w\\-])(?:{_PART_OF_KEY}){{100}}"
)  # tomllib takes the square of their number


def _hints(cls: type) -> dict[str, Any]:
    with blaming_file(cls):
        return get_type_hints(inspect.getattr_static(cls, "__init__"), include_extras=True)


def schema(cls: type) -> type[BaseModel]:
    """Return the model of a class's keyword-only constructor arguments, defaults included."""
    return _schema(cls)


@lru_cache(maxsize=128)  # making one takes a millisecond, and a run asks for one 40 times
def _schema(cls: type) -> type[BaseModel]:
    hints = _hints(cls)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(cls).parameters.items():
        if parameter.kind is not parameter.KEYWORD_ONLY or name in GIVEN_BY_DATA:
            continue
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints.get(name, Any), default)
    return create_model(cls.__name__, __config__=ConfigDict(extra="forbid"), **fields)


def axes(cls: type) -> dict[str, Axis]:
    """Return the parts of a pair that may be swapped, by the name of their argument."""
    return marked(cls, Axis)


def marked(cls: type, kind: type[Marker]) -> dict[str, Marker]:
    """Return what arguments are marked with, ``Annotated[type, marker]``, by their names."""
    of_all = {n: get_args(h) for n, h in _hints(cls).items() if get_origin(h) is Annotated}
    pairs = ((name, marker) for name, extras in of_all.items() for marker in extras)
    return {name: marker for name, marker in pairs if isinstance(marker, kind)}


def resolve(cls: type, settings: Mapping[str, Any]) -> Config:
    """Check settings against a class and fill in its defaults.

    Returns
    -------
    dict
        Plain values, as they are stored in a run: a part is ``{"name": ..., option: value}``.

    Raises
    ------
    RequestError
        With every unknown name and wrong type in one line; for parts without meaning together.

    Examples
    --------
    >>> from vaezoo import get_model
    >>> resolve(get_model("vae-linear"), {})
    {'z_dim': 10}
    """
    config = _resolve(cls, cls, settings)
    parts = {axis.name: axis.find(config[name]["name"], cls) for name, axis in axes(cls).items()}
    refuse_without_meaning(parts)
    return config


def _resolve(owner: type, cls: type, settings: Mapping[str, Any]) -> Config:
    """Resolve the settings of a class, a pair or a part of one; ``owner`` is the pair's."""
    config, problems = _resolve_parts(owner, cls, settings)
    values, wrong = _resolve_values(cls, settings)
    if problems or wrong:
        raise RequestError("; ".join([*problems, *wrong]))
    return {**config, **values}


def _resolve_parts(owner: type, cls: type, settings: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """Return the settings that are parts, and what is wrong with them."""
    config: Config = {}
    problems: list[str] = []
    for name, axis in axes(cls).items():
        try:
            config[name] = _resolve_part(owner, cls, name, axis, settings.get(name, {}))
        except RequestError as error:
            problems.append(str(error))
    return config, problems


def _resolve_values(cls: type, settings: Mapping[str, Any]) -> tuple[Config, list[str]]:
    """Return the settings that are plain values, and what is wrong with any setting's name."""
    parts, fields = axes(cls), schema(cls).model_fields
    problems = [f"no setting '{n}'; {nearest(n, fields)}" for n in settings if n not in fields]
    values = {n: v for n, v in settings.items() if n in fields and n not in parts}
    problems += [
        f"{n}: None can be no setting but by default, which is {fields[n].default!r} here; a file "
        "of TOML, as a run has, holds none"
        for n, v in values.items()
        if v is None and fields[n].default is not None and not fields[n].is_required()
    ]
    try:
        complete = schema(cls).model_validate(values)
    except ValidationError as error:
        return {}, problems + describe(error)
    return {n: _plain(getattr(complete, n)) for n in fields if n not in parts}, problems


def _resolve_part(owner: type, cls: type, name: str, axis: Axis, value: Any) -> Config:
    settings = {"name": value} if isinstance(value, str) else value
    if not (isinstance(settings, Mapping) and isinstance(settings.get("name", ""), str)):
        choices = ", ".join(axis.choices_for(owner))
        raise RequestError(f"{name}: expected one of {choices} (got {shown(value)})")
    default = inspect.signature(cls).parameters[name].default
    chosen = settings.get("name") or (
        default.name if isinstance(default, Part) else axis.name_of(default, owner)
    )
    options = {key: option for key, option in settings.items() if key != "name"}
    if isinstance(default, Part) and default.name == chosen:
        options = {**default.options, **options}
    part = axis.find(chosen, owner)
    _refuse_option_of_another(axis, owner, name, chosen, options)
    try:
        return {"name": chosen, **_resolve(owner, part, options)}
    except RequestError as error:
        raise RequestError(f"{name} '{chosen}': {error}") from error


def _refuse_option_of_another(
    axis: Axis, owner: type, name: str, chosen: str, options: Config
) -> None:
    """Say which choice has an option that the chosen one lacks."""
    fields = schema(axis.find(chosen, owner)).model_fields if options else {}
    unknown = [option for option in options if option not in fields]
    for other, choice in axis.choices_for(owner).items() if unknown else ():
        if unknown[0] in schema(choice).model_fields:
            raise RequestError(
                f"the {name} '{chosen}' has no '{unknown[0]}', '{other}' has; "
                f"add `{name}={other!r}`"
            )


def _plain(value: Any) -> Any:
    return [_plain(item) for item in value] if isinstance(value, tuple | list) else value


def build_model(
    model: str | type[nn.Module], config: Mapping[str, Any], x_shape: Sequence[int]
) -> nn.Module:
    """Build a pair from settings, unset ones at their defaults.

    Parameters
    ----------
    model
        The class of the pair, or what :func:`vaezoo.get_model` takes to find it.
    config
        Settings by name, as from :func:`resolve`.
    x_shape
        Shape of one datum, or of one frame.

    Examples
    --------
    >>> build_model("vae-linear", {"z_dim": 2}, (8, 8)).encoder
    Linear(in_features=64, out_features=2, bias=True)
    """
    cls = get_model(model) if isinstance(model, str) else model
    arguments = _arguments(cls, cls, resolve(cls, config))
    if "x_shape" in inspect.signature(cls).parameters:
        arguments["x_shape"] = tuple(x_shape)
    return cls(**arguments)


def _arguments(owner: type, cls: type, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as a constructor takes them: typed, and parts ready to be built."""
    parts = axes(cls)
    arguments: dict[str, Any] = {}
    checked = schema(cls).model_validate({k: v for k, v in values.items() if k not in parts})
    for name, value in values.items():
        if name in parts:
            options = {key: option for key, option in value.items() if key != "name"}
            part = parts[name].find(value["name"], owner)
            arguments[name] = Part(name, value["name"], part, options)
        else:
            arguments[name] = getattr(checked, name)
    return arguments


def resolve_objective(owner: type, name: str, options: Mapping[str, Any]) -> Config:
    """Check the options of an objective for a pair, and fill in its defaults.

    Parameters
    ----------
    owner
        The class of the pair, whose file may have the objective.
    name
        Of the objective.
    options
        By the names of its constructor; those that are settings of a training are left out.

    Raises
    ------
    RequestError
        With every unknown name and wrong type in one line.

    Examples
    --------
    >>> from vaezoo import get_model
    >>> resolve_objective(get_model("vae-linear"), "elbo", {})
    {}
    """
    cls = OBJECTIVES.find(name, owner)
    for parameter in inspect.signature(cls).parameters.values():
        if parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            raise RequestError(
                f"the objective '{name}' takes '{parameter.name}' by its place; options go by "
                f"name: write `def __init__(self, *, {parameter.name}, ...)`"
            )
    _refuse_option_of_another(OBJECTIVES, owner, "objective", name, dict(options))
    try:
        values = _resolve(owner, cls, options)
    except RequestError as error:
        raise RequestError(f"objective '{name}': {error}") from error
    return {n: v for n, v in values.items() if n not in SHARED_OPTIONS and v is not None}


def objective_options(owner: type, training: Training) -> dict[str, Any]:
    """Return the options of a training's objective, as its constructor takes them.

    Examples
    --------
    >>> from vaezoo import get_model
    >>> objective_options(get_model("vae-linear"), Training())
    {}
    """
    name = training.objective
    values = resolve_objective(owner, name, training.objective_options)
    return _arguments(owner, OBJECTIVES.find(name, owner), values)


def merge(base: Mapping[str, Any], update: Mapping[str, Any]) -> Config:
    """Return ``base`` overridden by ``update``, table by table.

    A part that changes its name starts afresh: the options of the old one do not carry over.

    Examples
    --------
    >>> merge({"z_dim": 2, "likelihood": "gaussian"}, {"likelihood": {"sigma": "shared"}})
    {'z_dim': 2, 'likelihood': {'name': 'gaussian', 'sigma': 'shared'}}
    """
    merged = dict(base)
    for key, value in update.items():
        old = merged.get(key)
        if isinstance(value, Mapping) and isinstance(old, str):
            old = {"name": old}
        if isinstance(value, str) and isinstance(old, Mapping):
            value = {"name": value}
        if isinstance(old, Mapping) and isinstance(value, Mapping):
            renamed = "name" in value and value["name"] != old.get("name", value["name"])
            merged[key] = dict(value) if renamed else merge(old, value)
        else:
            merged[key] = value
    return merged


def read_file(path: Path) -> Config:
    """Read a configuration file: ``model``, ``preset`` and the tables config, data, training."""
    with refusing(f"{path} is not TOML"):
        if not path.is_file():
            raise RequestError(f"no configuration file '{path}'")
        text = read_plain(path, LARGEST_FILE).decode("utf-8")
        if _DEEP_KEY.search(text):
            raise RequestError(f"{path} has a name of more than 100 parts")
        values = tomllib.loads(text)
    entries = ("model", "preset", "vaezoo", *SECTIONS)
    for key, value in values.items():
        if key not in entries:
            raise RequestError(f"{path}: no entry '{key}'; {nearest(key, entries)}")
        if key in ("model", "preset") and not isinstance(value, str):
            raise RequestError(f"{path}: '{key}' must be a name in quotes (got {shown(value)})")
        if key in SECTIONS and not isinstance(value, Mapping):
            raise RequestError(f"{path}: '{key}' must be a table, [{key}]")
    return values


def layers(
    cls: type[nn.Module], preset: str | None, *updates: Mapping[str, Any]
) -> tuple[Config, Training]:
    """Return configuration and training settings of a pair, later layers over earlier ones.

    The order is: the class's defaults, its preset ``default``, the preset asked for, then
    ``updates``. Each may have a table ``training``; a name that is no setting of the pair but one
    of :class:`vaezoo.Training` is taken for that.

    Examples
    --------
    >>> from vaezoo import get_model
    >>> config, training = layers(get_model("vae-bernoulli"), "conv", {"z_dim": 8, "lr": 0.01})
    >>> config["z_dim"], config["net"], training.lr
    (8, 'conv', 0.01)
    """
    presets = entry_of(cls).presets
    if preset not in (None, DEFAULT, *presets):
        raise RequestError(f"no preset '{preset}'; {nearest(str(preset), presets)}")
    chosen = {} if preset == DEFAULT else presets.get(preset or "", {})
    merged: Config = {}
    for layer in (presets.get(DEFAULT, {}), chosen, *updates):
        merged = merge(_without_length(merged, update := _sorted_out(cls, layer)), update)
    training = _with_options(merged.pop("training", {}))
    config, schedule = resolve(cls, merged), checked(Training, training)
    options = resolve_objective(cls, schedule.objective, schedule.objective_options)
    return config, schedule.model_copy(update={"objective_options": options})


def _without_length(merged: Config, update: Config) -> Config:
    """Return settings without the length of a training, where a later layer has another one."""
    if {"epochs", "steps"}.isdisjoint(update.get("training", {})):
        return merged
    training = {n: v for n, v in merged.get("training", {}).items() if n not in ("epochs", "steps")}
    return {**merged, "training": training}


def _with_options(training: Mapping[str, Any]) -> Config:
    """Return settings of a training whose objective, ``{"name": ..., option: value}``, is apart."""
    objective = training.get("objective", {})
    if not isinstance(objective, Mapping):
        return dict(training)
    options = {key: value for key, value in objective.items() if key != "name"}
    shared = {key: options.pop(key) for key in SHARED_OPTIONS if key in options}
    named = {"objective": objective["name"]} if "name" in objective else {}
    rest = {key: value for key, value in training.items() if key != "objective"}
    return {**rest, **shared, **named, "objective_options": options}


def _sorted_out(cls: type, layer: Mapping[str, Any]) -> Config:
    own, training = schema(cls).model_fields, Training.model_fields
    if not isinstance(layer.get("training", {}), Mapping):
        raise RequestError("'training' is a table of settings, as training.lr=0.01")
    shared = {key: value for key, value in layer.items() if key in training and key not in own}
    rest = {key: value for key, value in layer.items() if key not in shared}
    return _with_objective(merge(rest, {"training": shared}) if shared else rest)


def _with_objective(layer: Config) -> Config:
    """Return a layer in which an objective has its options beside its name, as a part has."""
    table = layer.get("training", {})
    options = table.get("objective_options", {})
    if not isinstance(options, Mapping):
        raise RequestError("'objective_options' is a table of options, as objective.alpha=10")
    training = {key: value for key, value in table.items() if key != "objective_options"}
    if options:
        training = merge({"objective": dict(options)}, training)
    return {**layer, "training": training} if "training" in layer else layer
