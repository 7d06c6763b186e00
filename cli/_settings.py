"""Settings as flags: options made from typed settings, and ``--set key=value``."""

import tomllib
import types
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import click
from click.core import ParameterSource
from pydantic.fields import FieldInfo

from vaezoo.cli._shared import Decorator
from vaezoo.errors import RequestError, refusing, shown
from vaezoo.settings import Settings, texts_of_fields

__all__ = ["nested", "parse_settings", "setting_options", "typed_settings", "typed_words"]

MOST_SHOWN = 1e6


def setting_options(kind: type[Settings], *, leave_out: Sequence[str] = ()) -> Decorator:
    """Return the options of a kind of settings: types, ranges, choices, defaults and help."""
    texts = texts_of_fields(kind)
    fields = kind.model_fields.items()
    options = [_option(name, field, texts[name]) for name, field in fields if name not in leave_out]

    def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
        for option in reversed(options):
            command = option(command)
        return command

    return decorate


def _option(name: str, field: FieldInfo, text: str) -> Decorator:
    annotation, bounds = _without_none(field)
    flag = f"--{name.replace('_', '-')}"
    if annotation is bool and field.default is None:  # there is a yes, a no, and neither
        flag = f"{flag}/--no-{flag[2:]}"
    return click.option(
        flag,
        type=_type(annotation, bounds),
        is_flag=annotation is bool,
        default=field.default,
        show_default=field.default is not None and annotation is not bool,
        help=text,
    )


def _without_none(field: FieldInfo) -> tuple[Any, list[Any]]:
    """Return the type of a field and its bounds, whether or not it may be None."""
    annotation = field.annotation
    if get_origin(annotation) in (Union, types.UnionType):
        (annotation,) = (part for part in get_args(annotation) if part is not type(None))
    if get_origin(annotation) is Annotated:
        annotation, *bounds = get_args(annotation)
        return annotation, [b for each in bounds for b in getattr(each, "metadata", [each])]
    return annotation, field.metadata


def _type(annotation: Any, bounds: Sequence[Any]) -> Any:
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    if annotation not in (int, float):
        return annotation
    names = ("ge", "gt", "le", "lt")
    limits = {n: getattr(bound, n) for bound in bounds for n in names if hasattr(bound, n)}
    if limits.get("le", 0) > MOST_SHOWN:  # what no number exceeds is no help to a reader
        del limits["le"]
    kind = click.IntRange if annotation is int else click.FloatRange
    return kind(
        min=limits.get("ge", limits.get("gt")),
        max=limits.get("le", limits.get("lt")),
        min_open="gt" in limits,
        max_open="lt" in limits,
    )


def typed_words() -> dict[str, Any]:
    """Return what a person typed for the running command, without what is at its default."""
    context = click.get_current_context()
    return {
        name: value
        for name, value in context.params.items()
        if context.get_parameter_source(name) is not ParameterSource.DEFAULT
    }


def typed_settings(kind: type[Settings]) -> dict[str, Any]:
    """Return the settings of a kind that a person typed."""
    return {name: value for name, value in typed_words().items() if name in kind.model_fields}


def parse_settings(assignments: Sequence[str]) -> dict[str, Any]:
    """Return the settings of ``key=value`` words; values are TOML, or else plain strings.

    Examples
    --------
    >>> parse_settings(["z_dim=16", "hidden=[64, 64]", "likelihood.sigma=shared"])
    {'z_dim': 16, 'hidden': [64, 64], 'likelihood': {'sigma': 'shared'}}
    >>> parse_settings(["hidden=200,100"])
    {'hidden': [200, 100]}
    """
    from vaezoo.config import merge

    settings: dict[str, Any] = {}
    for assignment in assignments:
        key, separator, text = assignment.partition("=")
        if not (separator and key.strip()):
            raise RequestError(f"'{assignment}' is no setting; write --set key=value")
        with refusing(f"{shown(assignment)} cannot be read"):
            value = _parse_value(text.strip())
            settings = merge(settings, nested(key.strip().split("."), value))
    return settings


def nested(path: Sequence[str], value: object) -> dict[str, Any]:
    """Return a value as the setting at the end of a path.

    Examples
    --------
    >>> nested(["likelihood", "sigma"], "shared")
    {'likelihood': {'sigma': 'shared'}}
    """
    *tables, name = path
    setting = {name: value}
    for table in reversed(tables):
        setting = {table: setting}
    return setting


def _parse_value(text: str) -> Any:
    # Numbers with commas between them are a list; names with commas stay a text.
    for source in (text, f"[{text}]") if "," in text else (text,):
        try:
            return tomllib.loads(f"value = {source}")["value"]
        except (ValueError, RecursionError):  # no TOML, or none that can be read
            continue
    return text
