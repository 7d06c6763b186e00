"""Whose code may be run: files of models are remembered by their checksum when they are trained."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import pooch

from vaezoo import registry
from vaezoo.errors import RequestError
from vaezoo.runtime.storage import inside, write_bytes

__all__ = ["model_spec", "save_code", "trust"]


def model_spec(path: Path, stored: str, model: str | Path | None = None) -> str:
    """Return what to build a run's pair from, unless that would run code nobody has vouched for.

    A name of the zoo or of an installed package is taken as it is. The run's own ``model.py``, or
    an import path, is taken when this user has trained with it on this machine, or named it.
    """
    if stored in registry.list_models():
        return stored
    file, _, name = stored.partition(":")
    own = file.endswith(".py") and Path(file).name == file
    if model is not None:
        return f"{model}:{name}" if own and str(model).endswith(".py") else str(model)
    if own and _is_trusted(_content(path / file)):
        return f"{path / stored}"
    if ".py" not in stored and ":" in stored and _is_trusted(stored.encode()):
        return stored
    if not stored:
        raise RequestError(f"{path / 'config.toml'} names no model")
    code = str(path / file) if own else stored
    raise RequestError(
        f"{path} was made from {code}, which was not trained here; read it, then name it: "
        f"`model={str(code)!r}`"
    )


def _trust_list() -> Path:
    return Path(pooch.os_cache("vaezoo")) / "trusted-models"


def trust(content: bytes) -> None:
    """Remember a file of the user's by its checksum; without a writable cache, do not."""
    digest = hashlib.sha256(content).hexdigest()
    try:
        trusted = _trust_list().read_text() if _trust_list().is_file() else ""
        if digest not in trusted:
            _trust_list().parent.mkdir(parents=True, exist_ok=True)
            with _trust_list().open("a") as file:
                file.write(digest + "\n")
    except OSError:
        return


def _is_trusted(content: bytes) -> bool:
    try:
        return hashlib.sha256(content).hexdigest() in _trust_list().read_text().split()
    except OSError:
        return False


def save_code(cls: type, file: Path, folder: Path) -> str:
    """Copy a user's file and what it imports beside it into a run, and trust them.

    Returns
    -------
    str
        What the pair is built from, ``"model.py:Name"``; where another file has that name, the copy
        keeps its own.
    """
    code = registry.code_of(file)
    copy = file.name if "model.py" in code else "model.py"
    for name, content in code.items():
        write_bytes(inside(folder, name or copy), content)
    trust(_joined(code))
    return f"{copy}:{registry.name_in_file(cls)}"


def _content(file: Path) -> bytes:
    return _joined(registry.code_of(file)) if file.is_file() else b""


def _joined(code: Mapping[str, bytes]) -> bytes:
    """Return all that a run would execute as one; a single file as it is."""
    return b"\0".join([code[""], *(n.encode() + b"\0" + c for n, c in code.items() if n)])
