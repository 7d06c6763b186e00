"""Folders and checkouts of strangers: nothing of theirs is executed, written or waited for."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from attacks.bench import CANARY, called, misbehaviour
from attacks.home import RESUME, copied, hostile_pair
from attacks.table import Attack

__all__ = ["attacks"]

Make = Callable[[Path, Path], None]  # of the home, in a place

COMMANDS = (
    ("sample", "run", "-n", "2", "-o", "out.npz"),
    ("evaluate", "run", "-n", "2", "--iwae", "1"),
    ("encode", "run", "-o", "out.npz"),
    ("reconstruct", "run", "-o", "out.png"),
    ("analyse", "run", "-n", "2", "--level", "quick"),
    ("report", "run"),
    (*RESUME, "--epochs", "4"),
    ("train", "--config", "run/config.toml", "--steps", "1", "--out", "new"),
    ("train", "vae-linear", "--data", "x.npy", "--steps", "1", "--out", "new"),
    ("show", "run"),
    ("show", "vae-linear"),
    ("list",),
    ("check", "vae-linear"),
    ("data", "show", "x.npy"),
)
HERE = (("sample", "run"), ("list",))


def attacks(home: Path) -> Iterator[Attack]:
    """Yield every command in every folder that a stranger prepared."""
    for name, make in FOLDERS.items():
        for words in COMMANDS:
            label = f"{name}: {' '.join(words[:2])}"
            yield Attack("folders of strangers", label, partial(_entered, home, make, words))
    for name in MODULES:
        for words in HERE:
            label = f"{name} beside: {' '.join(words[:2])}"
            attempt = partial(_from_the_start, home, name, words)
            yield Attack("modules in the working folder", label, attempt)


def _entered(home: Path, make: Make, words: tuple[str, ...], place: Path) -> str:
    copied(home, place, "x.npy", "run", "mine")
    victim = place.with_name("victim")
    victim.write_text("mine")
    make(home, place)
    outcome = called(place, *words)
    if (place / CANARY).exists():
        return "EXECUTED"
    if victim.read_text() != "mine":
        return "WROTE through a link"
    return misbehaviour(outcome)


def _config(**entries: str) -> Make:
    """Write a folder's config.toml again, with other lines in it, and without run.json."""

    def make(home: Path, place: Path, *, keep: bool = False) -> None:
        file = place / "run" / "config.toml"
        text = file.read_text()
        for key, value in entries.items():
            lines = [line for line in text.splitlines() if not line.startswith(f"{key} =")]
            text = f"{key} = {value}\n" + "\n".join(lines)
        file.write_text(text)
        (place / "run" / "run.json").unlink()
        _plant(place / "run" / "model.py", place)
        _plant(place / "evil.py", place)
        (place / "package").mkdir()
        _plant(place / "package" / "__init__.py", place)

    return make


def _kept(make: Make) -> Make:
    """The same with the run.json of an honest run."""

    def also(home: Path, place: Path) -> None:
        make(home, place)
        shutil.copy(home / "run" / "run.json", place / "run" / "run.json")

    return also


def _plant(file: Path, place: Path) -> None:
    file.write_text(hostile_pair(place / CANARY))


def _changed_copy(home: Path, place: Path) -> None:
    """A run that was trained here, its copy of the user's file changed by a line."""
    shutil.rmtree(place / "run")
    (place / "mine").rename(place / "run")
    file = place / "run" / "model.py"
    file.write_text(hostile_pair(place / CANARY) + file.read_text())


def _sibling(home: Path, place: Path) -> None:
    """Modules that the copy imports, beside it."""
    shutil.rmtree(place / "run")
    (place / "mine").rename(place / "run")
    for name in ("pyro", "torch", "vaezoo", "math"):
        (place / "run" / f"{name}.py").write_text(hostile_pair(place / CANARY))


def _bytecode(home: Path, place: Path) -> None:
    """Bytecode beside the copy, which Python would take for it without a look."""
    shutil.rmtree(place / "run")
    (place / "mine").rename(place / "run")
    from importlib._bootstrap_external import _code_to_hash_pyc  # type: ignore[import-not-found]

    source = (place / "run" / "model.py").read_bytes()
    code = compile(hostile_pair(place / CANARY), "model.py", "exec")
    folder = place / "run" / "__pycache__"
    folder.mkdir(exist_ok=True)
    for name in (f"model.{sys.implementation.cache_tag}.pyc", "model.pyc"):
        (folder / name).write_bytes(_code_to_hash_pyc(code, source[:8].ljust(8), False))


def _links(*names: str) -> Make:
    """Names that vaezoo might write to lead to a file of the victim."""

    def make(home: Path, place: Path) -> None:
        for name in names:
            file = place / name
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.is_dir() and not file.is_symlink():
                continue
            file.unlink(missing_ok=True)
            file.symlink_to(place.with_name("victim"))

    return make


def _folder_links(home: Path, place: Path) -> None:
    """Folders of a run that lead to a folder of the victim."""
    aim = place.with_name("aim")
    shutil.rmtree(aim, ignore_errors=True)
    aim.mkdir()
    for name in ("figures", "last"):
        shutil.rmtree(place / "run" / name, ignore_errors=True)
        (place / "run" / name).symlink_to(aim)


def _checkout(home: Path, place: Path) -> None:
    """A checkout whose git configuration runs a program."""
    shell = f"touch {place / CANARY}"
    hooks = place / ".git" / "hooks"
    hooks.mkdir(parents=True)
    (place / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (place / ".git" / "objects").mkdir()
    (place / ".git" / "refs" / "heads").mkdir(parents=True)
    (place / ".git" / "config").write_text(
        f'[core]\n\tfsmonitor = "{shell}; false"\n\tpager = {shell}\n\tsshCommand = {shell}\n'
        f'[filter "x"]\n\tclean = {shell}\n\tsmudge = {shell}\n[alias]\n\tdescribe = !{shell}\n'
    )
    (place / ".gitattributes").write_text("* filter=x diff=x\n")
    for name in ("post-index-change", "fsmonitor-watchman", "pre-commit"):
        (hooks / name).write_text(f"#!/bin/sh\n{shell}\n")
        (hooks / name).chmod(0o755)


def _head(content: str) -> Make:
    def make(home: Path, place: Path) -> None:
        (place / ".git").mkdir()
        (place / ".git" / "HEAD").write_text(content)

    return make


def _git_file(content: str) -> Make:
    def make(home: Path, place: Path) -> None:
        (place / ".git").write_text(content)

    return make


def _git_fifo(home: Path, place: Path) -> None:
    (place / ".git").mkdir()
    os.mkfifo(place / ".git" / "HEAD")


def _settings_beside(home: Path, place: Path) -> None:
    """Settings of libraries, which some read from the working folder."""
    _plant(place / "evil.py", place)
    (place / "matplotlibrc").write_text("backend: module://evil\ntext.usetex: True\n")
    (place / "arvizrc").write_text("plot.backend: evil\n")
    (place / ".env").write_text("PYTHONSTARTUP=evil.py\n")
    (place / "pyproject.toml").write_text("[tool.vaezoo]\nmodel = 'evil:Pair'\n")
    (place / "vaezoo.toml").write_text("model = 'evil:Pair'\n")
    for name in ("conftest.py", "sitecustomize.py", "usercustomize.py"):
        _plant(place / name, place)


def _pickles(home: Path, place: Path) -> None:
    """Pickles under the names that other libraries load."""
    bomb = f"cbuiltins\nexec\n(Vopen({str(place / CANARY)!r}, 'w').close()\ntR.".encode()
    for name in ("weights.pt", "last/state.pt", "model.pkl", "weights.bin", "checkpoint.ckpt"):
        (place / "run" / name).write_bytes(bomb)
    for name in ("weights.safetensors", "last/state.safetensors"):
        (place / "run" / name).write_bytes(bomb)


def _words(file: str, *keys: str, value: object) -> Make:
    """A value in a JSON file of a run."""

    def make(home: Path, place: Path) -> None:
        path = place / "run" / file
        content = json.loads(path.read_text())
        at = content
        for key in keys[:-1]:
            at = at.setdefault(key, {})
        at[keys[-1]] = value
        path.write_text(json.dumps(content))

    return make


def _data_is(name: str) -> Make:
    def make(home: Path, place: Path) -> None:
        file = place / "run" / "config.toml"
        lines = file.read_text().splitlines()
        lines = [f"name = {json.dumps(name)}" if "x.npy" in line else line for line in lines]
        file.write_text("\n".join(lines))
        os.mkfifo(place / "fifo.npy")

    return make


ESCAPES = "\x1b[2J\x1b]0;evil\x07"
FOLDERS: dict[str, Make] = {
    "a configuration names model.py": _config(model='"model.py"'),
    "a configuration names model.py:Pair": _config(model='"model.py:VAELinear"'),
    "a configuration names a file beside": _config(model='"./evil.py"'),
    "a configuration names a package": _config(model='"package:VAELinear"'),
    "a configuration names a module": _config(model='"evil:VAELinear"'),
    "a configuration names a function": _config(model='"os:system"'),
    "a run names model.py": _kept(_config(model='"model.py"')),
    "a run names a file beside": _kept(_config(model='"evil.py"')),
    "a run names a package": _kept(_config(model='"package:VAELinear"')),
    "a preset of a file": _config(preset='"./evil.py"'),
    "a changed copy": _changed_copy,
    "siblings of a copy": _sibling,
    "bytecode of a copy": _bytecode,
    "links at temporary names": _links(
        *(f"run/.{name}.part" for name in ("config.toml", "run.json", "weights.safetensors")),
        *("run/last/.state.safetensors.part", ".out.npz.part", ".out.png.part", "run/.lock"),
    ),
    "links at targets": _links("out.npz", "out.png", "run/metrics.jsonl", "run/figures/iwae.png"),
    "links at what is read": _links("run/run.json", "run/config.toml"),
    "folders that are links": _folder_links,
    "a hostile checkout": _checkout,
    "a HEAD of 10 MB": _head("ref: " + "a" * 10_000_000),
    "a HEAD that leads out": _head("ref: ../../../../../../etc/passwd\n"),
    "a HEAD with escapes": _head(f"ref: refs/heads/{ESCAPES}\n"),
    "a HEAD that is binary": _head("\x00\x01\x7f"),
    "a HEAD that waits": _git_fifo,
    "a .git that leads to itself": _git_file("gitdir: .git\n"),
    "a .git that leads to a device": _git_file("gitdir: /dev/zero\n"),
    "settings of libraries": _settings_beside,
    "pickles": _pickles,
    "data that wait": _data_is("fifo.npy"),
    "data without an end": _data_is("/dev/zero"),
    "data with escapes": _data_is(ESCAPES),
    "data of an address": _data_is("http://127.0.0.1:1/x.npy"),
    "shapes without an end": _words("run.json", "shapes", "x", value=[10**12]),
    "shapes that are words": _words("run.json", "shapes", value="xyz"),
    "shapes with escapes": _words("run.json", "shapes", ESCAPES, value=[3]),
    "a format with escapes": _words("run.json", "format", value=ESCAPES),
    "versions with escapes": _words("run.json", "versions", "vaezoo", value=ESCAPES),
    "notes with escapes": _words("run.json", "notes", value=[ESCAPES]),
    "notes that are numbers": _words("run.json", "notes", value=3),
    "columns with escapes": _words("run.json", "columns", value=[ESCAPES] * 4),
    "a status with escapes": _words("run.json", "status", value=ESCAPES),
    "examples that are words": _words("run.json", "examples", value="x"),
    "sites that are not there": _words("run.json", "observed", value={"nothing": ["x", None]}),
    "a kind that is unknown": _words("run.json", "data_kind", value=[]),
    "splits without rows": _words("run.json", "splits", value={}),
    "splits of their own": _words("run.json", "own_splits", value=True),
}
MODULES = (
    "torch",
    "numpy",
    "click",
    "json",
    "matplotlib",
    "pandas",
    "PIL",
    "sitecustomize",
    "vaezoo",
)


def _from_the_start(home: Path, module: str, words: tuple[str, ...], place: Path) -> str:
    """A new process, as the command ``vaezoo`` starts it, in a folder with a module."""
    copied(home, place, "x.npy", "run")
    (place / f"{module}.py").write_text(hostile_pair(place / CANARY))
    script = "import sys; sys.path[0] = sys.prefix; from vaezoo.cli import main; main()"
    root = Path(sys.modules["vaezoo"].__file__ or "").parents[1]
    starter = place.with_name("starter.py")  # a script has its own folder on the path, not yours
    starter.write_text(script)
    environment = {**os.environ, "PYTHONPATH": str(root), "MPLBACKEND": "Agg"}
    subprocess.run(
        [sys.executable, str(starter), *words],
        cwd=place,
        env=environment,
        capture_output=True,
        timeout=120,
        check=False,
    )
    return "EXECUTED" if (place / CANARY).exists() else ""
