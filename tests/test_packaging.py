"""What is installed is what lies in the repository."""

import subprocess
import sys
import tomllib
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.skipif(
    not (ROOT / "pyproject.toml").is_file(), reason="not run from a checkout"
)


@pytest.fixture
def project() -> dict[str, Any]:
    values: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
    return values


def packages_under(folder: Path, name: str) -> set[str]:
    files = [path for path in folder.rglob("__init__.py") if not crosses_a_link(path, folder)]
    parts = [path.parent.relative_to(folder).parts for path in files]
    return {".".join((name, *part)) for part in parts}


def crosses_a_link(path: Path, folder: Path) -> bool:
    return any(parent.is_symlink() for parent in path.parents if folder in parent.parents)


def test_every_package_is_installed(project: dict[str, Any]) -> None:
    folders = project["tool"]["setuptools"]["package-dir"]
    packages = set().union(*(packages_under(ROOT / path, name) for name, path in folders.items()))
    assert sorted(packages) == sorted(project["tool"]["setuptools"]["packages"])


def test_templates_are_installed(project: dict[str, Any]) -> None:
    data = project["tool"]["setuptools"]["package-data"]
    folders = {package: ROOT / package.replace(".", "/") for package in data}
    files = {file for name in data for glob in data[name] for file in folders[name].glob(glob)}
    assert {path.name for path in files} >= {"py.typed", "pair.py", "sequence_pair.py"}


@pytest.mark.parametrize("name", ["models", "cli"])
def test_links_point_into_the_repository(name: str) -> None:
    link = ROOT / "vaezoo" / name
    assert link.is_symlink()
    assert link.readlink() == Path("..") / name


def test_installed_version_is_this_one(project: dict[str, Any]) -> None:
    assert version("vaezoo") == project["project"]["version"]


def test_installed_requirements_are_these(project: dict[str, Any]) -> None:
    wanted = {text.partition(">")[0] for text in project["project"]["dependencies"]}
    installed = {text.partition(">")[0].partition("<")[0] for text in requires("vaezoo") or ()}
    assert wanted <= installed


@pytest.mark.parametrize("name", ["models", "cli"])
def test_root_folders_refuse_to_be_imported_by_their_own_name(name: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", f"import {name}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 1
    assert f"as 'vaezoo.{name}'" in result.stderr.splitlines()[-1]


def test_tests_are_no_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []
