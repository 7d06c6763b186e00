"""``vaezoo show``."""

import re
from types import UnionType
from typing import TYPE_CHECKING, Any

import click

from vaezoo.cli._shared import complete_model, echo_json, json_option, table
from vaezoo.cli._streams import echo

if TYPE_CHECKING:
    from torch import nn


__all__ = ["show"]


@click.command()
@click.argument("model", metavar="MODEL", shell_complete=complete_model)
@json_option
def show(model: str, as_json: bool) -> None:
    """Show a model: its distributions, sites, settings and presets.

    MODEL is a name of the zoo, a file ./my_vae.py, or package.module:Class.

    \b
    Example:
      vaezoo show vae-gaussian
    """
    from vaezoo.registry import appendix_of, entry_of, get_model

    cls = get_model(model)
    entry = entry_of(cls)
    settings, objectives, commands = _settings(cls), _objectives(cls), _commands(cls)
    if as_json:
        presets = {name: dict(values) for name, values in entry.presets.items()}
        values = {"name": entry.name, "settings": settings, "presets": presets}
        echo_json({**values, "objectives": objectives, "commands": commands})
        return
    echo(f"{entry.name}  {entry.reference}\n")
    echo(_as_text(appendix_of(cls)) + "\n")
    rows = [(name, str(value["default"]), value["type"]) for name, value in settings.items()]
    table([("setting", "default", "type or choices"), *rows])
    if entry.presets:
        echo()
        table([("preset", "settings"), *((name, _line(v)) for name, v in entry.presets.items())])
    echo()
    rows_of_all = [
        (name, option, str(value["default"]), value["type"])
        for name, options in objectives.items()
        for option, value in options.items()
    ]
    table([("objective", "option", "default", "type or choices"), *rows_of_all])
    echo()
    table([("of sequences", "answered"), *commands.items()])


def _as_text(page: str) -> str:
    """Return a page without what only Sphinx reads; the columns of its tables stay."""
    page = re.sub(r":\w+:`~?([^`]+)`", r"\1", page)
    page = re.sub(r"``([^`]+)``(?=  )", r"\1    ", page)
    return page.replace("``", "")


def _settings(cls: "type[nn.Module]") -> dict[str, dict[str, Any]]:
    from vaezoo.config import axes, resolve

    defaults = resolve(cls, {})
    parts = axes(cls)
    shown = _of_class(cls, {k: v for k, v in defaults.items() if k not in parts})
    for name, axis in parts.items():
        chosen = defaults[name]["name"]
        shown[name] = {"default": chosen, "type": ", ".join(axis.choices_for(cls))}
        options = {key: value for key, value in defaults[name].items() if key != "name"}
        for option, value in _of_class(axis.find(chosen, cls), options).items():
            shown[f"{name}.{option}"] = value
    return shown


def _objectives(cls: "type[nn.Module]") -> dict[str, dict[str, dict[str, Any]]]:
    """Return the options of every objective that a pair of a class can be trained for."""
    from vaezoo.objectives import OBJECTIVES

    choices = OBJECTIVES.choices_for(cls)
    return {name: _of_class(choice, _defaults_of(choice)) for name, choice in choices.items()}


def _commands(cls: "type[nn.Module]") -> dict[str, str]:
    """Return which commands about time a pair can answer, and what its form has to be for them.

    It is what a class says; what its sites say only a run knows, and each command.
    """
    from vaezoo.pairs.sites import takes_lengths
    from vaezoo.sequences import SequencePair

    asked = ("forecast", "sample --prefix", "impute --gap", "evaluate --fivo, --free-running")
    if not takes_lengths(cls):
        return dict.fromkeys(asked, "no: it takes no `length`")
    through_latents = "where frames depend on each other through latents alone"
    if issubclass(cls, SequencePair):
        answers = dict.fromkeys(asked, "yes: it is written as one step")
        return answers | ({"impute --gap": through_latents} if cls.inputs else {})
    by_sites = "where its sites are numbered by their step"
    return {
        "forecast": f"{by_sites}, or a path goes on",
        "sample --prefix": f"{by_sites}, or a path goes on",
        "impute --gap": through_latents,
        "evaluate --fivo, --free-running": by_sites,
    }


def _defaults_of(cls: type) -> dict[str, Any]:
    from vaezoo.config import schema

    fields = schema(cls).model_fields.items()
    return {name: "(needed)" if field.is_required() else field.default for name, field in fields}


def _of_class(cls: type, defaults: dict[str, Any]) -> dict[str, dict[str, Any]]:
    from vaezoo.config import schema

    fields = schema(cls).model_fields
    return {
        name: {"default": value, "type": fields[name].description or _type(fields[name].annotation)}
        for name, value in defaults.items()
    }


def _type(annotation: Any) -> str:
    from typing import Literal, Union, get_args, get_origin

    if get_origin(annotation) is Literal:
        return ", ".join(str(choice) for choice in get_args(annotation))
    if get_origin(annotation) in (Union, UnionType):
        return ", ".join(_type(choice) for choice in get_args(annotation))
    if get_origin(annotation) is tuple:
        return "list"
    return getattr(annotation, "__name__", str(annotation))


def _line(values: object) -> str:
    if isinstance(values, dict):
        words = (
            f"{k}=({_line(v)})" if isinstance(v, dict) else f"{k}={v}" for k, v in values.items()
        )
        return ", ".join(words)
    return str(values)
