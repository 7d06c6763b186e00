"""What Inductor finds on disk it executes: only in a folder of the user's own."""

import os
from pathlib import Path

import pytest
from torch._inductor.runtime import cache_dir_utils

from vaezoo.engine import compiler

VARIABLE = "TORCHINDUCTOR_CACHE_DIR"


@pytest.fixture
def shared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder below the one for temporary files whose name everybody knows."""
    folder = tmp_path / "torchinductor_me"
    monkeypatch.setenv(VARIABLE, "")  # so that it is restored
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(compiler, "_usual_folder", lambda: folder)
    monkeypatch.setattr(compiler, "cache_folder", lambda: tmp_path / "cache/vaezoo")
    return folder


def test_folder_that_is_free_is_taken(shared: Path) -> None:
    assert compiler._cache_folder() == shared
    assert compiler._cache_folder() == shared


@pytest.mark.skipif(os.name == "nt", reason="no permission bits")
def test_folder_is_the_users_alone(shared: Path) -> None:
    assert compiler._cache_folder().stat().st_mode & 0o777 == 0o700


@pytest.mark.skipif(os.name == "nt", reason="no permission bits")
def test_folder_that_others_can_write_to_is_left(shared: Path, tmp_path: Path) -> None:
    shared.mkdir()
    shared.chmod(0o777)
    assert compiler._cache_folder() == tmp_path / "cache/vaezoo/inductor"


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_link_is_not_followed(shared: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    shared.symlink_to(tmp_path / "elsewhere")
    assert compiler._cache_folder() == tmp_path / "cache/vaezoo/inductor"


def test_folder_that_the_user_names_is_taken(
    shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(tmp_path / "named"))
    assert compiler._cache_folder() == tmp_path / "named"


def test_folder_is_the_one_of_inductor() -> None:
    assert str(compiler._usual_folder()) == cache_dir_utils.default_cache_dir()
