"""What a run was made with: versions, machine, the state of the checkout, and its data."""

import platform
import subprocess
import time
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from vaezoo.data import Data
from vaezoo.runs.conditions import describe_examples

__all__ = ["describe_data", "describe_environment", "describe_library"]

PACKAGES = ("vaezoo", "torch", "pyro-ppl", "numpy")


def describe_environment() -> dict[str, Any]:
    """Return versions and the state of the working directory's git checkout."""
    return {
        "versions": {name: version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "platform": platform.platform(),
        "git": _git_state(),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def describe_library() -> dict[str, str]:
    """Return what drew, in the words that ArviZ has for it.

    Examples
    --------
    >>> list(describe_library())
    ['inference_library', 'inference_library_version', 'vaezoo_version']
    """
    return {
        "inference_library": "pyro-ppl",
        "inference_library_version": version("pyro-ppl"),
        "vaezoo_version": version("vaezoo"),
    }


def _git_state() -> str | None:
    command = ["git", "describe", "--always", "--dirty"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.SubprocessError):
        return None
    return result.stdout.strip() or None if result.returncode == 0 else None


def describe_data(data: Data, names: Sequence[str]) -> dict[str, Any]:
    """Return what a run remembers of its data.

    Parameters
    ----------
    data
        What it is trained on.
    names
        Arguments of the model.

    Returns
    -------
    dict
        Checksum, shape, kind and columns; as ``examples`` some rows of the arguments that are
        neither x, nor lengths, nor a mask; of sequences, the median number of frames.
    """
    others = [name for name in names if name not in ("x", "length", "mask")]
    length = data.length
    return {
        "data_checksum": data.checksum,
        "data_shape": list(data.x.shape),
        "data_kind": data.kind,
        "columns": list(data.columns),
        "examples": describe_examples(data, others),
        **({} if length is None else {"median_length": int(np.median(length))}),
    }
