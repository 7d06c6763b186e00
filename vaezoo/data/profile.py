"""What a data set looks like, and which likelihood explains it."""

import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data.dataset import Array, Data
from vaezoo.data.sets.sources import SOURCES, Source
from vaezoo.data.summary import FACTS, Summary, in_words, likelihood_for, summarize
from vaezoo.registry import entry_of, get_model

__all__ = ["describe"]

_LARGEST_TO_COMPARE = 2**28


@dataclass(frozen=True)
class _Scan:
    """What a pass over the rows finds: constant and binary elements, and repeated rows."""

    constant: list[int]
    binary: list[int]
    num_elements: int
    duplicates: float | None


def _scan(loaded: Data) -> _Scan:
    num_elements = math.prod(loaded.x_shape)
    binary = np.full(num_elements, True)
    bounds: tuple[Array, Array] | None = None
    seen: set[int] = set()
    compare = loaded.x.nbytes <= _LARGEST_TO_COMPARE
    for _, rows, valid in loaded.pieces():
        if compare:
            seen.update(hash(row[where].tobytes()) for row, where in zip(rows, valid, strict=True))
        values = rows[valid].reshape(-1, num_elements)
        if len(values) == 0:
            continue
        least, most = np.fmin.reduce(values, axis=0), np.fmax.reduce(values, axis=0)
        low, high = bounds or (least, most)
        bounds = np.fmin(low, least), np.fmax(high, most)
        binary &= _is_binary(values).all(axis=0)
    varies = bounds[0] < bounds[1] if bounds else ~binary
    return _Scan(
        constant=np.flatnonzero(~varies).tolist(),
        binary=np.flatnonzero(varies & binary).tolist(),
        num_elements=num_elements,
        duplicates=1 - len(seen) / len(loaded.x) if compare else None,
    )


def _is_binary(values: Array) -> Array:
    binary: Array = (values == 0) | (values == 1)
    return binary | np.isnan(values) if values.dtype.kind == "f" else binary


def describe(loaded: Data) -> dict[str, Any]:
    """Return shape, range, missing and constant values, splits, and which model fits."""
    summary, scan = summarize(loaded), _scan(loaded)
    source = SOURCES.get(loaded.name)
    label = loaded.arrays.get("label")
    names = loaded.columns or range(scan.num_elements)  # of pictures, not worth a list
    return {
        "name": loaded.name,
        "source": _origin(loaded, source),
        "kind": loaded.kind,
        "shape": list(loaded.x.shape),
        "dtype": str(loaded.x.dtype),
        "arrays": _arrays(loaded),
        "read": list(loaded.notes),
        "scale": loaded.scale,
        "range": [summary.low, summary.high] if summary.low <= summary.high else None,
        "values": _nature(loaded, summary),
        "nan": summary.num_missing,
        "first_nan_row": summary.first_missing[0] if summary.first_missing else None,
        "first_nan": in_words(summary.first_missing),
        "infinite": summary.num_infinite,
        "first_infinite": in_words(summary.first_infinite),
        "constant": [str(names[index]) for index in scan.constant],
        "elements": scan.num_elements,
        "duplicates": scan.duplicates,
        "splits": {name: len(rows) for name, rows in loaded.splits.items()},
        "labels": None if label is None else len(np.unique(label)),
        **_frames(loaded),
        **_suggest(loaded, summary, scan.binary),
        **({"licence": source.licence, "citation": source.citation} if source else {}),
        "checksum": loaded.checksum,
    }


def _arrays(loaded: Data) -> list[dict[str, Any]]:
    """Return name, shape and type of each array, and what it is to a pair."""
    roles = {"x": "the data", "length": "frames of each sequence", "label": "to colour by"}
    return [
        {
            "name": name,
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "role": roles.get(name, "an argument, if the model takes it"),
        }
        for name, array in loaded.arrays.items()
    ]


def _origin(loaded: Data, source: Source | None) -> str:
    if source is None:
        return str(Path(loaded.name).expanduser().resolve())
    if not source.remotes:
        return "bundled with scikit-learn"
    return source.remotes[0].urls[0].rpartition("/")[0]


def _frames(loaded: Data) -> dict[str, Any]:
    """Shortest and longest sequence, and the number of frames in each split."""
    length = loaded.length
    if length is None:
        return {}
    frames = {name: int(length[rows].sum()) for name, rows in loaded.splits.items()}
    return {"lengths": [int(length.min()), int(length.max())], "frames": frames}


def _nature(loaded: Data, summary: Summary) -> str:
    if summary.low > summary.high:
        return "none are finite"
    if summary.is_binary:
        return "binary"
    if loaded.scale != 1.0:
        return "grey levels"
    return "whole numbers" if summary.is_integer else "real numbers"


def _suggest(loaded: Data, summary: Summary, binary: list[int]) -> dict[str, Any]:
    """The likelihood whose support fits, and the settings of a training that uses it."""
    if summary.num_infinite or summary.low > summary.high:
        return {"likelihood": "none yet: remove or fill what is not finite", "train": None}
    likelihood, settings = _likelihood(loaded, summary)
    model = "vae-gaussian" if likelihood.startswith("gaussian") else "vae-bernoulli"
    if loaded.kind == "sequences":
        model = "vrnn"
        likelihood, settings = _of_frames(loaded, likelihood, settings, binary)
    elif loaded.columns and (kinds := _kinds_of(loaded)):
        model, likelihood, settings = "vae-tabular", f"of each column by its kind: {kinds}", {}
    elif _has_preset("vae-gaussian", loaded.name):
        model, likelihood, settings = "vae-gaussian", f"gaussian, by the preset '{loaded.name}'", {}
    return {
        "likelihood": likelihood,
        "train": {"model": model, "data": loaded.name, **settings},
    }


def _kinds_of(loaded: Data) -> str:
    """Return how many columns are of each kind; empty where one kind is enough."""
    words = {"one-of": "of text", "category": "levels", "count": "counts"}
    kinds = Counter(kind.partition(":")[0] for kind in FACTS["columns"](loaded))
    if len(kinds) == 1:
        return ""
    return ", ".join(f"{number} {words.get(kind, kind)}" for kind, number in kinds.items())


def _of_frames(
    loaded: Data, likelihood: str, settings: dict[str, Any], binary: list[int]
) -> tuple[str, dict[str, Any]]:
    """Return likelihood and settings for frames, some elements of which may be binary."""
    if not likelihood.startswith("gaussian"):
        return likelihood, settings
    if binary == [2] and loaded.x_shape == (3,):
        return "handwriting, after `standardize`", {
            "likelihood": "handwriting",
            "standardize": True,
        }
    if binary:
        names = ", ".join(str((loaded.columns or range(loaded.x_shape[-1]))[i]) for i in binary)
        likelihood = f"bernoulli for {names} and gaussian for the rest, in a pair of your own"
    return likelihood, {"likelihood": "gaussian", **settings}


def _has_preset(model: str, name: str) -> bool:
    """Whether a model has settings of its own for a named data set."""
    return name in SOURCES and name in entry_of(get_model(model)).presets


def _likelihood(loaded: Data, summary: Summary) -> tuple[str, dict[str, Any]]:
    if summary.is_binary:
        return "bernoulli", {}
    if loaded.scale != 1.0:
        return "bernoulli, after a draw of 0 or 1 per grey level (`binarize='dynamic'`)", {}
    if summary.low >= 0 and summary.high <= 1:
        return (
            "gaussian, or continuous-bernoulli, which keeps to 0 ... 1, or bernoulli with "
            "`binarize='dynamic'` for probabilities",
            {},
        )
    name = likelihood_for(loaded, summary)
    if name != "gaussian":
        return (
            f"{name}; 'vaezoo data explain-likelihood' compares those of whole numbers, and the "
            "density that a gaussian gives to them is no likelihood of them",
            {"likelihood": name},
        )
    return "gaussian, of standardised values", {}
