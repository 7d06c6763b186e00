"""The runs of a folder, without loading any of them: no pair is built, and no torch is needed."""

import json
import operator
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vaezoo.errors import RequestError, VaezooError, nearest, refusing
from vaezoo.runs.info import read_info
from vaezoo.runs.records import read_evaluations, read_metrics
from vaezoo.runtime.locks import owner_of
from vaezoo.runtime.reading import read_plain

__all__ = [
    "COLUMNS",
    "Filter",
    "ListedRun",
    "differing_settings",
    "flat_settings",
    "list_runs",
    "ordered",
]

COLUMNS = ("run", "model", "data", "step", "elbo", "iwae", "active", "verdict", "status")
LARGEST_FILE = 2**24  # bytes, of a configuration or a report
DEEPEST = 4  # folders below the one that is looked through
NOT_SHOWN = ("seed", "device")  # settings that many runs differ in, and their folders say
COMPARISONS: Mapping[str, Callable[[Any, Any], bool]] = {
    "!=": operator.ne,
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
    "=": operator.eq,
}


@dataclass(frozen=True)
class ListedRun:
    """What the files of a run folder say.

    Attributes
    ----------
    run
        The folder, from the one that was looked through.
    model, data, settings
        What was trained on what, and all settings of its configuration by name.
    step
        Of the last record.
    elbo
        The best validation ELBO, or reconstruction of an autoencoder, in nats per datum or frame.
    iwae, num_samples
        log p(x) of the latest evaluation, and its K.
    active
        Active units of the last record.
    verdict
        Shares of posteriors that are trusted, repaired and not trusted, where they were analysed.
    status
        ``training`` while a process owns it, else what it says of itself.
    """

    run: str
    model: str
    data: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    step: int | None = None
    elbo: float | None = None
    iwae: float | None = None
    num_samples: int | None = None
    active: int | None = None
    verdict: str = ""
    status: str = ""

    def value(self, name: str) -> Any:
        """Return a column or a setting by its name; None where there is none."""
        return getattr(self, name) if name in COLUMNS else self.settings.get(name)


@dataclass(frozen=True)
class Filter:
    """A condition on a column or a setting, as ``elbo>-90`` or ``model=vrnn``."""

    name: str
    sign: str
    wanted: str

    @classmethod
    def read(cls, text: str) -> "Filter":
        """Read a condition.

        Examples
        --------
        >>> Filter.read("z_dim >= 8")
        Filter(name='z_dim', sign='>=', wanted='8')
        """
        parts = re.fullmatch(r"\s*([\w.-]+?)\s*(!=|<=|>=|<|>|=)\s*(.+?)\s*", text)
        if not parts:
            raise RequestError(f"'{text}' is no condition; write `where='elbo>-90'`, or model=vrnn")
        return cls(*parts.groups())

    def holds(self, run: ListedRun) -> bool:
        """Whether a run meets it; one that has no such value does not."""
        value = run.value(self.name)
        if value is None:
            return False
        compare = COMPARISONS[self.sign]
        if isinstance(value, int | float) and not isinstance(value, bool):
            try:
                return compare(float(value), float(self.wanted))
            except ValueError:
                return self.sign == "!="
        if self.sign not in ("=", "!="):
            raise RequestError(f"'{self.name}' of {run.run} is no number; use = or !=")
        return compare(str(value).lower(), self.wanted.lower())


def list_runs(folder: str | Path, *, notify: Callable[[str], object] = print) -> list[ListedRun]:
    """Return the runs in a folder and below it, by name.

    Parameters
    ----------
    folder
        Where they are; links are not followed.
    notify
        Is told of a run that cannot be read, and why: it is left out.

    Raises
    ------
    RequestError
        When there is no such folder.

    Examples
    --------
    >>> import tempfile, vaezoo
    >>> out = tempfile.mkdtemp()
    >>> _ = vaezoo.fit("vae-linear", training={"steps": 5}, out=f"{out}/first")
    >>> [(run.run, run.model, run.step, run.status) for run in list_runs(out)]
    [('first', 'vae-linear', 5, 'finished')]
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise RequestError(f"there is no folder '{folder}' to look for runs in")
    runs = []
    for path in sorted(_run_folders(folder)):
        try:
            runs.append(_listed(path, folder))
        except VaezooError as error:
            notify(f"left out {path}: {error}")
    return runs


def _run_folders(folder: Path) -> Iterator[Path]:
    for place, folders, files in os.walk(folder):
        path = Path(place)
        if "config.toml" in files and "run.json" in files:
            yield path
            folders.clear()
        elif len(path.relative_to(folder).parts) >= DEEPEST:
            folders.clear()
        folders[:] = [name for name in folders if not name.startswith(".")]


def _listed(path: Path, root: Path) -> ListedRun:
    with refusing(f"{path / 'config.toml'} cannot be read"):
        text = read_plain(path / "config.toml", LARGEST_FILE).decode("utf-8")
        config = tomllib.loads(text)
        settings = {
            **flat_settings(config.get("config", {})),
            **flat_settings(config.get("training", {})),
        }
        data = str(config.get("data", {}).get("name") or config.get("data", {}).get("path", ""))
    info, metrics = read_info(path), read_metrics(path)
    name = str(path.relative_to(root)) if path != root else path.name
    iwae, num_samples = _latest_bound(path)
    return ListedRun(
        name,
        str(config.get("model", "")),
        data,
        settings,
        metrics[-1]["step"] if metrics else None,
        _best(metrics),
        iwae,
        num_samples,
        metrics[-1]["validation"].get("active_units") if metrics else None,
        _verdict(path / "analysis" / "report.json"),
        "training" if owner_of(path) else str(info.get("status", "")),
    )


def _best(metrics: Sequence[Mapping[str, Any]]) -> float | None:
    rows = [record["validation"] for record in metrics]
    scores = [row.get("elbo", row.get("reconstruction")) for row in rows]
    return max((score for score in scores if score is not None), default=None)


def _latest_bound(path: Path) -> tuple[float | None, int | None]:
    for record in reversed(read_evaluations(path)):
        if bounds := record.get("result", {}).get("iwae"):
            return bounds[-1]["value"], bounds[-1]["num_samples"]
    return None, None


def _verdict(path: Path) -> str:
    if not path.is_file():
        return ""
    with refusing(f"{path} cannot be read"):
        shares = json.loads(read_plain(path, LARGEST_FILE)).get("shares") or {}
        return ", ".join(f"{name} {share:.0%}" for name, share in shares.items() if share)


def ordered(runs: Sequence[ListedRun], name: str) -> list[ListedRun]:
    """Return runs by a column or a setting: numbers with the largest first, those without it last.

    Raises
    ------
    RequestError
        When no run has it.
    """
    if runs and all(run.value(name) is None for run in runs):
        names = {*COLUMNS, *(setting for run in runs for setting in run.settings)}
        raise RequestError(f"no run has '{name}'; {nearest(name, names)}")
    values = [(run, run.value(name)) for run in runs]
    there = [(run, value) for run, value in values if value is not None]
    if all(isinstance(value, int | float) for _, value in there):
        there.sort(key=lambda pair: -pair[1])
    else:
        there.sort(key=lambda pair: str(pair[1]))
    return [run for run, _ in there] + [run for run, value in values if value is None]


def differing_settings(runs: Sequence[ListedRun]) -> list[dict[str, Any]]:
    """Return of each run the settings in which runs of its model differ."""
    of_model: dict[str, list[ListedRun]] = {}
    for run in runs:
        of_model.setdefault(run.model, []).append(run)
    shown = {}
    for model, alike in of_model.items():
        names = dict.fromkeys(name for run in alike for name in run.settings)
        values = {n: {str(run.settings.get(n)) for run in alike} for n in names}
        shown[model] = [n for n in names if len(values[n]) > 1 and n not in NOT_SHOWN]
    return [
        {name: run.settings[name] for name in shown[run.model] if name in run.settings}
        for run in runs
    ]


def flat_settings(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings by names with dots.

    Examples
    --------
    >>> flat_settings({"z_dim": 2, "prior": {"name": "mog"}})
    {'z_dim': 2, 'prior.name': 'mog'}
    """
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, Mapping):
            flat |= flat_settings(value, f"{prefix}{name}.")
        else:
            flat[f"{prefix}{name}"] = value
    return flat
