"""Data sets that scikit-learn bundles, read from its files; importing it takes far longer."""

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from vaezoo.data.dataset import Data, from_arrays
from vaezoo.errors import RunError

__all__ = ["read_breast_cancer", "read_digits", "read_digits_rows"]

_HOLES = 1234  # the seed of Mattei & Frellsen's notebook
_NOTE = "half of the entries are taken away, completely at random"
_KINDS = ("mean", "error of", "worst")
_MEASURES = (
    "radius",
    "texture",
    "perimeter",
    "area",
    "smoothness",
    "compactness",
    "concavity",
    "concave points",
    "symmetry",
    "fractal dimension",
)


def read_digits(paths: Sequence[Path] = ()) -> Data:
    """Return the grey digits, ``x (1797, 8, 8)`` of 0 ... 16, and ``label``."""
    table = np.loadtxt(_file("digits.csv.gz"), delimiter=",")
    images = table[:, :-1].reshape(-1, 8, 8).astype(np.uint8)
    return from_arrays(images, scale=16.0, label=table[:, -1].astype(np.int64))


def read_digits_rows(paths: Sequence[Path] = ()) -> Data:
    """Return the digits as sequences of their rows, from the top one on."""
    images = read_digits()
    length = np.full(len(images.x), images.x.shape[1], dtype=np.int64)
    return from_arrays(images.x, scale=16.0, length=length, label=images.arrays["label"])


def read_breast_cancer(paths: Sequence[Path] = ()) -> Data:
    """Return the breast cancer table, half of its entries taken away completely at random.

    ``x (569, 30)`` is in the units of the table, nan where an entry is missing; ``label`` is 0 for
    malignant, 1 for benign. The holes are those of Mattei & Frellsen 2019 (arXiv:1812.02633).

    Examples
    --------
    >>> float(np.isnan(read_breast_cancer().x).mean())
    0.5
    """
    table = np.loadtxt(_file("breast_cancer.csv"), delimiter=",", skiprows=1)
    x = table[:, :-1].astype(np.float32)
    holes = np.random.RandomState(_HOLES).choice(x.size, x.size // 2, replace=False)
    x.flat[holes] = np.nan
    data = from_arrays(x, scale=1.0, label=table[:, -1].astype(np.int64))
    columns = tuple(f"{kind} {name}" for kind in _KINDS for name in _MEASURES)
    return replace(data, columns=columns, notes=(_NOTE,))


def _file(name: str) -> Path:
    """Return a file inside scikit-learn.

    Raises
    ------
    RunError
        When scikit-learn is not installed, or no longer has the file there.
    """
    spec = find_spec("sklearn")
    for folder in (spec and spec.submodule_search_locations) or ():
        file = Path(folder) / "datasets/data" / name
        if file.is_file():
            return file
    raise RunError(
        f"{name} is not where scikit-learn has it (`pip install -U scikit-learn`); "
        "or give other `data`"
    )
