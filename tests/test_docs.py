"""The documentation mentions what there is, and what there is is documented."""

import re
from pathlib import Path

import click
import pytest

import vaezoo
from vaezoo.cli import COMMANDS, main
from vaezoo.registry import Entry, appendix_of, entries, get_model

DOCS = Path(__file__).parents[1] / "docs"
ZOO = [entry for entry in entries() if entry.target.startswith("vaezoo.models.")]


def commands() -> list[tuple[str, click.Command]]:
    """Return every command that does something, with the words that call it."""
    context = click.Context(main)
    leaves = []
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            leaves += [(f"{name} {word}", part) for word, part in command.commands.items()]
        else:
            leaves.append((name, command))
    return leaves


@pytest.fixture(scope="module")
def text() -> str:
    """Return all pages that are written by hand."""
    return "\n".join(page.read_text(encoding="utf-8") for page in sorted(DOCS.glob("*.md")))


def test_commands_are_on_a_page(text: str) -> None:
    assert [name for name in COMMANDS if not re.search(rf"vaezoo {name}\b", text)] == []


def test_help_has_a_runnable_example() -> None:
    without = [
        name
        for name, command in commands()
        if not re.search(rf"Examples?:\s+vaezoo {name}\b", f"{command.help}\n{command.epilog}")
    ]
    assert without == []


@pytest.mark.parametrize("entry", ZOO, ids=lambda entry: entry.name)
def test_model_states_density_sites_and_reference(entry: Entry) -> None:
    text = appendix_of(get_model(entry.name))
    parts = {
        "model": r"^    p\(x.*=",
        "guide": r"^    q\(z.*=",
        "sites": r"^site +event shape +meaning$",
        "reference": r"^Reference\n    \S",
    }
    assert [name for name, form in parts.items() if not re.search(form, text, re.M)] == []


def test_public_names_have_a_docstring_and_a_place_in_the_reference() -> None:
    page = (DOCS / "reference.md").read_text(encoding="utf-8")
    assert [name for name in vaezoo.__all__ if not getattr(vaezoo, name).__doc__] == []
    missing = [
        name
        for name in vaezoo.__all__
        if not re.search(rf"^\.\. auto\w+:: {name}(\(\))?$", page, re.M)
    ]
    assert missing == []


def test_pages_are_in_the_table_of_contents() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    written = [*DOCS.glob("*.md"), *DOCS.glob("tutorials/*.md")]
    pages = {page.relative_to(DOCS).with_suffix("").as_posix() for page in written} - {"index"}
    assert [page for page in sorted(pages) if not re.search(rf"^{page}$", index, re.M)] == []


def test_every_model_is_on_the_page_that_helps_to_choose() -> None:
    page = (DOCS / "which-model.md").read_text(encoding="utf-8")
    links = re.findall(r"\[([\w-]+)\]\(models/([\w-]+)\.rst\)", page)
    assert [pair for pair in links if pair[0] != pair[1]] == []
    names = {entry.name for entry in ZOO}
    assert {name for name, _ in links} == names
    assert set(re.findall(r"vaezoo train ([\w-]+)(?!\S*\.py)\b", page)) <= names


def test_pictures_of_the_first_page_are_there_and_described() -> None:
    page = (DOCS / "index.md").read_text(encoding="utf-8")
    pictures = re.findall(r'<img src="([^"]+)" alt="([^"]+)"', page)
    assert len(pictures) == page.count("<img")
    assert [name for name, _ in pictures if not (DOCS / name).is_file()] == []
