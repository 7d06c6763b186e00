"""``run.json``: what a run says of itself, with a checksum, since its numbers depend on it."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vaezoo.errors import RequestError, refusing
from vaezoo.runtime.reading import read_plain
from vaezoo.runtime.storage import inside, write_json

__all__ = ["read_info", "write_info"]

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


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
