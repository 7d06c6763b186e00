"""The page on a user's own data names the flag of every refusal, and every kind of file."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import vaezoo
from vaezoo.cli._flags import in_flags
from vaezoo.cli.train import train
from vaezoo.data.files.reader import ENDINGS

ROOT = Path(vaezoo.__file__).parent
PAGE = Path(__file__).parents[2] / "docs" / "data.md"
ARGUMENT = re.compile(r"(?<!`)`([a-z_]+)(?:=[^`]*)?`(?!`)")
IN_PYTHON_ONLY = {"splits"}  # of from_arrays

pytestmark = pytest.mark.skipif(not PAGE.is_file(), reason="no documentation beside the package")


def texts(node: ast.AST) -> Iterator[str]:
    """Texts in the source, whole, with a gap for each value in them; docstrings left out."""
    for one in ast.iter_child_nodes(node):
        if isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant):
            continue
        if isinstance(one, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "..." for part in one.values)
            yield "".join(map(str, parts))
        elif isinstance(one, ast.Constant) and isinstance(one.value, str):
            yield one.value
        else:
            yield from texts(one)


def arguments() -> set[str]:
    files = sorted((ROOT / "data").rglob("*.py"))
    trees = (ast.parse(file.read_text(encoding="utf-8")) for file in files)
    return {name for tree in trees for text in texts(tree) for name in ARGUMENT.findall(text)}


def test_the_sources_name_arguments() -> None:
    assert {"window", "group", "resize", "types", "binarize"} <= arguments()


def test_flags_of_refusals_are_on_the_page() -> None:
    flags = {in_flags(f"`{name}`", train) for name in arguments() - IN_PYTHON_ONLY}
    page = PAGE.read_text(encoding="utf-8")
    assert {flag for flag in flags if flag not in page} == set()


def test_settings_of_data_are_on_the_page() -> None:
    names = vaezoo.settings.DataSettings.model_fields.keys() - {"name", "dir", "categories"}
    flags = {in_flags(f"`{name}`", train) for name in names}
    page = PAGE.read_text(encoding="utf-8")
    assert {flag for flag in flags if flag not in page} == set()


def test_kinds_of_file_are_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert {ending for ending in ENDINGS if ending not in page} == set()
