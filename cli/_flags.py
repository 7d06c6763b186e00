"""The words of the command line for what the library says in those of Python."""

import ast
import re

import click

from vaezoo.errors import command, quoted

__all__ = ["PARTS", "in_flags"]

_ARGUMENT = re.compile(r"(?<!`)`([a-z_]+(?:\.[a-z_]+)*)(?:=([^`]+))?`(?!`)")
_CALL = re.compile(r"`vaezoo\.([a-z_]+\([^`]*\))`")
_COMMANDS = {"fit": "train", "resume": "train --resume", "list_models": "list"}
# Options of train for settings of a pair that are nested in a configuration.
PARTS = {
    "likelihood": ("likelihood",),
    "prior": ("prior",),
    "posterior": ("posterior",),
    "sigma": ("likelihood", "sigma"),
    "sigma_floor": ("likelihood", "floor"),
}
_SHORT = {".".join(path): f"--{name.replace('_', '-')}" for name, path in PARTS.items()}


def in_flags(message: str, running: click.Command | None = None) -> str:
    """Return a message of the library in the words of a command, by default of the running one.

    See :mod:`vaezoo.errors` for the form of such a message. What the command has no flag for is a
    setting of its model, if it takes some, or else the flag of another command.

    Examples
    --------
    >>> in_flags("drop `free_bits`, or use `objective='elbo'`")
    'drop --free-bits, or use --objective elbo'
    >>> in_flags("go on with `vaezoo.resume('runs/a', epochs=20)`")
    'go on with vaezoo train --resume runs/a --epochs 20'
    """
    if running is None:
        context = click.get_current_context(silent=True)
        running = context.command if context else None
    flags = _flags_of(running)
    message = _CALL.sub(lambda match: _in_command(match[1]), message)
    return _ARGUMENT.sub(lambda match: _in_flag(match[1], match[2], flags), message)


def _flags_of(running: click.Command | None) -> dict[str, str]:
    """Return the long flag of each argument of a command, and of each name that is a flag."""
    options = [param for param in getattr(running, "params", ()) if isinstance(param, click.Option)]
    long = [(option, max(option.opts, key=len)) for option in options]
    named = {flag.strip("-").replace("-", "_"): flag for _, flag in long}
    return {**named, **{str(option.name): flag for option, flag in long}}


def _in_flag(name: str, value: str | None, flags: dict[str, str]) -> str:
    word = None if value is None else _typed(value)
    flag = flags.get(name) or _SHORT.get(name)
    if flag is None and ("." in name or "settings" in flags):
        return f"--set {name}={'...' if word is None else word}"
    flag = flag or f"--{name.replace('_', '-')}"
    if word == "False":
        return f"--no-{flag[2:]}"
    return flag if word in (None, "True") else f"{flag} {word}"


def _in_command(source: str) -> str:
    """Return the command of a call, ``resume('runs/a', epochs=20)``."""
    call = ast.parse(source, mode="eval").body
    assert isinstance(call, ast.Call)
    function = ast.unparse(call.func)
    name = _COMMANDS.get(function, function).split()
    flags = [_in_flag(str(word.arg), ast.unparse(word.value), {}) for word in call.keywords]
    return " ".join([command(*name, *map(_word, call.args)), *flags])


def _typed(source: str) -> str:
    try:
        return quoted(_word(ast.parse(source, mode="eval").body))
    except (SyntaxError, ValueError, RecursionError):  # no Python
        return source


def _word(value: ast.expr) -> str:
    """Return a value as a person types it: no quotes, ``1,10`` for a list, ``10:20`` for a pair."""
    if isinstance(value, ast.List | ast.Tuple):
        return ("," if isinstance(value, ast.List) else ":").join(map(_word, value.elts))
    if isinstance(value, ast.Name):
        return value.id.upper()  # as in the help of commands
    return str(value.value) if isinstance(value, ast.Constant) else ast.unparse(value)
