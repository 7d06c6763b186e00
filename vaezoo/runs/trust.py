"""Whose code may be run: what this user named, or has trained with on this machine.

A file from somebody else, as the ``config.toml`` of a run, may name code: a ``.py``
beside it, or an import path. Neither is run for that. What was trained is remembered in a folder of
the user's, under names that are checksums of

- a file with all that it imports beside it, byte for byte;
- an import path with the place where its package lies, since a folder that one works in may hold
  another package of that name.
"""

import hashlib
import inspect
import os
import site
import sys
import sysconfig
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from torch import nn

from vaezoo import registry
from vaezoo.errors import RequestError, source_of
from vaezoo.runtime.private import is_private_file, is_private_folder, make_private
from vaezoo.runtime.storage import cache_folder, inside, write_bytes

__all__ = ["digest_of_class", "named_class", "save_code", "trust_target"]

_ZOO = "vaezoo.models."


def named_class(
    file: Path,
    stored: str,
    model: str | Path | None = None,
    *,
    way_out: Callable[[str], str] = lambda code: f"`model={source_of(code)}`",
) -> tuple[str, type[nn.Module]]:
    """Return the class of the pair that a file names, unless nobody has vouched for its code.

    Parameters
    ----------
    file
        Which names it.
    stored
        The name in it: of the zoo, of a ``.py`` file beside it, or an import path.
    model
        What the user named instead, and vouches for.
    way_out
        From the code to what the user does to name it.

    Returns
    -------
    tuple
        What :func:`vaezoo.get_model` takes to find it, and the class.

    Raises
    ------
    RequestError
        When it would run what was neither named nor trained here.
    """
    if not stored:
        raise RequestError(f"{file} names no model")
    name, attribute = _in_folder(stored)
    path = file.parent / name
    if not name and _is_at_hand(stored):
        return stored, registry.get_model(stored)
    if model is not None:
        spec = f"{model}:{attribute}" if name and str(model).endswith(".py") else str(model)
        return spec, registry.get_model(spec)
    if name and path.is_file():
        code = registry.read_code(path)
        if _is_trusted(registry.digest_of(code)):
            return str(file.parent / stored), registry.class_in_file(path, attribute, code)
    elif not name and ".py" not in stored and _is_trusted(_digest_of_target(stored)):
        return stored, registry.get_model(stored)
    raise _refusal(file, path if name else stored, way_out)


def _refusal(file: Path, code: Path | str, way_out: Callable[[str], str]) -> RequestError:
    if isinstance(code, Path) and not code.exists():
        return RequestError(
            f"{file} names {code}, which is not there; name the code: {way_out('FILE.py')}"
        )
    return RequestError(
        f"{file} names {code}, which was not trained here; read it, then name it: "
        f"{way_out(str(code))}"
    )


def _in_folder(stored: str) -> tuple[str, str]:
    """Return the file beside the one that names it, and what that calls the class; else nothing."""
    name, _, attribute = stored.partition(":")
    plain = name.removeprefix("./")
    is_beside = plain.endswith(".py") and Path(plain).name == plain
    return (plain, attribute) if is_beside else ("", "")


def _is_at_hand(stored: str) -> bool:
    """Whether a name is of the zoo, an installed package, or of what is loaded already.

    A package in a folder that one works in is not installed, though Python may find it there.
    """
    module = registry.target_of(stored).partition(":")[0]
    if module.startswith(_ZOO) or module == "__main__":  # the script that runs
        return True
    if stored not in registry.list_models():
        return False
    if module in sys.modules:
        return True
    place = Path(_place_of(module) or os.sep)
    return any(place.is_relative_to(folder) for folder in _installed_folders())


def _installed_folders() -> list[Path]:
    paths = sysconfig.get_paths()
    own = [site.getusersitepackages()] if site.ENABLE_USER_SITE else []
    return [Path(path).resolve() for path in (paths["purelib"], paths["platlib"], *own)]


def trust_target(stored: str) -> None:
    """Remember an import path, or the name of an installed pair, that was trained here."""
    if not registry.target_of(stored).startswith(_ZOO):
        _trust(_digest_of_target(stored))


def _digest_of_target(stored: str) -> str:
    target = registry.target_of(stored)
    return hashlib.sha256(f"{target}\n{_place_of(target)}".encode()).hexdigest()


def _place_of(target: str) -> str:
    """Return where the package of an import path lies, without importing it; empty if nowhere."""
    top = target.partition(":")[0].partition(".")[0]
    try:
        spec = find_spec(top)
    except (ImportError, ValueError, AttributeError):  # of a script there is none
        return str(getattr(sys.modules.get(top), "__file__", None) or "")
    places = [spec.origin, *(spec.submodule_search_locations or ())] if spec else []
    return next((str(Path(place).resolve()) for place in places if place), "")


def save_code(cls: type, file: Path, folder: Path) -> str:
    """Write a user's file and what it imports beside it into a run, as executed, and trust them.

    Returns
    -------
    str
        What the pair is built from, ``"model.py:Name"``; where another file has that name, the copy
        keeps its own.
    """
    code = registry.code_of(cls)
    copy = file.name if "model.py" in code else "model.py"
    for name, content in code.items():
        write_bytes(inside(folder, name or copy), content)
    _trust(registry.digest_of(code))
    return f"{copy}:{registry.name_in_file(cls)}"


def digest_of_class(cls: type) -> str:
    """Return the SHA-256 of the code of a pair, as executed; empty where it stands in no file.

    Of a user's file it is that of all that it imports beside it, too.

    Examples
    --------
    >>> from vaezoo.models.vae import VAE
    >>> len(digest_of_class(VAE)), digest_of_class(type("InNoFile", (), {"__module__": "nowhere"}))
    (64, '')
    """
    if registry.source_file(cls) is not None:
        return registry.digest_of(registry.code_of(cls))
    with suppress(OSError, TypeError):  # of a notebook, or a console
        return hashlib.sha256(Path(inspect.getfile(cls)).read_bytes()).hexdigest()
    return ""


def _folder() -> Path:
    return cache_folder() / "trusted"


def _trust(digest: str) -> None:
    """Remember a checksum; without a folder that is the user's own, do not."""
    with suppress(OSError):
        if make_private(_folder()):
            (_folder() / digest).touch(mode=0o600)


def _is_trusted(digest: str) -> bool:
    return is_private_folder(_folder()) and is_private_file(_folder() / digest)
