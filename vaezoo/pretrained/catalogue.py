"""The runs that come with the package: what each is, and its files, as they were."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

from vaezoo.errors import RequestError, RunError, nearest, refusing

__all__ = ["LICENCE", "MANIFEST", "RUNS", "Pretrained", "get_pretrained", "list_pretrained"]

RUNS = Path(__file__).with_name("runs")
MANIFEST = RUNS.with_name("manifest.json")
LICENCE = "apache-2.0"  # of all weights here, as of vaezoo


@dataclass(frozen=True)
class Pretrained:
    """A run that comes with the package.

    Attributes
    ----------
    name
        Of the pair and of what tells it from other runs of the pair, as ``vrnn.jsb``.
    model, data
        Names of the pair and of its data.
    licence
        Of the data, as their authors state it; that of the weights is the package's.
    command
        By which it was trained.
    asked
        Of which rows the score is and how it was measured: arguments of :func:`vaezoo.evaluate`.
    score
        What was measured: ``log p(x)`` by ``num_samples`` draws (a lower bound), or of an
        autoencoder ``reconstruction``.
    value, standard_error
        In nats per ``unit``; the error is that of a mean over data.
    unit
        ``datum`` or ``frame``.
    num_samples
        K of the score; None for a reconstruction.
    quick
        The same score of the first ten rows by ten draws, which takes no time.
    files
        SHA-256 of each file below its folder.
    size
        Bytes of all files.

    Examples
    --------
    >>> get_pretrained("vae-bernoulli.digits").data
    'digits'
    """

    name: str
    model: str
    data: str
    licence: str
    command: str
    asked: Mapping[str, Any]
    score: str
    value: float
    standard_error: float | None
    unit: str
    num_samples: int | None
    quick: float
    files: Mapping[str, str]
    size: int

    def describe_score(self) -> str:
        """Return the score in words, as ``log p(x) -8.61 ± 0.12 per frame, 100 draws``."""
        error = "" if self.standard_error is None else f" ± {self.standard_error:.2f}"
        draws = "" if self.num_samples is None else f", {self.num_samples} draws"
        return f"{self.score} {self.value:.2f}{error} per {self.unit}{draws}"

    @property
    def folder(self) -> Path:
        """The run folder inside the package."""
        return RUNS / self.name

    def require_files(self) -> Path:
        """Return the run folder, whose files are those that the package came with.

        Raises
        ------
        RunError
            When one of them is missing or has changed.
        """
        for name, digest in self.files.items():
            with refusing(f"cannot read {self.folder / name}", "install vaezoo again"):
                content = (self.folder / name).read_bytes()
            if hashlib.sha256(content).hexdigest() != digest:
                raise RunError(f"{self.folder / name} has changed; install vaezoo again")
        return self.folder


@cache
def _all() -> Mapping[str, Pretrained]:
    rows = json.loads(MANIFEST.read_text(encoding="utf-8")) if MANIFEST.is_file() else []
    return {row["name"]: Pretrained(**row) for row in rows}


def list_pretrained(pattern: str = "*") -> list[Pretrained]:
    """Return the runs that come with the package, all or those whose name matches a pattern.

    Parameters
    ----------
    pattern
        As in a shell: ``"vrnn.*"``, ``"*.jsb"``.

    Examples
    --------
    >>> "vrnn.jsb" in [run.name for run in list_pretrained("*.jsb")]
    True
    """
    return [run for name, run in sorted(_all().items()) if fnmatchcase(name, pattern)]


def get_pretrained(name: str) -> Pretrained:
    """Return what is known of a run that comes with the package.

    Raises
    ------
    RequestError
        When there is none of that name; the message names the closest ones.
    """
    if name not in _all():
        raise RequestError(f"no pretrained run '{name}'; {nearest(name, _all())}")
    return _all()[name]
