"""Code runs when it was named, or trained here; never because a file names it.

The canary is a folder that hostile code makes: it is there if that was executed.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib._bootstrap_external import _code_to_hash_pyc
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from vaezoo import RequestError, fit, get_model, load_run, resume
from vaezoo.cli import main
from vaezoo.registry import catalogue
from vaezoo.runs import trust
from vaezoo.runs.trust import named_class
from vaezoo.testing import scaffold

Vaezoo = Callable[..., Result]


@pytest.fixture
def canary(tmp_path: Path) -> Path:
    return tmp_path / "canary"


@pytest.fixture
def hostile(canary: Path) -> str:
    """A line of Python."""
    return f"import os; os.makedirs({str(canary)!r}, exist_ok=True)\n"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache, empty."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(trust, "_folder", lambda: tmp_path / "cache" / "trusted")
    return tmp_path / "cache" / "trusted"


def write_pair(path: Path, *more: str) -> str:
    path.parent.mkdir(exist_ok=True)
    scaffold.write(path)
    path.write_text("".join(more) + path.read_text())
    return next(
        line.split("(")[0][6:] for line in path.read_text().splitlines() if "class " in line
    )


@pytest.fixture
def run(tmp_path: Path, cache: Path) -> Path:
    """A run that was trained here, of a file with another beside it."""
    write_pair(tmp_path / "project/pair.py", "import layers\n")
    (tmp_path / "project/layers.py").write_text("WIDTH = 3\n")
    pair = str(tmp_path / "project/pair.py")
    fit(pair, "digits", training={"steps": 1}, out=tmp_path / "run")
    return tmp_path / "run"


@pytest.mark.parametrize(
    "model", ["model.py", "./model.py", "model.py:{name}", "{folder}/model.py"]
)
def test_file_that_a_configuration_names_is_not_run(
    vaezoo: Vaezoo, tmp_path: Path, canary: Path, hostile: str, model: str
) -> None:
    name = write_pair(tmp_path / "model.py", hostile)
    (tmp_path / "config.toml").write_text(f'model = "{model.format(name=name, folder=tmp_path)}"')
    result = vaezoo("train", "--config", "config.toml", "--steps", "1", "--json")
    assert (result.exit_code, canary.exists()) == (2, False)
    assert "vaezoo train" in result.stderr
    assert "--config config.toml" in result.stderr


def test_file_that_a_configuration_names_is_run_when_the_user_names_it(
    vaezoo: Vaezoo, tmp_path: Path, canary: Path, hostile: str
) -> None:
    write_pair(tmp_path / "model.py", hostile)
    (tmp_path / "config.toml").write_text('model = "model.py"\n[training]\nsteps = 1\n')
    result = vaezoo("train", "model.py", "--config", "config.toml", "--json")
    assert (result.exit_code, canary.exists()) == (0, True)


def test_file_that_is_not_there_is_said_to_be_missing(vaezoo: Vaezoo, tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text('model = "model.py"')
    result = vaezoo("train", "--config", "config.toml")
    assert result.exit_code == 2
    assert "model.py, which is not there" in result.stderr


def test_configuration_may_name_what_was_trained_here(vaezoo: Vaezoo, run: Path) -> None:
    (run / "run.json").unlink()
    assert vaezoo("train", "--config", run / "config.toml", "--json").exit_code == 0


NAMES = (
    "model.py", "./model.py", "././model.py", ".//model.py", "sub/model.py", "sub/../model.py",
    "../{here}/model.py", "{folder}/model.py", "{folder}/sub/model.py", "~/model.py",
    "file:model.py", "file://{folder}/model.py", "model.PY", "model.pyw", "model", "model:Pair",
    "sub.model:Pair", "sub:Pair", "{here}.model:Pair", ".model:Pair", "..model:Pair", ":model.py",
    "model.py:", "model.py::Pair", "model.py:Pair:", "model.py:Pair:extra", "model.py:os.system",
    "model.py ", " model.py", "model.py\\n", "model.py\\u0000", "model.py\\u202e", "model.py/",
    "model.py/.", "sub", "sub/", ".", "..", "/", ":", "::", "-", "--help", "*", "vae-*", "nul",
    "os:system", "builtins:exec", "subprocess:Popen", "importlib:import_module", "torch.nn:Module",
    "torch.nn:Sequential", "this:s", "antigravity:fly", "vaezoo.cli:main", "vaezoo:fit",
    "vaezoo.models:vae", "vaezoo.models..model:Pair", "_vaezoo_file_0123:Pair", "__main__:Pair",
    "model.py;sub/model.py", "$(touch canary)", "`touch canary`", "\\u001b[31mred",
    "\\\\\\\\server\\\\share\\\\model.py", "//server/share/model.py", "http://127.0.0.1/model.py",
)  # fmt: skip


@pytest.mark.parametrize("command", ["train --config config.toml", "sample .", "train --resume ."])
def test_no_name_in_a_file_runs_anything(
    run: Path, tmp_path: Path, canary: Path, hostile: str, command: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    folder = Path(shutil.copytree(run, tmp_path / "hostile"))
    (folder / "sub").mkdir()
    rest = (folder / "config.toml").read_text(encoding="utf-8").partition("\n")[2]
    for place in (folder, folder / "sub"):
        for name in ("model.py", "__init__.py", "pair.pyw"):
            (place / name).write_text(hostile)
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.syspath_prepend(folder)
    monkeypatch.syspath_prepend(tmp_path)
    for name in NAMES:
        text = name.format(folder=folder.as_posix(), here=folder.name)
        Path("config.toml").write_text(f'model = "{text}"\n{rest}', encoding="utf-8")
        result = CliRunner().invoke(main, command.split())
        assert (result.exit_code, len(result.stderr.splitlines())) == (2, 1), (name, result.stderr)
        assert not canary.exists(), name


@pytest.fixture
def package(tmp_path: Path, hostile: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package in the folder that one works in, where ``python -m vaezoo`` finds it."""
    monkeypatch.setattr(catalogue, "_registered", {})
    folder = tmp_path / "work/zoo_of_a_stranger"
    folder.mkdir(parents=True)
    write_pair(folder / "pairs.py", hostile)
    (folder / "__init__.py").write_text(hostile)
    monkeypatch.syspath_prepend(folder.parent)
    yield folder
    forget()


def forget() -> None:
    for name in [name for name in sys.modules if name.startswith("zoo_of_a_stranger")]:
        del sys.modules[name]


def class_in(package: Path) -> str:
    text = (package / "pairs.py").read_text()
    line = next(line for line in text.splitlines() if line.startswith("class "))
    return f"zoo_of_a_stranger.pairs:{line.split('(')[0][6:]}"


@pytest.mark.parametrize("with_run", [False, True])
def test_package_that_a_file_names_is_not_imported(
    vaezoo: Vaezoo, run: Path, package: Path, canary: Path, with_run: bool
) -> None:
    config = run / "config.toml"
    text = config.read_text()
    config.write_text(text.replace(text.splitlines()[0], f'model = "{class_in(package)}"'))
    words = ("sample", run) if with_run else ("train", "--config", config)
    result = vaezoo(*words)
    assert (result.exit_code, canary.exists()) == (2, False)
    assert class_in(package) in result.stderr


def test_class_of_the_script_that_runs_needs_no_import(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A script that trains a class of its own, and another that loads it and has it, too."""
    cls = type("Mine", (get_model("vae-gaussian"),), {})
    monkeypatch.setattr(sys.modules["__main__"], "Mine", cls, raising=False)
    assert named_class(run / "config.toml", "__main__:Mine") == ("__main__:Mine", cls)


def test_package_that_was_trained_is_trusted_where_it_lies(
    cache: Path, package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, canary: Path
) -> None:
    spec = class_in(package)
    fit(spec, "digits", training={"steps": 1}, out=tmp_path / "run")
    forget()
    load_run(tmp_path / "run")
    forget()
    canary.rmdir()
    monkeypatch.syspath_prepend(shutil.copytree(package.parent, tmp_path / "elsewhere"))
    with pytest.raises(RequestError, match="not trained here"):
        load_run(tmp_path / "run")
    assert not canary.exists()


def test_name_of_a_package_that_is_not_installed_is_asked_for(
    vaezoo: Vaezoo, run: Path, package: Path, canary: Path
) -> None:
    """Python takes a folder ``*.egg-info`` in any place that it imports from as installed."""
    facts = package.parent / "stranger.egg-info"
    facts.mkdir()
    (facts / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: stranger\nVersion: 1\n")
    (facts / "entry_points.txt").write_text(f"[vaezoo.models]\nnice-vae = {class_in(package)}\n")
    config = run / "config.toml"
    text = config.read_text()
    config.write_text(text.replace(text.splitlines()[0], 'model = "nice-vae"'))
    assert vaezoo("sample", run).exit_code == 2
    assert not canary.exists()


def compiled(path: Path, text: str) -> bytes:
    """Bytecode that Python takes without a look at the file."""
    code = compile(text, str(path), "exec")
    return bytes(_code_to_hash_pyc(code, importlib.util.source_hash(b""), False))


@pytest.mark.parametrize("name", ["model", "layers"])
def test_bytecode_beside_trusted_code_is_not_run(
    run: Path, canary: Path, hostile: str, name: str
) -> None:
    file = run / f"{name}.py"
    cached = Path(importlib.util.cache_from_source(file))
    cached.parent.mkdir(exist_ok=True)
    cached.write_bytes(compiled(file, hostile + file.read_text()))
    load_run(run)
    assert not canary.exists()


def test_bytecode_of_the_test_above_is_run_by_python(
    tmp_path: Path, canary: Path, hostile: str
) -> None:
    file = tmp_path / "layers.py"
    file.write_text("")
    cached = Path(importlib.util.cache_from_source(file))
    cached.parent.mkdir()
    cached.write_bytes(compiled(file, hostile))
    spec = importlib.util.spec_from_file_location("layers", file)
    spec.loader.exec_module(importlib.util.module_from_spec(spec))
    assert canary.exists()


@pytest.mark.parametrize("name", ["model.py", "layers.py"])
def test_what_was_checked_is_what_is_run(
    run: Path, canary: Path, hostile: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that changes between the check and the execution."""

    def check_and_change(digest: str) -> bool:
        (run / name).write_text(hostile + (run / name).read_text())
        return is_trusted(digest)

    is_trusted = trust._is_trusted
    monkeypatch.setattr(trust, "_is_trusted", check_and_change)
    load_run(run)
    assert not canary.exists()


def test_a_new_file_beside_trusted_code_is_not_run(run: Path, canary: Path, hostile: str) -> None:
    (run / "layers").mkdir()
    (run / "layers/__init__.py").write_text(hostile)
    with pytest.raises(RequestError, match="not trained here"):
        load_run(run)
    assert not canary.exists()


def test_the_copy_in_a_run_is_what_was_run(tmp_path: Path, cache: Path) -> None:
    write_pair(tmp_path / "pair.py")
    before = (tmp_path / "pair.py").read_bytes()

    cls = get_model(str(tmp_path / "pair.py"))
    (tmp_path / "pair.py").write_text("raise RuntimeError\n")
    fit(cls, "digits", training={"steps": 1}, out=tmp_path / "run")
    assert (tmp_path / "run/model.py").read_bytes() == before


def test_what_is_resumed_is_trusted_as_before(run: Path) -> None:
    assert resume(run, steps=2).info["steps"] == 2


# What is trusted


def is_refused(run: Path) -> bool:
    try:
        load_run(run)
    except RequestError:
        return True
    return False


@pytest.mark.skipif(os.name == "nt", reason="no permission bits")
def test_list_is_readable_by_its_user_only(run: Path, cache: Path) -> None:
    (entry,) = cache.iterdir()
    assert (cache.stat().st_mode & 0o777, entry.stat().st_mode & 0o777) == (0o700, 0o600)


@pytest.mark.skipif(os.name == "nt", reason="no permission bits")
def test_list_that_others_can_write_is_not_believed(run: Path, cache: Path) -> None:
    assert not is_refused(run)
    cache.chmod(0o777)
    assert is_refused(run)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_list_behind_a_link_is_not_believed(run: Path, cache: Path) -> None:
    cache.rename(cache.with_name("elsewhere"))
    cache.symlink_to(cache.with_name("elsewhere"))
    assert is_refused(run)


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_entry_that_is_a_link_is_not_believed(run: Path, cache: Path) -> None:
    (entry,) = cache.iterdir()
    entry.unlink()
    entry.symlink_to(run / "config.toml")
    assert is_refused(run)


def test_a_cache_that_cannot_be_written_trusts_nothing(run: Path, cache: Path) -> None:
    shutil.rmtree(cache)
    cache.write_text("a file where the folder should be")
    assert is_refused(run)
