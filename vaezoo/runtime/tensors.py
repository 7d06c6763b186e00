"""Tensors in files: read without running code, and known to be those that were written."""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from safetensors import safe_open
from safetensors.torch import load, save
from torch import Tensor

from vaezoo.errors import RequestError, refusing
from vaezoo.runtime.memory import require_memory
from vaezoo.runtime.reading import open_plain
from vaezoo.runtime.storage import writing

__all__ = ["load_tensors", "reloaded", "save_tensors"]

_LARGEST_HEADER = 100_000_000  # bytes, as in safetensors
_CHUNK = 2**20
_CHECKSUM, _RUN, _VALUES = "checksum", "run", "vaezoo"


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], values: Mapping[str, Any], *, run: str = ""
) -> None:
    """Write tensors and plain values into one safetensors file, at once.

    Parameters
    ----------
    path
        The file.
    tensors
        Tensors by name, on any device.
    values
        Whatever JSON can hold.
    run
        Id of the run that they belong to.

    Examples
    --------
    >>> import tempfile, torch
    >>> path = Path(tempfile.mkdtemp()) / "two.safetensors"
    >>> save_tensors(path, {"a": torch.ones(2)}, {"epoch": 3})
    >>> load_tensors(path)
    ({'a': tensor([1., 1.])}, {'epoch': 3})
    """
    metadata = {_VALUES: json.dumps(values), _RUN: run}
    content = memoryview(save(_plain(tensors), metadata))
    start = 8 + struct.unpack("<Q", content[:8])[0]
    header = json.loads(bytes(content[8:start]))
    digest = _digest_of(header)
    digest.update(content[start:])
    header["__metadata__"][_CHECKSUM] = digest.hexdigest()
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with writing(path) as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.write(content[start:])


def reloaded(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors as they come back from a file, on the CPU, without writing one.

    Examples
    --------
    >>> import torch
    >>> reloaded({"a": torch.arange(6).reshape(2, 3).T})["a"].shape
    torch.Size([3, 2])
    """
    return load(save(_plain(tensors)))


def _plain(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}


def load_tensors(
    path: Path, *, run: str | None = None, remedy: str = ""
) -> tuple[dict[str, Tensor], Any]:
    """Read what :func:`save_tensors` wrote, on the CPU.

    Parameters
    ----------
    path
        The file.
    run
        Id of the run that they must belong to; by default any.
    remedy
        What to do when they cannot be used, the end of the message.

    Raises
    ------
    RequestError
        When the file is missing, something else than safetensors, not as it was written, or of
        another run.
    """
    if not path.is_file():
        raise RequestError(f"no file '{path}'")
    end = f"; {remedy}" if remedy else ""
    what = f"{path} is damaged or no safetensors file"
    with refusing(what, remedy):
        require_memory(path.stat().st_size, str(path), remedy or "take another file")
        metadata = _verified(path)
        if not metadata:
            raise RequestError(f"{what}: its checksum does not match{end}")
        with safe_open(path, framework="pt", device="cpu") as file:
            # Copies: a mapped file that is cut short later would end the process.
            tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        values = json.loads(metadata[_VALUES])
    if run is not None and metadata.get(_RUN) != run:
        raise RequestError(f"{path} belongs to another run{end}")
    return tensors, values


def _verified(path: Path) -> dict[str, str]:
    """Return the metadata of a file that is read in pieces; none where they say otherwise."""
    with open_plain(path) as file:
        header = _header(file)
        metadata = dict(header["__metadata__"])
        stated = header["__metadata__"].pop(_CHECKSUM)
        digest = _digest_of(header)
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return metadata if digest.hexdigest() == stated else {}


def _header(file: BinaryIO) -> dict[str, Any]:
    size = file.read(8)
    length = struct.unpack("<Q", size)[0] if len(size) == 8 else 0
    if not 0 < length <= _LARGEST_HEADER:
        raise ValueError("it has no header")
    header = json.loads(file.read(length))
    if not (isinstance(header, dict) and _CHECKSUM in header.get("__metadata__", {})):
        raise ValueError("it has no checksum")
    return header


def _digest_of(header: Mapping[str, Any]) -> "hashlib._Hash":
    """Begin the checksum of a file with names, dtypes, shapes and values."""
    return hashlib.sha256(json.dumps(header, sort_keys=True).encode())
