"""Commits are read, and nothing of a checkout is executed."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import vaezoo
from vaezoo.runs.checkout import commit_of
from vaezoo.runs.environment import describe_environment
from vaezoo.testing import scaffold

COMMIT, OTHER = "0123456789" * 4, "abcdef0123" * 4


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git = tmp_path / "checkout" / ".git"
    (git / "refs/heads").mkdir(parents=True)
    (git / "HEAD").write_text("ref: refs/heads/a/topic-1.2\n")
    return git.parent


def set_ref(checkout: Path, content: str = f"{COMMIT}\n") -> Path:
    ref = checkout / ".git/refs/heads/a/topic-1.2"
    ref.parent.mkdir()
    ref.write_text(content)
    return ref


def test_commit_of_a_branch(checkout: Path) -> None:
    set_ref(checkout)
    assert commit_of(checkout) == COMMIT


def test_commit_is_that_of_a_folder_above(checkout: Path) -> None:
    set_ref(checkout)
    (checkout / "src").mkdir()
    assert commit_of(checkout / "src") == COMMIT
    assert commit_of(checkout / "src", above=False) is None


def test_commit_of_a_packed_branch(checkout: Path) -> None:
    packed = f"# pack-refs with: peeled\n{OTHER} refs/heads/a\n{COMMIT} refs/heads/a/topic-1.2\n"
    (checkout / ".git/packed-refs").write_text(packed)
    assert commit_of(checkout) == COMMIT


def test_commit_without_a_branch(checkout: Path) -> None:
    (checkout / ".git/HEAD").write_text(COMMIT)
    assert commit_of(checkout) == COMMIT


def test_commit_of_a_worktree(checkout: Path, tmp_path: Path) -> None:
    set_ref(checkout)
    private = checkout / ".git/worktrees/one"
    private.mkdir(parents=True)
    (private / "HEAD").write_text("ref: refs/heads/a/topic-1.2\n")
    (private / "commondir").write_text("../..\n")
    (tmp_path / "one").mkdir()
    (tmp_path / "one/.git").write_text(f"gitdir: {private}\n")
    assert commit_of(tmp_path / "one") == COMMIT


HEADS = ("", "ref: refs/heads/none", "ref: ../../secret", "ref: refs/../../secret", "\0", "é")


@pytest.mark.parametrize("head", [*HEADS, "f" * 39])
def test_head_that_is_none_gives_no_commit(checkout: Path, head: str) -> None:
    (checkout / ".git/HEAD").write_text(head, encoding="utf-8")
    (checkout.parent / "secret").write_text(COMMIT)
    assert commit_of(checkout) is None


def test_ref_that_is_no_commit_is_not_told(checkout: Path) -> None:
    set_ref(checkout, "a password")
    assert commit_of(checkout) is None


def test_gitdir_on_a_server_is_not_visited(checkout: Path) -> None:
    shutil.rmtree(checkout / ".git")
    (checkout / ".git").write_text("gitdir: //server/share")
    assert commit_of(checkout) is None


def test_endless_head_is_not_read(checkout: Path) -> None:
    (checkout / ".git/HEAD").write_text("ref: " + "a" * 2**20)
    assert commit_of(checkout) is None


@pytest.mark.skipif(os.name == "nt", reason="links and pipes of POSIX")
def test_no_link_is_followed_and_no_pipe_waited_for(checkout: Path) -> None:
    ref = set_ref(checkout)
    ref.rename(checkout / "elsewhere")
    ref.symlink_to(checkout / "elsewhere")
    assert commit_of(checkout) is None
    (checkout / ".git/HEAD").unlink()
    os.mkfifo(checkout / ".git/HEAD")
    assert commit_of(checkout) is None


def run_git(checkout: Path, *words: str) -> None:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.org")
    subprocess.run(["git", *identity, *words], cwd=checkout, check=True, capture_output=True)


@pytest.mark.skipif(os.name == "nt", reason="a script of POSIX")
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_nothing_that_a_checkout_names_is_executed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both settings are executed by ``git describe --dirty``, as the last line makes sure."""
    checkout, canary = tmp_path / "hostile", tmp_path / "canary"
    checkout.mkdir()
    run_git(checkout, "init", "-q")
    (checkout / "data.txt").write_text("data\n")
    (checkout / ".gitattributes").write_text("*.txt filter=mine\n")
    run_git(checkout, "add", ".")
    run_git(checkout, "commit", "-q", "-m", "first")
    (checkout / "script").write_text(f"#!/bin/sh\ntouch {canary}\ncat\n")
    (checkout / "script").chmod(0o755)
    run_git(checkout, "config", "core.fsmonitor", str(checkout / "script"))
    run_git(checkout, "config", "filter.mine.clean", str(checkout / "script"))
    (checkout / "data.txt").write_text("other data\n")
    monkeypatch.chdir(checkout)
    scaffold.write(checkout / "pair.py")
    run = vaezoo.fit("pair.py", "digits", training={"steps": 1}, out="run")
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
    assert run.info["commits"]["model"] == head.stdout.strip()
    assert not canary.exists()
    subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, check=True)
    assert canary.exists()


def test_a_pair_of_the_zoo_has_no_file() -> None:
    assert "model" not in describe_environment(vaezoo.get_model("vae-linear"))["commits"]
