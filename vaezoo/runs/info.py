"""``run.json``: what a run says of itself, with a checksum, since its numbers depend on it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaezoo.errors import RequestError, refusing
from vaezoo.runtime.reading import read_plain
from vaezoo.runtime.storage import inside, write_json

__all__ = ["digest_of_settings", "read_info", "require_settings", "storable", "write_info"]

INFO = "run.json"
FORMAT = 2
LARGEST_FILE = 2**28  # bytes; it holds some rows of the data


def write_info(folder: Path, values: Mapping[str, Any]) -> None:
    """Write what a run says of itself.

    Parameters
    ----------
    folder
        The run folder.
    values
        Whatever JSON can hold, by name.

    Examples
    --------
    >>> import tempfile
    >>> folder = Path(tempfile.mkdtemp())
    >>> write_info(folder, {"id": "4f2a", "seed": 0})
    >>> read_info(folder)
    {'id': '4f2a', 'seed': 0}
    """
    whole = {"format": FORMAT, **json.loads(json.dumps(values))}
    write_json(inside(folder, INFO), {**whole, "checksum": _digest(whole)})


def read_info(folder: Path) -> dict[str, Any]:
    """Return what :func:`write_info` wrote.

    Raises
    ------
    RequestError
        When it is missing, damaged or changed, or of another version of vaezoo.
    """
    path = folder / INFO
    if not path.is_file():
        raise RequestError(f"{path} is missing or no file")
    with refusing(f"{path} is missing or damaged"):
        whole = dict(json.loads(read_plain(path, LARGEST_FILE).decode("utf-8")))
        stated, version = whole.pop("checksum", ""), whole["format"]
        versions = whole.get("versions", {})
        if version != FORMAT:
            raise RequestError(
                f"{path} has format {version}, but this vaezoo reads format {FORMAT}; "
                f"it was written by vaezoo {versions.get('vaezoo', '?')}"
            )
        if _digest(whole) != stated:
            raise RequestError(
                f"{path} is damaged, or was changed by hand: its checksum does not match; put the "
                f"right one back, or train again, with the settings in {folder / 'config.toml'}"
            )
        whole.pop("format"), whole["id"]
    return whole


def digest_of_settings(values: Mapping[str, Any]) -> str:
    """Return a checksum of what weights depend on in ``config.toml``: model and its settings.

    Parameters
    ----------
    values
        As they are read from the file.
    """
    settings = {name: values.get(name) for name in ("model", "config")}
    return _digest(json.loads(json.dumps(settings, default=str)))


def require_settings(folder: Path, values: Mapping[str, Any], info: Mapping[str, Any]) -> None:
    """Refuse a ``config.toml`` whose model or settings are not those that a run was trained with.

    Where weights still fit, the numbers would be others without a word.

    Raises
    ------
    RequestError
        When they differ.
    """
    if info.get("settings") != digest_of_settings(values):
        raise RequestError(
            f"{folder / 'config.toml'} has another model, or other settings of it, than the run "
            "was trained with; put those back, or train a new run with these"
        )


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


def storable(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as a file of TOML holds them: without those that are None, by default.

    Examples
    --------
    >>> storable({"z_dim": 2, "split": None, "prior": {"name": "mog", "scale": None}})
    {'z_dim': 2, 'prior': {'name': 'mog'}}
    """
    return {
        name: storable(value) if isinstance(value, Mapping) else value
        for name, value in config.items()
        if value is not None
    }
