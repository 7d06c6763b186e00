"""The documentation mentions what there is, and what there is is documented."""

import importlib
import re
from pathlib import Path

import click
import pytest

import vaezoo
from vaezoo.cli import COMMANDS, main
from vaezoo.registry import Entry, entries

DOCS = Path(__file__).parents[1] / "docs"
ZOO = [entry for entry in entries() if entry.target.startswith("vaezoo.models.")]


def commands() -> list[tuple[str, click.Command]]:
    """Return every command that does something, with the words that call it."""
    context = click.Context(main)
    found = []
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            found += [(f"{name} {word}", part) for word, part in command.commands.items()]
        else:
            found.append((name, command))
    return found


@pytest.fixture(scope="module")
def text() -> str:
    """Return all pages that are written by hand."""
    return "\n".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md")))


@pytest.mark.parametrize("name", COMMANDS)
def test_command_is_on_a_page(name: str, text: str) -> None:
    assert re.search(rf"vaezoo {name}\b", text)


@pytest.mark.parametrize(("name", "command"), commands(), ids=lambda value: str(value))
def test_help_has_a_runnable_example(name: str, command: click.Command) -> None:
    text = f"{command.help}\n{command.epilog}"
    assert re.search(rf"Examples?:\s+vaezoo {name}\b", text)


@pytest.mark.parametrize("entry", ZOO, ids=lambda entry: entry.name)
def test_model_states_density_sites_and_reference(entry: Entry) -> None:
    text = importlib.import_module(entry.target.partition(":")[0]).__doc__ or ""
    parts = {
        "model": r"^    p\(x.*=",
        "guide": r"^    q\(z.*=",
        "sites": r"^site +event shape +meaning$",
        "reference": r"^Reference\n    \S",
    }
    assert [name for name, form in parts.items() if not re.search(form, text, re.M)] == []


@pytest.mark.parametrize("name", vaezoo.__all__)
def test_public_name_has_a_docstring_and_a_place_in_the_reference(name: str) -> None:
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert getattr(vaezoo, name).__doc__
    assert re.search(rf"^\.\. auto\w+:: {name}(\(\))?$", page, re.M)


@pytest.mark.parametrize("page", sorted(DOCS.glob("*.md")), ids=lambda page: page.name)
def test_page_is_in_the_table_of_contents(page: Path) -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    assert page.stem == "index" or re.search(rf"^{page.stem}$", index, re.M)
