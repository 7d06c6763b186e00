"""``--given NAME=VALUE|FILE``: the conditions under which a conditional pair predicts."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from vaezoo.errors import RequestError, refusing

__all__ = ["given_option"]

ENDINGS = (".csv", ".npy", ".npz")


def _parse(context: click.Context, parameter: click.Parameter, words: Sequence[str]) -> Any:
    return dict(map(_condition, words)) or None


given_option = click.option(
    "--given",
    multiple=True,
    metavar="NAME=VALUE|FILE",
    callback=_parse,
    help="A condition of a conditional model: label=3, c=0.5,1.2 or u=rows.npy; repeatable.",
)


def _condition(word: str) -> tuple[str, Any]:
    name, separator, text = word.partition("=")
    if not (separator and name and text):
        raise RequestError(f"'{word}' gives no condition; write --given label=3, or c=rows.npy")
    if Path(text).suffix.lower() in ENDINGS:
        return name, _read(name, Path(text).expanduser())
    return name, _numbers(word, text)


def _numbers(word: str, text: str) -> Any:
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError as error:
        raise RequestError(
            f"'{word}' gives no number; write numbers with commas between them, or a file that "
            f"ends in {', '.join(ENDINGS)}"
        ) from error
    return numbers if "," in text else numbers[0]


def _read(name: str, path: Path) -> Any:
    """Return the rows of a file: an array, that of the name, or all columns of a table."""
    import numpy as np

    from vaezoo.runtime.arrays import load_arrays

    with refusing(f"--given {name}: cannot read '{path}' as numbers"):
        if not path.is_file():
            raise RequestError(f"--given {name}: no file '{path}'")
        if path.suffix.lower() == ".csv":
            return np.genfromtxt(path, delimiter=",", skip_header=_has_names(path))
        stored = load_arrays(path)
        if not isinstance(stored, dict):
            return np.array(stored)  # torch warns of memory that cannot be written
        key = name if name in stored else next(iter(stored))
        if name not in stored and len(stored) != 1:
            arrays = ", ".join(stored)
            raise RequestError(f"--given {name}: '{path}' has the arrays {arrays}, and no '{name}'")
        return stored[key]


def _has_names(path: Path) -> int:
    with path.open(encoding="utf-8") as file:
        first = file.readline().split(",")
    try:
        [float(cell) for cell in first]
    except ValueError:
        return 1
    return 0
