"""A page for every model of the zoo: its docstring, its settings, its source."""

import inspect
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from click.testing import CliRunner

from vaezoo.cli.show import show
from vaezoo.registry import Entry, appendix_of, entries, get_model

__all__ = ["write"]

_DATA = {"images": "digits", "vectors": "digits", "sequences": "digits-rows"}


def write(folder: Path) -> None:
    """Write ``index.rst`` and one page per model; a page that has not changed stays untouched."""
    zoo = [entry for entry in entries() if entry.target.startswith("vaezoo.models.")]
    pages = {f"{entry.name}.rst": "\n".join(_page(entry)) + "\n" for entry in zoo}
    pages["index.rst"] = "\n".join(_index(zoo)) + "\n"
    folder.mkdir(exist_ok=True)
    for old in folder.glob("*.rst"):
        if old.name not in pages:
            old.unlink()
    for name, text in pages.items():
        path = folder / name
        if not path.is_file() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _index(zoo: Sequence[Entry]) -> Iterator[str]:
    yield from _title("Which models are there?", "=")
    yield "Each structure is one file in the folder ``models``: a Pyro model and a Pyro guide. A"
    yield "paper's variant of it is a registration in that file, with other defaults."
    yield "``vaezoo list`` prints this table, ``vaezoo show NAME`` a page.\n"
    rows = [(f":doc:`{e.name}`", e.data, e.reference, e.summary) for e in zoo]
    yield from _table(("model", "data", "reference", "what it is"), rows)
    yield from ("", ".. toctree::", "   :hidden:", "")
    yield from (f"   {entry.name}" for entry in zoo)


def _page(entry: Entry) -> Iterator[str]:
    cls = get_model(entry.name)
    facts = json.loads(CliRunner().invoke(show, [entry.name, "--json"]).stdout)
    yield from _title(entry.name, "=")
    yield _rst(appendix_of(cls))
    yield ""
    yield from _title("Train it", "-")
    data = _DATA[entry.data]
    yield f"Without ``--data`` it trains on ``{data}``, which needs no network:\n"
    yield from (".. code-block:: bash", "", f"   vaezoo train {entry.name}", "")
    yield from _title("Settings", "-")
    yield "Each is set by ``--set NAME=VALUE``; a dot reaches an option of a part.\n"
    settings = facts["settings"]
    rows = [(_code(name), _code(s["default"]), s["type"]) for name, s in settings.items()]
    yield from _table(("setting", "default", "type or choices"), rows)
    if facts["presets"]:
        yield from _title("Presets", "-")
        yield "``--preset NAME`` sets several at once; ``default`` always applies.\n"
        presets = facts["presets"].items()
        rows = [(_code(name), ", ".join(_flat(values))) for name, values in presets]
        yield from _table(("preset", "what it sets"), rows)
    yield from _title("The source", "-")
    yield ".. code-block:: python\n"
    yield _indented(_source(cls))


def _source(cls: type) -> str:
    """Return the file without its docstring, or a variant: its registration, and what it varies."""
    varied = cls.__mro__[1]
    if varied.__module__ != cls.__module__:
        return inspect.getsource(sys.modules[cls.__module__]).split('"""', 2)[-1].strip()
    registration = inspect.getsource(cls).split('"""')
    return f"{inspect.getsource(varied)}\n\n{registration[0]}...".strip()


def _title(text: str, underline: str) -> Iterator[str]:
    yield from (text, underline * len(text), "")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield from (".. list-table::", "   :header-rows: 1", "")
    for row in (head, *rows):
        for index, cell in enumerate(row):
            yield f"   {'* -' if index == 0 else '  -'} {cell}"
    yield ""


def _code(value: object) -> str:
    return f"``{value}``"


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, "" if key == "training" else f"{key}.")
        else:
            yield _code(f"{prefix}{key}={value}")


def _rst(text: str) -> str:
    """Return a docstring with its indented formulas as literal blocks."""
    lines: list[str] = []
    for line in text.splitlines():
        starts = line.startswith("    ") and lines and not lines[-1].strip()
        above = next((old for old in reversed(lines) if old.strip()), "")
        if starts and not above.startswith(" "):
            lines += [".. code-block:: none", ""]
        lines.append(line)
    return "\n".join(lines)


def _indented(text: str) -> str:
    return "\n".join(f"   {line}".rstrip() for line in text.splitlines())
