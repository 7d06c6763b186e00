"""The BibTeX of the papers of the zoo."""

import re
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner

from vaezoo.cli import main
from vaezoo.registry import Entry, citation_of, entries

BIBLIOGRAPHY = Path(citation_of.__code__.co_filename).with_name("references.bib")


@pytest.mark.parametrize("entry", [e for e in entries() if e.reference], ids=lambda e: e.name)
def test_each_paper_that_is_named_has_its_entry(entry: Entry) -> None:
    assert re.match(r"@\w+\{\w+,\n  title = ", citation_of(entry)), entry.reference


def test_no_paper_is_there_twice_and_their_keys_are_sorted() -> None:
    keys = re.findall(r"@\w+\{(\w+),", BIBLIOGRAPHY.read_text(encoding="utf-8"))
    assert keys == sorted(set(keys))


@pytest.mark.parametrize("field", ["eprint", "doi", "title"])
def test_no_two_entries_are_of_one_paper(field: str) -> None:
    values = re.findall(rf"  {field} = (.*),", BIBLIOGRAPHY.read_text(encoding="utf-8"))
    assert len(values) == len(set(values))


@pytest.mark.parametrize("reference", ["arXiv:9999.99999", "Nobody et al. 1999", "", "a talk"])
def test_a_paper_that_is_not_ours_has_none(reference: str) -> None:
    assert citation_of(Entry("theirs", "module:Class", reference=reference)) == ""


def test_show_prints_it_alone() -> None:
    result = CliRunner().invoke(main, ["show", "ladder-vae", "--cite"])
    assert result.stdout.startswith("@inproceedings{sonderby2016ladder,\n")


def test_a_model_without_a_paper_says_so() -> None:
    result = CliRunner().invoke(main, ["show", "independent", "--cite"])
    assert result.exit_code == 2
    assert "it names no paper" in result.stderr


def test_the_citation_of_vaezoo_has_its_version() -> None:
    root = Path(__file__).parents[1]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = (root / "CITATION.cff").read_text(encoding="utf-8")
    assert f"\nversion: {project['version']}\nlicense: {project['license']}\n" in citation
