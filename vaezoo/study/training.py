"""The runs of a cell, in a folder of theirs: found again, gone on with, or trained."""

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from vaezoo.data import Data
from vaezoo.data.dataset import Array
from vaezoo.errors import RequestError, RunError, refusing
from vaezoo.runs import Run, load_run, open_run
from vaezoo.runtime.locks import TakenError, take
from vaezoo.runtime.storage import write_json, writing
from vaezoo.study.design import Cell, Scale, Study, Trained
from vaezoo.training.fit import fit, resume

__all__ = ["Place", "failures_of", "is_measured", "measure_cell", "values_of"]

CELL, FAILED = "cell.json", "failed.json"
Tell = Callable[[str], object]


class Place:
    """Where a cell has its runs and what was measured of them.

    Parameters
    ----------
    root
        The folder of the study.
    cell
        The cell.
    seeds
        Of its trainings.
    """

    def __init__(self, root: Path, cell: Cell, seeds: range) -> None:
        self.cell, self.seeds = cell, seeds
        self.folder = root / "runs" / _plain(cell.data) / _plain(cell.variant.name)

    def __str__(self) -> str:
        return f"{self.cell.variant.name} on {self.cell.data}"

    def run(self, seed: int) -> Path:
        """Return the run folder of a seed."""
        return self.folder / f"seed-{seed}"

    def measured(self, seed: int) -> Path:
        """Return the file of what was measured of a seed."""
        return self.folder / f"measured-{seed}.npz"

    @contextmanager
    def owned(self) -> Iterator[bool]:
        """Own it, if no other process does; say whether it could be had."""
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            ownership = take(self.folder)
        except TakenError:
            yield False
            return
        try:
            ownership.say()
            yield True
        finally:
            ownership.release()

    def begin(self) -> None:
        """Take note of the settings of its runs, or refuse a folder that has others."""
        file = self.folder / CELL
        settings = json.loads(json.dumps(self.cell.settings))
        if not file.is_file():
            write_json(file, settings)
        elif _stored(file) != settings:
            raise RequestError(
                f"{self.folder} was made with other settings than {self} has now; "
                "choose another `out`"
            )


def _plain(name: str) -> str:
    return "".join(char if char.isalnum() or char in "-_.+" else "-" for char in name)


def is_measured(place: Place) -> bool:
    """Whether each seed has been trained and measured, or has failed."""
    failed = failures_of(place)
    return all(str(s) in failed or place.measured(s).is_file() for s in place.seeds)


def failures_of(place: Place) -> dict[str, str]:
    """Return why trainings of a cell failed, by seed."""
    file = place.folder / FAILED
    return dict(_stored(file)) if file.is_file() else {}


def _stored(file: Path) -> Any:
    with refusing(f"{file} cannot be read", "remove it"):
        return json.loads(file.read_text(encoding="utf-8"))


def values_of(place: Place) -> dict[str, Array]:
    """Return what was measured ``(seeds, N)`` by name, of the seeds that did not fail."""
    every: list[Mapping[str, Array]] = []
    for seed in place.seeds:
        if (path := place.measured(seed)).is_file():
            again = refusing(f"{path} cannot be read", "remove it, and it is measured again")
            with again, np.load(path, allow_pickle=False) as file:
                every.append({name: np.atleast_1d(file[name]) for name in file.files})
    names = [name for name in every[0] if all(name in own for own in every)] if every else []
    return {name: np.stack([own[name] for own in every]) for name in names}


def measure_cell(study: Study, place: Place, scale: Scale, tell: Tell) -> None:
    """Train what is not trained of a cell, and measure what is not measured."""
    place.begin()
    data = _data_of(study, place.cell.data)
    failed = failures_of(place)
    missing = [s for s in place.seeds if str(s) not in failed and not place.measured(s).is_file()]
    failed |= _train(place, [seed for seed in missing if not _is_finished(place.run(seed))], data)
    for seed in missing:
        if str(seed) not in failed:
            run = load_run(place.run(seed))
            if isinstance(data, Data):
                run.remember(data)
            _measure(study, place, Trained(run, place.cell, scale), seed)
            tell(f"{place}, seed {seed}")
    if failed:
        write_json(place.folder / FAILED, failed)


def _data_of(study: Study, name: str) -> str | Data:
    source = study.data[name]
    return source() if callable(source) else source


def _is_finished(path: Path) -> bool:
    return (path / "run.json").is_file() and open_run(path).info.get("status") == "finished"


def _train(place: Place, seeds: list[int], data: str | Data) -> dict[str, str]:
    """Train seeds: new ones side by side, and those that were interrupted from there on."""
    failed = {}
    for seed in [seed for seed in seeds if (place.run(seed) / "config.toml").is_file()]:
        try:
            resume(place.run(seed), data=data if isinstance(data, Data) else None)
        except RunError as error:
            failed[str(seed)] = str(error)
    if new := [seed for seed in seeds if not (place.run(seed) / "config.toml").is_file()]:
        try:
            _fit(place, new, data)
        except RunError as error:
            stopped = [seed for seed in new if not _is_finished(place.run(seed))]
            failed |= {str(seed): str(error) for seed in stopped}
    return failed


def _fit(place: Place, seeds: list[int], data: str | Data) -> list[Run]:
    """Train seeds on the tier on which each is bit by bit what it would be alone."""
    variant, cell = place.cell.variant, place.cell
    return fit(
        variant.model,
        data,
        data_settings=variant.data_settings or None,
        config=variant.config,
        training={"engine": "graph", **cell.training},
        out=place.folder,
        seeds=seeds,
    )


def _measure(study: Study, place: Place, trained: Trained, seed: int) -> None:
    values: dict[str, Any] = {}
    for measure in study.measures:
        values |= measure(trained)
    arrays: Any = {name: np.asarray(value) for name, value in values.items()}
    with writing(place.measured(seed)) as content:
        np.savez(content, **arrays)
