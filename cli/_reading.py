"""How a user's own data are read: the options that `train` and `data show` share."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

import click

from vaezoo.cli._shared import Decorator
from vaezoo.errors import RequestError, nearest
from vaezoo.options import ColumnType

__all__ = ["READING", "reading_options", "reading_settings", "reading_words"]

# Settings of data that have an option here, of another form than its type would give.
READING = ("columns", "label", "drop", "types", "categories")


def _parse_columns(
    context: click.Context, parameter: click.Parameter, words: Sequence[str]
) -> dict[str, str | tuple[str, ...]]:
    columns: dict[str, str | tuple[str, ...]] = {}
    for word in words:
        name, separator, text = word.partition("=")
        names = tuple(part.strip() for part in text.split(",") if part.strip())
        if not (separator and name and names):
            raise RequestError(f"'{word}' names no column; write --column c=age,income")
        columns[name.strip()] = names if "," in text else names[0]
    return columns


_column_option = click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="NAME=COLUMN,...",
    callback=_parse_columns,
    help="Columns of a table that are another argument of the model, as c=age,income; repeatable.",
)


def _parse_names(
    context: click.Context, parameter: click.Parameter, words: Sequence[str]
) -> tuple[str, ...]:
    return tuple(part.strip() for word in words for part in word.split(",") if part.strip())


def _parse_types(
    context: click.Context, parameter: click.Parameter, words: Sequence[str]
) -> dict[str, str]:
    types = {}
    for word in words:
        names, separator, kind = word.rpartition("=")
        if not separator:
            raise RequestError(f"'{word}' names no type; write --types code=category")
        if kind not in get_args(ColumnType):
            raise RequestError(f"--types: no type '{kind}'; {nearest(kind, get_args(ColumnType))}")
        types.update({name.strip(): kind for name in names.split(",")})
    return types


_OPTIONS = (
    _column_option,
    click.option(
        "--columns",
        "elements",
        multiple=True,
        metavar="COLUMN,...",
        callback=_parse_names,
        help="Columns of a table, or the array of a file, that are x, instead of all.",
    ),
    click.option(
        "--label",
        metavar="COLUMN|none",
        help="Column, or array, that is the label.  [default: label, y, class or target]",
    ),
    click.option(
        "--drop",
        multiple=True,
        metavar="COLUMN,...",
        callback=_parse_names,
        help="Columns of a table that are left out.",
    ),
    click.option(
        "--types",
        multiple=True,
        metavar="COLUMN,...=TYPE",
        callback=_parse_types,
        help=f"Types of columns of a table: {', '.join(get_args(ColumnType))}; repeatable.",
    ),
)


def reading_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options that say how data are read."""
    decorate: Decorator
    for decorate in reversed(_OPTIONS):
        command = decorate(command)
    return command


def reading_settings(words: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of data of the options that a person typed."""
    settings = {name: words[name] for name in READING if words.get(name)}
    if elements := words.get("elements"):
        settings["columns"] = {**settings.get("columns", {}), "x": elements}
    return settings


def reading_words(words: Mapping[str, Any]) -> list[str]:
    """Return the words of the options that a person typed, for another command.

    Examples
    --------
    >>> reading_words({"label": "kind", "drop": ("id", "name"), "types": {"zip": "category"}})
    ['--label', 'kind', '--drop', 'id,name', '--types', 'zip=category']
    """
    said = ["--label", words["label"]] if words.get("label") else []
    for flag, name in (("--columns", "elements"), ("--drop", "drop")):
        said += [flag, ",".join(words[name])] if words.get(name) else []
    for name, columns in (words.get("columns") or {}).items():
        said += ["--column", f"{name}={columns if isinstance(columns, str) else _listed(columns)}"]
    for name, kind in (words.get("types") or {}).items():
        said += ["--types", f"{name}={kind}"]
    return said


def _listed(names: Sequence[str]) -> str:
    """Return names as a person types several; one alone has a comma behind it."""
    return ",".join(names) + "," * (len(names) == 1)
