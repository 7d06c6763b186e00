"""What a run was made with: versions, commits, and its data."""

import platform
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo import registry
from vaezoo.data import Data
from vaezoo.runs.checkout import commit_of
from vaezoo.runs.conditions import describe_examples
from vaezoo.runs.rows import describe_splits
from vaezoo.runs.trust import digest_of_class
from vaezoo.versions import installed_versions

__all__ = [
    "describe_data",
    "describe_environment",
    "describe_library",
]


def describe_environment(cls: type) -> dict[str, Any]:
    """Return versions, and the commits of vaezoo and of the file of a pair, where there are any.

    Examples
    --------
    >>> from vaezoo.models.vae import VAE
    >>> sorted(describe_environment(VAE))
    ['code', 'commits', 'platform', 'python', 'started', 'versions']
    """
    return {
        "versions": installed_versions(),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "commits": _commits(cls),
        "code": digest_of_class(cls),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _commits(cls: type) -> dict[str, str]:
    file = registry.source_file(cls)
    commits = {
        # Not above: an environment may lie in the checkout of something else.
        "vaezoo": commit_of(Path(registry.__file__).parents[2], above=False),
        "model": commit_of(file.parent) if file else None,
    }
    return {name: commit for name, commit in commits.items() if commit}


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
        Checksum, shape, kind, splits and columns; as ``examples`` some rows of the arguments that
        are neither x, nor lengths, nor a mask; of sequences, the median number of frames.
    """
    others = [name for name in names if name not in ("x", "length", "mask")]
    length = data.length
    return {
        "data_checksum": data.checksum,
        "data_shape": list(data.x.shape),
        "data_kind": data.kind,
        "splits": describe_splits(data.splits),
        "columns": list(data.columns),
        "examples": describe_examples(data, others),
        **({} if length is None else {"median_length": int(np.median(length))}),
    }
