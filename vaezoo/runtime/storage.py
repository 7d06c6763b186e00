"""Files that are never half written, and tensors that never run code when they are read."""

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from vaezoo.errors import RequestError, RunError

__all__ = ["load_tensors", "save_tensors", "write_bytes", "write_json"]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file at once: readers see the old content or the new, also after a crash.

    Raises
    ------
    RunError
        When the disk is full or the folder read-only; the old content stays.
    """
    temporary = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise RunError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_json(path: Path, value: object) -> None:
    """Write a value as indented JSON, at once."""
    write_bytes(path, (json.dumps(value, indent=2) + "\n").encode())


def save_tensors(path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any]) -> None:
    """Write tensors and plain values into one safetensors file, at once.

    Parameters
    ----------
    path
        The file.
    tensors
        Tensors by name, on any device.
    values
        Whatever JSON can hold.

    Examples
    --------
    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "two.safetensors"
    >>> save_tensors(path, {"a": torch.ones(2)}, {"epoch": 3})
    >>> load_tensors(path)
    ({'a': tensor([1., 1.])}, {'epoch': 3})
    """
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_bytes(path, save(plain, {"vaezoo": json.dumps(values)}))


def load_tensors(path: Path, device: torch.device | str = "cpu") -> tuple[dict[str, Tensor], Any]:
    """Read what :func:`save_tensors` wrote.

    Raises
    ------
    RequestError
        When the file is missing, cut short, or something else than safetensors.
    """
    if not path.is_file():
        raise RequestError(f"no file '{path}'")
    try:
        with safe_open(path, framework="pt", device=str(device)) as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(metadata.get("vaezoo", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise RequestError(f"{path} is damaged or no safetensors file: {reason}") from error
